//go:build bench && linux

package backup_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/restore"
)

// TestPeersRestore measures a proven restore over a live database against a bare pg_restore of the same archive into an empty database, in turns.
func TestPeersRestore(t *testing.T) {
	server := pgtest.Start(t)
	server.ERP(t, "bench_restore", *benchScale)
	target, err := dirtarget.Open(t.TempDir(), dirtarget.Options{})
	require.NoError(t, err)
	defer target.Close()
	store := newStore(t, target, filestore.Options{})
	_, err = backup.Run(t.Context(), server.DSN(), store, backup.Options{Select: backup.Selection{Names: []string{"bench_restore"}}, NoGlobals: true})
	require.NoError(t, err)
	latest, err := restore.Latest(t.Context(), store, catalog.Query{})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "archive")
	require.NoError(t, os.WriteFile(file, archive(t, store, &latest[0].Manifest), 0o600))

	var bare, proven, down []time.Duration
	for range *benchRounds {
		server.CreateDatabase(t, "bench_bare")
		start := time.Now()
		server.Run(t, "pg_restore", "bench_bare", "--exit-on-error", file)
		bare = append(bare, time.Since(start))
		server.Exec(t, "", "DROP DATABASE bench_bare")

		start = time.Now()
		o := restore.Options{Replace: true, UndoWindow: time.Nanosecond}
		plan, err := restore.NewPlan(t.Context(), server.DSN(), store, latest[0], o)
		require.NoError(t, err)
		report, err := restore.Run(t.Context(), server.DSN(), store, plan, o)
		require.NoError(t, err)
		require.Equal(t, catalog.L4, report.Level)
		proven, down = append(proven, time.Since(start)), append(down, report.Down)
		_, err = restore.Purge(t.Context(), server.DSN(), restore.Options{})
		require.NoError(t, err)
	}
	middle := func(all []time.Duration) time.Duration {
		slices.Sort(all)
		return all[len(all)/2]
	}
	b, p := middle(bare), middle(proven)
	t.Logf("scale %g, %d rounds, medians: pg_restore %s; plan, walk, restore, compare (L4) and swap %s, ratio %.2f; down time %s, at most %s",
		*benchScale, *benchRounds, b, p, p.Seconds()/b.Seconds(), middle(down), down[len(down)-1])
}
