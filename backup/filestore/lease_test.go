package filestore_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/targettest"
)

func TestLeaseKeepsTwoRunsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := targettest.NewMemory()
		a := newStore(t, memory, filestore.Options{Owner: "a"})
		b := newStore(t, memory, filestore.Options{Owner: "b"})
		ctx, release, err := a.Lease(t.Context(), "cluster")
		require.NoError(t, err)
		time.Sleep(time.Hour) // many times its life: it is renewed
		_, _, err = b.Lease(t.Context(), "cluster")
		held, ok := errors.AsType[*catalog.HeldError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, "a", held.Owner)
		require.NoError(t, ctx.Err())
		require.Len(t, keys(t, memory), 1, "a renewed lease leaves nothing behind")

		_, releaseOther, err := b.Lease(t.Context(), "another cluster")
		require.NoError(t, err)
		require.NoError(t, releaseOther(t.Context()))

		require.NoError(t, release(t.Context()))
		require.NoError(t, release(t.Context()), "releasing twice is harmless")
		require.Error(t, ctx.Err())
		_, release, err = b.Lease(t.Context(), "cluster")
		require.NoError(t, err)
		require.NoError(t, release(t.Context()))
		require.Empty(t, keys(t, memory))
	})
}

func TestADeadOwnersLeaseIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := targettest.NewMemory()
		var cut atomic.Bool
		target := &spy{Target: memory, put: func(ctx context.Context, key string, r io.Reader) error {
			if cut.Load() {
				return errors.New("the link is cut")
			}
			return memory.Put(ctx, key, r)
		}}
		dead := newStore(t, target, filestore.Options{Owner: "dead"})
		ctx, release, err := dead.Lease(t.Context(), "cluster")
		require.NoError(t, err)
		cut.Store(true)

		time.Sleep(time.Minute)
		_, _, err = newStore(t, memory, filestore.Options{Owner: "next"}).Lease(t.Context(), "cluster")
		require.ErrorContains(t, err, "held by dead")
		time.Sleep(time.Minute + time.Second)
		require.ErrorContains(t, context.Cause(ctx), "lease was lost", "its owner knows before anybody else may take it")
		_, releaseNext, err := newStore(t, memory, filestore.Options{Owner: "next"}).Lease(t.Context(), "cluster")
		require.NoError(t, err, "no human is needed")

		cut.Store(false)
		require.ErrorContains(t, release(t.Context()), "lease was lost")
		_, _, err = newStore(t, memory, filestore.Options{Owner: "third"}).Lease(t.Context(), "cluster")
		require.ErrorContains(t, err, "held by next", "the dead one's release must not free the lease of the next")
		require.NoError(t, releaseNext(t.Context()))
		require.Empty(t, keys(t, memory))
	})
}

func TestOneOfManyGetsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := targettest.NewMemory()
		for _, before := range []string{"free", "expired", "damaged"} {
			switch before {
			case "expired":
				data, err := catalog.Seal(map[string]any{"owner": "x", "token": "y", "expires": time.Now().Add(-time.Second)})
				require.NoError(t, err)
				require.NoError(t, memory.Put(t.Context(), "runbook-v1/leases/c/0000000000000000041.json", strings.NewReader(string(data))))
			case "damaged":
				require.NoError(t, memory.Put(t.Context(), "runbook-v1/leases/c/0000000000000000041.json", strings.NewReader("nonsense")))
				_, _, err := newStore(t, memory, filestore.Options{}).Lease(t.Context(), "c")
				require.Error(t, err, "a young lease that cannot be read may be somebody's")
				time.Sleep(3 * time.Minute)
			}
			var winners atomic.Int32
			done := make(chan struct{})
			for range 50 {
				go func() {
					_, release, err := newStore(t, memory, filestore.Options{}).Lease(t.Context(), "c")
					if err == nil {
						winners.Add(1)
						defer release(t.Context())
					}
					<-done
				}()
			}
			synctest.Wait()
			require.EqualValues(t, 1, winners.Load(), before)
			close(done)
			synctest.Wait()
			require.Empty(t, keys(t, memory))
		}
	})
}
