package restore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/restore"
)

func TestChoose(t *testing.T) {
	now := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return now.AddDate(0, 0, -n) }
	snap := func(db string, age int, evidence ...catalog.Evidence) *catalog.Snapshot {
		id := day(age).Format("20060102T150405Z") + "-aaaaaaaaaaaaaaaa"
		return &catalog.Snapshot{Manifest: catalog.Manifest{ID: id, Kind: catalog.Database, Database: db, Finished: day(age)}, Evidence: evidence}
	}
	pass := func(age int, l catalog.Level) catalog.Evidence {
		return catalog.Evidence{At: day(age), Passed: true, Level: l}
	}
	failed := func(age int) catalog.Evidence { return catalog.Evidence{At: day(age), Level: catalog.L4} }
	all := []*catalog.Snapshot{
		snap("a", 3), snap("a", 2), snap("a", 1), // never proven
		snap("b", 3, pass(3, catalog.L4)), snap("b", 1),
		snap("c", 9, pass(9, catalog.L4)), snap("c", 1, pass(1, catalog.L3)), // not far enough
		snap("d", 1, pass(0, catalog.L4)), // nothing to do
		snap("e", 2, pass(2, catalog.L5)), snap("e", 1, failed(1)),
		snap("f", 1, pass(1, catalog.L4), failed(0)), // was good, is bad
		{Manifest: catalog.Manifest{ID: "20261121T030000Z-aaaaaaaaaaaaaaaa", Kind: catalog.Globals}},
	}
	names := func(list []*catalog.Snapshot) (out []string) {
		for _, s := range list {
			age := int(now.Sub(s.Finished) / (24 * time.Hour))
			out = append(out, s.Database+string(rune('0'+age)))
		}
		return out
	}
	slices.Reverse(all)
	require.Equal(t, []string{"a1", "c1", "b1", "a2", "a3", "f1", "e1"}, names(restore.Choose(all, catalog.L4, 0, now)))
	require.Equal(t, []string{"a1", "c1", "b1", "a2", "b3", "a3", "f1", "e1"}, withoutC9(names(restore.Choose(all, catalog.L4, 48*time.Hour, now))))
	require.Empty(t, restore.Choose(nil, catalog.L4, 0, now))
}

func withoutC9(list []string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == "c9" || s == "e2" })
}

func TestDrill(t *testing.T) {
	s := pgtest.Start(t)
	role(t, s, "drill owner", "")
	for _, name := range []string{"good", "bad", "gone"} {
		fixture(t, s, name)
		s.Exec(t, name, `ALTER TABLE shop.bill OWNER TO "drill owner"`)
	}
	store := &memory{}
	good, bad, gone := store.backUp(t, s, "good"), store.backUp(t, s, "bad"), store.backUp(t, s, "gone")
	globals := store.backUpGlobals(t, "CREATE ROLE x;")
	store.damage(bad.ID, func(b []byte) []byte { b[strings.Index(string(b), "customer 77 ")] ^= 1; return b })
	delete(store.archives, gone.ID)
	before := databases(t, s, "")

	var mu sync.Mutex
	probed := make(map[string]string)
	o := restore.DrillOptions{
		Level: catalog.L5, Neutralise: "UPDATE shop.customer SET name = 'nobody'; DELETE FROM public.other",
		Probe: func(ctx context.Context, m *catalog.Manifest, dsn string) error {
			conn, err := pgx.Connect(ctx, dsn)
			if err != nil {
				return err
			}
			defer conn.Close(context.Background())
			var names string
			err = conn.QueryRow(ctx, "SELECT string_agg(DISTINCT name, ',') FROM shop.customer").Scan(&names)
			mu.Lock()
			defer mu.Unlock()
			probed[m.Database] = names
			return err
		},
	}
	r, err := restore.Drill(t.Context(), store, o)
	require.ErrorContains(t, err, `"bad"`)
	require.ErrorContains(t, err, `"gone"`)
	require.Len(t, r.Drilled, 3)
	require.Empty(t, r.Left)
	require.Equal(t, map[string]string{"good": "nobody"}, probed)

	good, bad, gone = store.find(good.ID), store.find(bad.ID), store.find(gone.ID)
	require.Len(t, good.Evidence, 1)
	e := good.Evidence[0]
	require.True(t, e.Passed)
	require.Equal(t, catalog.L5, e.Level)
	require.Equal(t, good.ID, e.Snapshot)
	require.Positive(t, e.Restore)
	require.Positive(t, e.Verify)
	require.Equal(t, s.Version(), e.Server)
	require.True(t, good.Restorable())
	for _, s := range []*catalog.Snapshot{bad, gone} {
		require.Len(t, s.Evidence, 1, s.Database)
		require.False(t, s.Evidence[0].Passed)
		require.NotEmpty(t, s.Evidence[0].Problem)
		require.False(t, s.Restorable())
	}
	require.Empty(t, store.find(globals.ID).Evidence)
	require.Equal(t, before, databases(t, s, ""), "the source server is not touched")

	// Nothing is left to prove; the bad ones are tried again.
	r, err = restore.Drill(t.Context(), store, restore.DrillOptions{Query: catalog.Query{Database: "good"}})
	require.NoError(t, err)
	require.Empty(t, r.Drilled)
}

