package filestore_test

import (
	"context"
	"io"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/targettest"
)

// gate stops one caller of a target before its nth call until it is opened.
type gate struct {
	runbook.Target
	calls, at int
	open      chan struct{}
}

func newGate(target runbook.Target, at int) *gate {
	return &gate{Target: target, at: at, open: make(chan struct{})}
}

func (g *gate) pass() {
	if g.calls++; g.calls == g.at {
		<-g.open
	}
}

func (g *gate) Put(ctx context.Context, key string, r io.Reader) error {
	g.pass()
	return g.Target.Put(ctx, key, r)
}

func (g *gate) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	g.pass()
	return g.Target.Open(ctx, key)
}

func (g *gate) Stat(ctx context.Context, key string) (runbook.Object, error) {
	g.pass()
	return g.Target.Stat(ctx, key)
}

func (g *gate) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	g.pass()
	return g.Target.List(ctx, prefix)
}

func (g *gate) Delete(ctx context.Context, key string) error {
	g.pass()
	return g.Target.Delete(ctx, key)
}

// A writer so slow that a sweep takes its upload for a dead one's, and that sweep, are stopped at every pair of their calls, and go on in either order. Whatever
// happens, a snapshot is published whole or is not listed.
func TestEveryMeetingOfASweepAndASlowWriter(t *testing.T) {
	const calls = 12
	published, refused := 0, 0
	for writerAt := 1; writerAt <= calls; writerAt++ {
		for sweeperAt := 1; sweeperAt <= calls; sweeperAt++ {
			for _, writerFirst := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					memory := targettest.NewMemory()
					plain := newStore(t, memory, filestore.Options{})
					writerGate, sweeperGate := newGate(memory, writerAt), newGate(memory, sweeperAt)
					m := draft("db")
					var putErr, sweepErr error
					go func() { putErr = newStore(t, writerGate, filestore.Options{}).Put(t.Context(), m, writes("archive")) }()
					synctest.Wait()
					go func() {
						_, sweepErr = newStore(t, sweeperGate, filestore.Options{}).Sweep(t.Context(), time.Now().Add(time.Hour))
					}()
					synctest.Wait()
					whole := func() (n int) {
						for s, err := range plain.List(t.Context(), catalog.Query{}) {
							if err != nil {
								continue // named as damaged, not listed as whole
							}
							_, err := open(t, plain, &s.Manifest)
							require.NoError(t, err, "writer stopped at %d, sweep at %d", writerAt, sweeperAt)
							n++
						}
						return n
					}
					whole()
					first, second := writerGate, sweeperGate
					if !writerFirst {
						first, second = sweeperGate, writerGate
					}
					close(first.open)
					synctest.Wait()
					whole()
					close(second.open)
					synctest.Wait()
					require.NoError(t, sweepErr)
					n := whole()
					if putErr == nil {
						published++
						require.Equal(t, 1, n, "a snapshot that its writer was told is stored is lost: writer stopped at %d, sweep at %d, writer first %v", writerAt, sweeperAt, writerFirst)
					} else {
						refused++
						require.Zero(t, n)
					}
					_, err := plain.Sweep(t.Context(), time.Now().Add(time.Hour))
					require.NoError(t, err)
					require.Equal(t, n, whole())
					require.Len(t, keys(t, memory), 2*n, "the next sweep leaves nothing over")
				})
			}
		}
	}
	require.Positive(t, published)
	require.Positive(t, refused)
}
