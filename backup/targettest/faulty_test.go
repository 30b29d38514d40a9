package targettest_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	. "github.com/runbook-go/runbook/backup/targettest"
)

const content = "twelve bytes"

// faulty has an object "there" already, and injects one fault into the call with this index.
func faulty(t *testing.T, index int, fault Fault) (*Faulty, *Memory) {
	t.Helper()
	m := NewMemory()
	require.NoError(t, m.Put(t.Context(), "there", strings.NewReader(content)))
	return NewFaulty(m, func(c Call) Fault {
		if c.Index == index {
			return fault
		}
		return Fault{}
	}), m
}

func stored(t *testing.T, m *Memory, key string) string {
	t.Helper()
	r, err := m.Open(t.Context(), key)
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(got)
}

func TestFaultyWithoutFaultsKeepsTheContract(t *testing.T) {
	Run(t, func(*testing.T) runbook.Target { return NewFaulty(NewMemory(), nil) }, &Options{LargeSize: 1 << 20})
}

func TestFaultsOfPut(t *testing.T) {
	own := errors.New("own")
	for name, c := range map[string]struct {
		fault Fault
		want  error
		left  string
	}{
		"none":             {Fault{}, nil, content},
		"fail":             {Fault{Kind: Fail}, ErrInjected, "missing"},
		"fail, own error":  {Fault{Kind: Fail, Err: own}, own, "missing"},
		"fail after":       {Fault{Kind: FailAfter, Err: own}, own, content},
		"cut at once":      {Fault{Kind: Cut}, ErrInjected, "missing"},
		"disk is full":     {Fault{Kind: Cut, At: 5, Err: syscall.ENOSPC}, syscall.ENOSPC, "missing"},
		"cut at the end":   {Fault{Kind: Cut, At: 12}, ErrInjected, "missing"},
		"short":            {Fault{Kind: Short, At: 6}, nil, "twelve"},
		"flip":             {Fault{Kind: Flip, At: 11}, nil, "twelve byter"},
		"slow":             {Fault{Kind: Slow, Delay: time.Millisecond}, nil, content},
		"crash":            {Fault{Kind: Crash}, ErrCrashed, "missing"},
		"crash on the way": {Fault{Kind: Crash, At: 5}, ErrCrashed, "missing"},
		"crash after":      {Fault{Kind: CrashAfter}, ErrCrashed, content},
	} {
		t.Run(name, func(t *testing.T) {
			f, m := faulty(t, 0, c.fault)
			require.ErrorIs(t, f.Put(t.Context(), "key", strings.NewReader(content)), c.want)
			require.Equal(t, c.left, stored(t, m, "key"))
			require.Equal(t, errors.Is(c.want, ErrCrashed), f.Crashed())
		})
	}
}

func TestFaultsOfReading(t *testing.T) {
	for name, c := range map[string]struct {
		index int
		fault Fault
		want  error
		got   string
	}{
		"open fails":         {0, Fault{Kind: Fail}, ErrInjected, ""},
		"open crashes after": {0, Fault{Kind: CrashAfter}, ErrCrashed, ""},
		"torn":               {0, Fault{Kind: Cut, At: 6}, ErrInjected, "twelve"},
		"torn by a crash":    {0, Fault{Kind: Crash, At: 6}, ErrCrashed, "twelve"},
		"short":              {0, Fault{Kind: Short, At: 6}, nil, "twelve"},
		"flipped":            {0, Fault{Kind: Flip, At: 0}, nil, "uwelve bytes"},
		"second read fails":  {2, Fault{Kind: Fail}, ErrInjected, "twel"},
		"third read crashes": {3, Fault{Kind: Crash}, ErrCrashed, "twelve b"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := faulty(t, c.index, c.fault)
			got, err := readBy4(t.Context(), f)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, c.got, got)
		})
	}
}

func readBy4(ctx context.Context, target runbook.Target) (string, error) {
	r, err := target.Open(ctx, "there")
	if err != nil {
		return "", err
	}
	defer r.Close()
	var got strings.Builder
	_, err = io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{r}, make([]byte, 4))
	return got.String(), err
}

func TestFaultsOfDeleteAndStat(t *testing.T) {
	for kind, left := range map[Kind]string{Fail: content, Cut: content, FailAfter: "missing", Crash: content, CrashAfter: "missing"} {
		f, m := faulty(t, 0, Fault{Kind: kind})
		require.Error(t, f.Delete(t.Context(), "there"))
		require.Equal(t, left, stored(t, m, "there"))

		f, _ = faulty(t, 0, Fault{Kind: kind})
		o, err := f.Stat(t.Context(), "there")
		require.Error(t, err)
		require.Zero(t, o)
	}
}

