package restore_test

import (
	"testing"
	"time"

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
		if !*long && i%12 != 2 && d.Name != "subscription" {
			continue
		}
		t.Run(d.Name, func(t *testing.T) {
			d.Create(t, s)
			store := &memory{}
			snap := store.backUp(t, s, d.Name)
			want := string(s.PlainDump(t, d.Name))
			r := mustRun(t, s.DSN(), store, snap, restore.Options{Replace: true})
			require.Equal(t, catalog.L4, r.Level)
			for _, w := range r.Warnings {
				require.Regexp(t, "^subscription .* not enabled$", w)
			}
			require.NotEmpty(t, r.Old)
			if got := string(s.PlainDump(t, d.Name)); got != want && !d.Moves {
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
			purged, err := restore.Purge(t.Context(), s.DSN(), restore.Options{Now: func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }})
			require.NoError(t, err)
			require.Len(t, purged, 1)
			require.Empty(t, databases(t, s, "__old_"))
		})
	}
}
