package exectarget

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// Put implements [runbook.Target].
func (t *Target) Put(ctx context.Context, key string, r io.Reader) error {
	err := t.ready(ctx, key)
	if err == nil {
		err = t.put(ctx, key, r)
	}
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

func (t *Target) put(ctx context.Context, key string, r io.Reader) error {
	name := rand.Text()
	err := t.upload(ctx, name, key, r)
	if err == nil {
		err = context.Cause(ctx)
	}
	// From here on a context that ends changes nothing: a commit that is killed would leave open whether it happened.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.o.Grace)
	defer cancel()
	if err == nil {
		if err = t.run(grace, nil, nil, "commit", name, "/"+key); err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("commit, which may have happened all the same: %w", err)
		}
	}
	if abort := t.run(grace, nil, nil, "abort", name); abort != nil {
		err = errors.Join(err, fmt.Errorf("abort the upload: %w", abort))
	}
	return err
}

// upload stores what r gives under the name of an upload. It returns nil if r was read to its end and the plug-in has all of it.
func (t *Target) upload(ctx context.Context, name, key string, r io.Reader) error {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	in, out := io.Pipe()
	// Sets the runner free, which reads from the pipe.
	defer context.AfterFunc(ctx, func() { out.CloseWithError(context.Cause(ctx)) })()

	type result struct {
		n   int64
		err error
	}
	copied := make(chan result, 1)
	go func() {
		n, err := io.CopyBuffer(out, source{running, r}, make([]byte, 256<<10))
		copied <- result{n, err}
		if err != nil {
			stop(err) // kills the plug-in
		}
		out.CloseWithError(err)
	}()
	stored := int64(-1)
	err := t.run(running, in, number("size", &stored), "put", name, "/"+key)
	in.CloseWithError(errExited)
	var sent result
	select {
	case sent = <-copied:
	case <-ctx.Done():
	}
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return cause
	case sent.err != nil && sent.err != errExited:
		return fmt.Errorf("read what is to be stored: %w", sent.err)
	case err != nil:
		return err
	case sent.err != nil:
		return errExited
	case stored != sent.n:
		return fmt.Errorf("the plug-in was sent %d bytes and reports a size of %d", sent.n, stored)
	}
	return nil
}

var errExited = errors.New("the plug-in exited 0 before it had read everything")

// source fails once ctx has ended.
type source struct {
	ctx context.Context
	r   io.Reader
}

func (s source) Read(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// open starts the plug-in and returns what it writes, once it has written something or exited 0.
func (t *Target) open(ctx context.Context, key string, args ...string) (io.ReadCloser, error) {
	if err := t.ready(ctx, key); err != nil {
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	running, stop := context.WithCancel(ctx)
	in, out := io.Pipe()
	first := make(chan struct{})
	w := &firstWriter{w: out, mark: sync.OnceFunc(func() { close(first) })}
	r := &reader{ctx: ctx, key: key, in: in, stop: stop, done: make(chan struct{})}
	var err error
	go func() {
		defer close(r.done)
		err = t.start(running, nil, w, args...)
		out.CloseWithError(err)
	}()
	// Sets the runner free, which writes to the pipe.
	context.AfterFunc(running, func() { out.CloseWithError(context.Cause(running)) })
	select {
	case <-first:
		return r, nil
	case <-r.done:
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	return r, nil
}

type firstWriter struct {
	w    io.Writer
	mark func()
}

func (f *firstWriter) Write(p []byte) (int, error) {
	if len(p) > 0 {
		f.mark()
	}
	return f.w.Write(p)
}

// reader gives io.EOF only if the plug-in exited 0.
type reader struct {
	ctx  context.Context
	key  string
	in   *io.PipeReader
	stop context.CancelFunc
	done chan struct{}
}

func (r *reader) Read(p []byte) (int, error) {
	err := context.Cause(r.ctx)
	n := 0
	if err == nil {
		n, err = r.in.Read(p)
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %q: %w", r.key, err)
	}
	return n, err
}

// Close kills the plug-in if it is still at work.
func (r *reader) Close() error {
	r.stop()
	r.in.Close()
	<-r.done
	return nil
}
