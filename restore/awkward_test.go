package restore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/awkward"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/restore"
)

// Databases that are hard to name, dump and restore are swapped over themselves, and are the same afterwards: byte for byte by a second dump, and in
// everything that a dump does not hold.
func TestAwkwardDatabases(t *testing.T) {
	s := pgtest.Start(t)
	awkward.CreateRoles(t, s)
	dropLeftovers(t, s)
	for i, d := range awkward.Databases() {
		if !*long && i%12 != 2 {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			d.Create(t, s)
			store := &memory{}
			snap := store.backUp(t, s, d.Name)
			want := string(s.PlainDump(t, d.Name))
			r := mustRun(t, s.DSN(), store, snap, restore.Options{Replace: true})
			require.Equal(t, catalog.L4, r.Level)
			require.Empty(t, r.Warnings)
			require.NotEmpty(t, r.Old)
			if got := string(s.PlainDump(t, d.Name)); got != want {
				require.Equal(t, want, got)
			}
			got, _ := readProperties(t, s, d.Name)
			expect := *snap.Properties
			if expect.DefaultACL { // what is granted by default is now granted explicitly
				got.DefaultACL, got.ACL = true, nil
			}
			require.ElementsMatch(t, expect.ACL, got.ACL)
			got.ACL, expect.ACL = nil, nil
			require.Equal(t, expect, got)
		})
	}
}
