package sftptarget

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/pkg/sftp"
)

// spreadAfter is the number of bytes after which an object is worth a handle in each session.
const spreadAfter = 1 << 20

// handles is one remote file, opened in one or more sessions of a connection.
type handles struct {
	mu     sync.Mutex
	all    []*handle
	asked  map[*session]bool
	closed bool
	users  sync.WaitGroup // requests under way
}

type handle struct {
	file *sftp.File
	s    *session
	busy atomic.Int32 // requests under way
}

// add reports whether the handle was taken in; it is not once the file was closed.
func (h *handles) add(s *session, f *sftp.File) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.all = append(h.all, &handle{file: f, s: s})
	}
	return !h.closed
}

// spread opens the file in those other sessions of the connection where that has not been tried yet. It does not wait.
func (h *handles) spread(s *session, name string, flags int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked == nil {
		h.asked = map[*session]bool{s: true}
	}
	for _, other := range s.conn.all() {
		if h.asked[other] {
			continue
		}
		h.asked[other] = true
		go func() {
			// A session that does not open it is not used.
			if f, err := other.OpenFile(name, flags); err == nil && !h.add(other, f) {
				f.Close()
			}
		}()
	}
}

// first is the handle that the file was opened with.
func (h *handles) first() *sftp.File {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all[0].file
}

// pick returns the handle with the fewest requests under way, and counts one more.
func (h *handles) pick() *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	least := h.all[0]
	for _, other := range h.all[1:] {
		if other.busy.Load() < least.busy.Load() {
			least = other
		}
	}
	least.busy.Add(1)
	return least
}

// close closes every handle once nothing uses it any more. Closing twice is harmless.
func (h *handles) close() error {
	h.users.Wait()
	h.mu.Lock()
	closed := h.closed
	h.closed = true
	all := h.all
	h.mu.Unlock()
	if closed {
		return nil
	}
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, handle := range all {
		wait.Go(func() { errs[i] = handle.file.Close() })
	}
	wait.Wait()
	return errors.Join(errs...)
}