func TestFaultsOfList(t *testing.T) {
	for name, c := range map[string]struct {
		fault Fault
		want  error
		n     int
	}{
		"none":        {Fault{}, nil, 3},
		"fail":        {Fault{Kind: Fail}, ErrInjected, 0},
		"cut":         {Fault{Kind: Cut, At: 2}, ErrInjected, 2},
		"short":       {Fault{Kind: Short, At: 2}, nil, 2},
		"crash":       {Fault{Kind: Crash, At: 1}, ErrCrashed, 1},
		"fail after":  {Fault{Kind: FailAfter}, ErrInjected, 3},
		"crash after": {Fault{Kind: CrashAfter}, ErrCrashed, 3},
	} {
		t.Run(name, func(t *testing.T) {
			f, m := faulty(t, 0, c.fault)
			require.NoError(t, m.Put(t.Context(), "a", strings.NewReader("")))
			require.NoError(t, m.Put(t.Context(), "b", strings.NewReader("")))
			n, failed := 0, error(nil)
			for _, err := range f.List(t.Context(), "") {
				require.NoError(t, failed, "an error is the last element")
				if failed = err; err == nil {
					n++
				}
			}
			require.ErrorIs(t, failed, c.want)
			require.Equal(t, c.n, n)
		})
	}
}

func TestAfterACrashNothingChanges(t *testing.T) {
	ctx := t.Context()
	m := NewMemory()
	require.NoError(t, m.Put(ctx, "there", strings.NewReader(content)))
	f := NewFaulty(m, func(c Call) Fault {
		if c.Op == OpStat {
			return Fault{Kind: Crash}
		}
		return Fault{}
	})
	open, err := f.Open(ctx, "there")
	require.NoError(t, err)
	pr, pw := io.Pipe()
	put := make(chan error, 1)
	go func() { put <- f.Put(ctx, "coming", pr) }()
	_, err = pw.Write([]byte("half"))
	require.NoError(t, err)

	_, err = f.Stat(ctx, "there")
	require.ErrorIs(t, err, ErrCrashed)
	require.NoError(t, pw.Close())
	require.ErrorIs(t, <-put, ErrCrashed, "a Put that was under way")
	require.ErrorIs(t, f.Put(ctx, "later", strings.NewReader("")), ErrCrashed)
	require.ErrorIs(t, f.Delete(ctx, "there"), ErrCrashed)
	require.ErrorIs(t, f.Probe(ctx), ErrCrashed)
	_, err = f.Sweep(ctx, time.Now())
	require.ErrorIs(t, err, ErrCrashed)
	_, err = open.Read(make([]byte, 1))
	require.ErrorIs(t, err, ErrCrashed)
	for _, err := range f.List(ctx, "") {
		require.ErrorIs(t, err, ErrCrashed)
	}
	require.Equal(t, content, stored(t, m, "there"))
	require.Equal(t, "missing", stored(t, m, "coming"))
	require.Equal(t, "missing", stored(t, m, "later"))
}

func TestAsDoesNotGoPastTheInjector(t *testing.T) {
	f, _ := faulty(t, 0, Fault{Kind: Fail})
	ranger, ok := runbook.As[runbook.RangeOpener](runbook.Target(f))
	require.True(t, ok)
	_, err := ranger.OpenRange(t.Context(), "there", 0, -1)
	require.ErrorIs(t, err, ErrInjected)

	plain := NewFaulty(struct{ runbook.Target }{NewMemory()}, nil)
	_, err = plain.OpenRange(t.Context(), "there", 0, -1)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorIs(t, plain.Probe(t.Context()), errors.ErrUnsupported)
	_, err = plain.FreeSpace(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = plain.Sweep(t.Context(), time.Now())
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestCallsAreCountedInOrder(t *testing.T) {
	f, _ := faulty(t, -1, Fault{})
	_, err := f.Stat(t.Context(), "there")
	require.NoError(t, err)
	_, err = readBy4(t.Context(), f)
	require.NoError(t, err)
	var ops []Op
	for i, c := range f.Calls() {
		require.Equal(t, i, c.Index)
		require.Equal(t, "there", c.Key)
		ops = append(ops, c.Op)
	}
	require.Equal(t, []Op{OpStat, OpOpen, OpRead, OpRead, OpRead, OpRead}, ops)
}
