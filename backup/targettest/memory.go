package targettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runbook-go/runbook"
)

// Memory is the reference implementation of [runbook.Target]: it keeps objects in memory, and nothing survives the process. It keeps
// "a" and "a/b" side by side. It implements [runbook.RangeOpener], [runbook.Prober], Sweep and FreeSpace.
type Memory struct {
	// Now gives the time of modification; nil means [time.Now]. Set it before first use.
	Now func() time.Time

	mu      sync.Mutex
	objects map[string]memoryObject
}

type memoryObject struct {
	content  []byte // never changed
	modified time.Time
}

// NewMemory returns an empty target.
func NewMemory() *Memory { return &Memory{objects: make(map[string]memoryObject)} }

// Put implements [runbook.Target]. If ctx ends while a Read of r blocks, that one call is left to end by itself and what it gives is
// ignored.
func (m *Memory) Put(ctx context.Context, key string, r io.Reader) error {
	fail := func(err error) error { return fmt.Errorf("put %q: %w", key, err) }
	if err := ready(ctx, key); err != nil {
		return fail(err)
	}
	if _, exists := m.get(key); exists {
		return fail(fs.ErrExist)
	}
	type result struct {
		content []byte
		err     error
	}
	read := make(chan result, 1)
	go func() {
		content, err := io.ReadAll(contextReader{ctx, r})
		read <- result{content, err}
	}()
	var got result
	select {
	case got = <-read:
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); err != nil {
		return fail(err)
	}
	if got.err != nil {
		return fail(got.err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, exists := m.objects[key]; exists {
		return fail(fs.ErrExist)
	}
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	m.objects[key] = memoryObject{got.content, now()}
	return nil
}

// Open implements [runbook.Target].
func (m *Memory) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return m.OpenRange(ctx, key, 0, -1)
}

// OpenRange implements [runbook.RangeOpener].
func (m *Memory) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	fail := func(err error) (io.ReadCloser, error) { return nil, fmt.Errorf("open %q: %w", key, err) }
	if err := ready(ctx, key); err != nil {
		return fail(err)
	}
	if offset < 0 || length < -1 {
		return fail(fmt.Errorf("offset %d, length %d: %w", offset, length, fs.ErrInvalid))
	}
	o, ok := m.get(key)
	if !ok {
		return fail(fs.ErrNotExist)
	}
	content := o.content[min(offset, int64(len(o.content))):]
	if length >= 0 {
		content = content[:min(length, int64(len(content)))]
	}
	return &memoryReader{r: contextReader{ctx, bytes.NewReader(content)}}, nil
}

// Stat implements [runbook.Target].
func (m *Memory) Stat(ctx context.Context, key string) (runbook.Object, error) {
	if err := ready(ctx, key); err != nil {
		return runbook.Object{}, fmt.Errorf("stat %q: %w", key, err)
	}
	o, ok := m.get(key)
	if !ok {
		return runbook.Object{}, fmt.Errorf("stat %q: %w", key, fs.ErrNotExist)
	}
	return runbook.Object{Key: key, Size: int64(len(o.content)), Modified: o.modified}, nil
}

// List implements [runbook.Target]. It lists what is there when the iteration begins.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	return func(yield func(runbook.Object, error) bool) {
		m.mu.Lock()
		snapshot := maps.Clone(m.objects)
		m.mu.Unlock()
		for _, key := range slices.Sorted(maps.Keys(snapshot)) {
			if err := context.Cause(ctx); err != nil {
				yield(runbook.Object{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
			o := snapshot[key]
			if strings.HasPrefix(key, prefix) && !yield(runbook.Object{Key: key, Size: int64(len(o.content)), Modified: o.modified}, nil) {
				return
			}
		}
	}
}

// Delete implements [runbook.Target].
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := ready(ctx, key); err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

// Probe implements [runbook.Prober].
func (m *Memory) Probe(ctx context.Context) error { return context.Cause(ctx) }

// Sweep has nothing to remove.
func (m *Memory) Sweep(ctx context.Context, _ time.Time) (int, error) { return 0, context.Cause(ctx) }

// FreeSpace does not know.
func (m *Memory) FreeSpace(context.Context) (int64, error) {
	return 0, fmt.Errorf("free space: %w", errors.ErrUnsupported)
}

func (m *Memory) get(key string) (memoryObject, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	return o, ok
}

func ready(ctx context.Context, key string) error {
	if err := runbook.CheckKey(key); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// contextReader fails once ctx has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

type memoryReader struct {
	mu     sync.Mutex
	r      io.Reader
	closed bool
}

func (r *memoryReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, fs.ErrClosed
	}
	return r.r.Read(p)
}

func (r *memoryReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}