func TestDrillOnGivenServer(t *testing.T) {
	s := pgtest.Start(t)
	role(t, s, "departed", "")
	fixture(t, s, "given")
	s.Exec(t, "given", `ALTER TABLE shop.bill OWNER TO departed`)
	store := &memory{}
	first, second := store.backUp(t, s, "given"), store.backUp(t, s, "given")
	if first.ID > second.ID {
		first, second = second, first
	}
	before := databases(t, s, "")

	// Two snapshots of one database at a time do not get in each other's way. A time budget that is used up leaves the rest for later.
	begin := time.Now()
	var mu sync.Mutex
	now := begin
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); now = now.Add(time.Minute); return now }
	r, err := restore.Drill(t.Context(), store, restore.DrillOptions{DSN: s.DSN(), Parallel: 1, Budget: 3 * time.Minute, Now: clock})
	require.NoError(t, err)
	require.Len(t, r.Drilled, 1)
	require.Equal(t, second.ID, r.Drilled[0].Snapshot, "the newest first")
	require.Equal(t, []string{first.ID}, r.Left)
	r, err = restore.Drill(t.Context(), store, restore.DrillOptions{DSN: s.DSN(), Parallel: 2})
	require.NoError(t, err)
	require.Len(t, r.Drilled, 1)
	require.True(t, store.find(first.ID).Restorable())
	require.Equal(t, before, databases(t, s, ""))

	// What says nothing about the snapshot is no evidence against it.
	extension := store.backUp(t, s, "given")
	_, err = restore.Drill(t.Context(), store, restore.DrillOptions{DSN: s.DSN(), Probe: func(context.Context, *catalog.Manifest, string) error { return nil }, Neutralise: "nonsense"})
	require.ErrorContains(t, err, "nonsense")
	require.Empty(t, extension.Evidence)
	_, err = restore.Drill(t.Context(), store, restore.DrillOptions{DSN: "host=/nowhere user=x"})
	require.Error(t, err)
	require.Empty(t, extension.Evidence)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	_, err = restore.Drill(ctx, store, restore.DrillOptions{DSN: s.DSN(), Events: restore.Events{Stage: func(i restore.StageInfo) {
		if i.Stage == restore.StageVerify {
			cancel(stop)
		}
	}}})
	require.ErrorIs(t, err, stop)
	require.Empty(t, extension.Evidence)
	require.Equal(t, before, databases(t, s, ""))

	// A probe that fails is.
	_, err = restore.Drill(t.Context(), store, restore.DrillOptions{
		DSN: s.DSN(), Level: catalog.L5, Query: catalog.Query{ID: extension.ID},
		Probe: func(context.Context, *catalog.Manifest, string) error { return errors.New("it does not start") },
	})
	require.ErrorContains(t, err, "it does not start")
	require.Len(t, store.find(extension.ID).Evidence, 1)
}
