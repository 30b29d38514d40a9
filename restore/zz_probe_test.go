package restore_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/restore"
)

func TestZZProbe(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "probe")
	store := &memory{}
	snap := store.backUp(t, s, "probe")
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	kinds := map[string]int{}
	worst, missing, looks := 0, 0, 0
	for range 8 {
		wg.Go(func() {
			row := 0
			for ctx.Err() == nil {
				c, err := s.Conn().Connect(ctx, "probe")
				if err == nil { c.Close(context.Background()); row = 0; continue }
				if ctx.Err() != nil { return }
				var pg *pgconn.PgError
				k := "other: " + err.Error()
				if errors.As(err, &pg) { k = pg.Code + " " + pg.Detail }
				row++
				mu.Lock(); kinds[k]++; worst = max(worst, row); mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		c, err := s.Conn().Connect(ctx, ""); if err != nil { return }
		defer c.Close(context.Background())
		for ctx.Err() == nil {
			var n int
			if c.QueryRow(ctx, "SELECT count(*) FROM pg_database WHERE datname='probe' AND datallowconn").Scan(&n) == nil { mu.Lock(); looks++; if n != 1 { missing++ }; mu.Unlock() }
		}
	})
	for range 12 { r := mustRun(t, s.DSN(), store, snap, restore.Options{Replace: true}); s.Exec(t, "", `DROP DATABASE "`+r.Old+`"`) }
	stop(); wg.Wait()
	t.Logf("12 swaps: refusals %v; longest row of refusals for one client %d; catalog looks %d, name missing or closed %d", kinds, worst, looks, missing)
	require.Zero(t, missing)
}
