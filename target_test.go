package runbook_test

import (
	"context"
	"io"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
)

// memory is a target with optional abilities; nothing of it is ever called.
type memory struct{}

func (memory) Put(context.Context, string, io.Reader) error                  { return nil }
func (memory) Open(context.Context, string) (io.ReadCloser, error)           { return nil, nil }
func (memory) Stat(context.Context, string) (runbook.Object, error)          { return runbook.Object{}, nil }
func (memory) List(context.Context, string) iter.Seq2[runbook.Object, error] { return nil }
func (memory) Delete(context.Context, string) error                          { return nil }
func (memory) Probe(context.Context) error                                   { return errStopped }

// limited and logged wrap a target and show only what Target has; logged has an ability of its own.
type limited struct{ runbook.Target }

func (l limited) Unwrap() runbook.Target { return l.Target }

type logged struct{ limited }

func (logged) Lines() int { return 3 }

// opaque wraps a target and does not say so.
type opaque struct{ runbook.Target }

func TestAs(t *testing.T) {
	var target runbook.Target = limited{logged{limited{limited{memory{}}}}}

	prober, ok := runbook.As[runbook.Prober](target)
	require.True(t, ok)
	require.ErrorIs(t, prober.Probe(t.Context()), errStopped)

	lines, ok := runbook.As[interface{ Lines() int }](target)
	require.True(t, ok)
	require.Equal(t, 3, lines.Lines())

	concrete, ok := runbook.As[memory](target)
	require.True(t, ok)
	require.Equal(t, memory{}, concrete)

	_, ok = runbook.As[runbook.RangeOpener](target)
	require.False(t, ok)

	_, ok = runbook.As[runbook.Prober](runbook.Target(opaque{memory{}}))
	require.False(t, ok, "nobody looks through a wrapper that has no Unwrap")
	_, ok = runbook.As[runbook.Prober](runbook.Target(nil))
	require.False(t, ok)
	_, ok = runbook.As[runbook.Prober](runbook.Target(limited{nil}))
	require.False(t, ok)
}

type traced struct{ runbook.Runner }

func (r traced) Unwrap() runbook.Runner { return r.Runner }

func TestAsFindsRunners(t *testing.T) {
	local, ok := runbook.As[runbook.Local](runbook.Runner(traced{traced{runbook.Local{WaitDelay: 9}}}))
	require.True(t, ok)
	require.Equal(t, runbook.Local{WaitDelay: 9}, local)
}
