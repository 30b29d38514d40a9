package pgarchive

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"
)

// Walker is [Walk] in push form: it is fed with an archive while the bytes stream past, for instance by [io.MultiWriter] or
// [io.TeeReader]. It does its work inside Write. It must be ended by Close or Abort.
type Walker struct {
	mu      sync.Mutex
	resume  func() (struct{}, bool) // runs the walk until it wants more bytes
	stop    func()
	fed     []byte // not read by the walk yet
	closed  bool   // nothing more will be fed
	ended   bool   // the walk is over
	summary *Summary
	err     error
}

// NewWalker returns a Walker with the default [Options].
func NewWalker() *Walker { return Options{}.NewWalker() }

// NewWalker is like the function [NewWalker].
func (o Options) NewWalker() *Walker {
	w := &Walker{}
	w.resume, w.stop = iter.Pull(func(yield func(struct{}) bool) {
		w.summary, w.err = o.Walk(reader(func(p []byte) (int, error) {
			for len(w.fed) == 0 {
				if w.closed {
					return 0, io.EOF
				}
				if !yield(struct{}{}) {
					return 0, errAborted
				}
			}
			n := copy(p, w.fed)
			w.fed = w.fed[n:]
			return n, nil
		}))
	})
	return w
}

var (
	errAborted = fmt.Errorf("the walk was aborted: %w", fs.ErrClosed)
	errClosed  = fmt.Errorf("write behind the end of an archive: %w", fs.ErrClosed)
)

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// Write takes the next bytes of the archive. Once it has returned an error every later call returns the same. It does not keep p.
func (w *Walker) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed && w.err == nil {
		return 0, errClosed
	}
	w.run(p)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// Close says that the archive has ended, and returns what [Walk] would: an error if it was cut. Closing again returns the same.
func (w *Walker) Close() (*Summary, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.run(nil)
	return w.summary, w.err
}

// Abort ends the walk and frees what it holds. Later calls of Write and Close return an error that matches [fs.ErrClosed]. After Close, or after
// an error, it changes nothing.
func (w *Walker) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop(); !w.ended && w.err == nil {
		w.err = errAborted // it had not begun
	}
	w.ended = true
}

func (w *Walker) run(p []byte) {
	if w.ended {
		return
	}
	w.fed = p
	_, hungry := w.resume()
	w.ended, w.fed = !hungry, nil
}
