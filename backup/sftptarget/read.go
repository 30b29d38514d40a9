package sftptarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/pkg/sftp"
)

// Open implements [runbook.Target]. The reader asks for bytes ahead, at most Options.InFlight of them.
func (t *Target) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return t.OpenRange(ctx, key, 0, -1)
}

// OpenRange implements [runbook.RangeOpener].
func (t *Target) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	err := t.begin(ctx, key)
	if err == nil && (offset < 0 || length < -1) {
		err = fmt.Errorf("range of %d bytes from %d: %w", length, offset, fs.ErrInvalid)
	}
	var r *reader
	if err == nil {
		r, err = call(ctx, t, func(s *session) (*reader, error) { return s.openReader(key) }, func(_ *session, r *reader) { r.handles.close() })
	}
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	r.next = min(offset, r.end)
	if length >= 0 {
		r.end = min(r.end, r.next+length)
	}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	context.AfterFunc(r.ctx, func() { t.start(func() { r.handles.close() }) })
	r.ask()
	return r, nil
}

// openReader asks for the file and for its size in one round trip.
func (s *session) openReader(key string) (*reader, error) {
	var wait sync.WaitGroup
	var file *sftp.File
	var openErr error
	wait.Go(func() { file, openErr = s.Client.Open(s.conn.t.path(key)) })
	o, err := s.stat(key)
	wait.Wait()
	r := &reader{s: s, key: key, end: o.Size, ahead: 2}
	if openErr == nil {
		r.handles.add(s, file)
	}
	if err == nil {
		err = openErr
	}
	if err != nil {
		r.handles.close()
		return nil, err
	}
	return r, nil
}

// reader reads ahead: more the more is read.
type reader struct {
	s      *session
	key    string
	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc

	next, end int64 // what has not been asked for yet
	ahead     int   // requests to have under way
	asked     []answer
	left      []byte // of the answer that is being read
	handles   handles
	err       error
}

type answer struct {
	data []byte // as long as what was asked for, filled once ready
	err  chan error
}

// ask sends as many requests as are due.
func (r *reader) ask() {
	if r.end-r.next > spreadAfter {
		r.handles.spread(r.s, r.s.conn.t.path(r.key), os.O_RDONLY)
	}
	for len(r.asked) < r.ahead && r.next < r.end {
		a := answer{make([]byte, min(int64(r.s.conn.packet), r.end-r.next)), make(chan error, 1)}
		h, offset := r.handles.pick(), r.next
		r.handles.users.Go(func() {
			n, err := h.file.ReadAt(a.data, offset)
			h.busy.Add(-1)
			if n == len(a.data) {
				err = nil
			}
			a.err <- err
		})
		r.asked = append(r.asked, a)
		r.next += int64(len(a.data))
	}
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, r.fail(context.Cause(r.ctx))
	}
	if r.err != nil {
		return 0, r.err
	}
	for len(r.left) == 0 {
		if len(r.asked) == 0 {
			return 0, io.EOF
		}
		a := r.asked[0]
		select {
		case err := <-a.err:
			if err != nil {
				return 0, r.fail(err)
			}
		case <-r.ctx.Done():
			return 0, r.fail(context.Cause(r.ctx))
		}
		r.left, r.asked = a.data, r.asked[1:]
		r.ahead = min(2*r.ahead, max(1, r.s.conn.t.o.InFlight/r.s.conn.packet))
		r.ask()
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

func (r *reader) fail(err error) error {
	if errors.Is(err, io.EOF) && !r.s.conn.isDead() {
		// The size was known, so this is no end: the file was cut, or the connection is about to be found dead.
		err = io.ErrUnexpectedEOF
	}
	r.err = fmt.Errorf("read %q: %w", r.key, r.s.conn.translate(r.ctx, err))
	return r.err
}

// Close may be called while another goroutine is in Read, which then returns.
func (r *reader) Close() error {
	r.cancel(os.ErrClosed)
	return nil
}
