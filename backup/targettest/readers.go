package targettest

import (
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// pattern gives n bytes that do not compress and do not repeat.
func pattern(seed byte, n int64) io.Reader {
	return struct{ io.Reader }{io.LimitReader(rand.NewChaCha8([32]byte{seed}), n)}
}

// readerFunc makes a function a reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// stutter returns no bytes and no error on every second call, as [io.Reader] allows.
func stutter(r io.Reader) io.Reader {
	odd := false
	return readerFunc(func(p []byte) (int, error) {
		if odd = !odd; odd {
			return 0, nil
		}
		return r.Read(p)
	})
}

// endWith gives content and then err.
func endWith(content string, err error) io.Reader {
	return io.MultiReader(opaque(content), readerFunc(func([]byte) (int, error) { return 0, err }))
}

// blocker gives first, then blocks until it is released, then gives rest.
type blocker struct {
	first, rest io.Reader
	blocked     chan struct{} // closed when a Read blocks
	released    chan struct{}
	mark, free  func()
}

func newBlocker(first, rest string) *blocker {
	b := &blocker{first: opaque(first), rest: opaque(rest), blocked: make(chan struct{}), released: make(chan struct{})}
	b.mark = sync.OnceFunc(func() { close(b.blocked) })
	b.free = sync.OnceFunc(func() { close(b.released) })
	return b
}

func (b *blocker) Read(p []byte) (int, error) {
	if n, err := b.first.Read(p); err == nil {
		return n, nil
	}
	b.mark()
	<-b.released
	return b.rest.Read(p)
}

// counter counts the calls of Read.
type counter struct {
	r     io.Reader
	calls atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	c.calls.Add(1)
	return c.r.Read(p)
}
