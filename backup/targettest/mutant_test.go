package targettest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/runbook-go/runbook"
	. "github.com/runbook-go/runbook/backup/targettest"
)

// mutant is the reference implementation with some methods replaced.
type mutant struct {
	*Memory
	put    func(ctx context.Context, key string, r io.Reader) error
	open   func(ctx context.Context, key string) (io.ReadCloser, error)
	ranged func(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	stat   func(ctx context.Context, key string) (runbook.Object, error)
	list   func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error]
	remove func(ctx context.Context, key string) error
	sweep  func(ctx context.Context, before time.Time) (int, error)
}

func (m *mutant) Put(ctx context.Context, key string, r io.Reader) error {
	if m.put != nil {
		return m.put(ctx, key, r)
	}
	return m.Memory.Put(ctx, key, r)
}

func (m *mutant) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if m.open != nil {
		return m.open(ctx, key)
	}
	return m.Memory.Open(ctx, key)
}

func (m *mutant) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if m.ranged != nil {
		return m.ranged(ctx, key, offset, length)
	}
	return m.Memory.OpenRange(ctx, key, offset, length)
}

func (m *mutant) Stat(ctx context.Context, key string) (runbook.Object, error) {
	if m.stat != nil {
		return m.stat(ctx, key)
	}
	return m.Memory.Stat(ctx, key)
}

func (m *mutant) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	if m.list != nil {
		return m.list(ctx, prefix)
	}
	return m.Memory.List(ctx, prefix)
}

func (m *mutant) Delete(ctx context.Context, key string) error {
	if m.remove != nil {
		return m.remove(ctx, key)
	}
	return m.Memory.Delete(ctx, key)
}

func (m *mutant) Sweep(ctx context.Context, before time.Time) (int, error) {
	if m.sweep != nil {
		return m.sweep(ctx, before)
	}
	return m.Memory.Sweep(ctx, before)
}

// replace overwrites an object, which the contract forbids.
func (m *mutant) replace(key, content string) error {
	ctx := context.Background()
	return errors.Join(m.Memory.Delete(ctx, key), m.Memory.Put(ctx, key, strings.NewReader(content)))
}

// changed puts what edit makes of the content.
func (m *mutant) changed(edit func([]byte) []byte) func(context.Context, string, io.Reader) error {
	return func(ctx context.Context, key string, r io.Reader) error {
		content, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("put %q: %w", key, err)
		}
		return m.Memory.Put(ctx, key, bytes.NewReader(edit(content)))
	}
}

func edited(m *mutant, edit func(*runbook.Object)) func(context.Context, string) iter.Seq2[runbook.Object, error] {
	return func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
		return func(yield func(runbook.Object, error) bool) {
			for o, err := range m.Memory.List(ctx, prefix) {
				edit(&o)
				if !yield(o, err) {
					return
				}
			}
		}
	}
}

func sorted(m *mutant, compare func(a, b string) int) func(context.Context, string) iter.Seq2[runbook.Object, error] {
	return func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
		return func(yield func(runbook.Object, error) bool) {
			var all []runbook.Object
			for o := range m.Memory.List(ctx, prefix) {
				all = append(all, o)
			}
			slices.SortStableFunc(all, func(a, b runbook.Object) int { return compare(a.Key, b.Key) })
			for _, o := range all {
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

func recovered(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

// failing gives an error, or the end if there is none.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

type closesOnce struct {
	io.ReadCloser
	closed bool
}

func (c *closesOnce) Close() error {
	if c.closed {
		return fs.ErrClosed
	}
	c.closed = true
	return c.ReadCloser.Close()
}
