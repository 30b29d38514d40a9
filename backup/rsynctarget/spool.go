package rsynctarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"
)

// spool is a temporary directory on this machine in which one object lies under its key.
type spool struct{ dir string }

func newSpool(parent string) (*spool, error) {
	dir, err := os.MkdirTemp(parent, "runbook-rsync-")
	if err != nil {
		return nil, fmt.Errorf("make a spool: %w", err)
	}
	return &spool{dir}, nil
}

// remove removes it. If that fails it stays in the directory for temporary files, which is swept by the system.
func (s *spool) remove() { _ = os.RemoveAll(s.dir) }

func (s *spool) path(key string) (string, error) {
	local, err := filepath.Localize(key)
	if err != nil {
		return "", fmt.Errorf("is no file name on this system, where it is spooled: %w", errors.ErrUnsupported)
	}
	return filepath.Join(s.dir, local), nil
}

// folder makes the folder in which key would lie, and returns the name of its file.
func (s *spool) folder(key string) (string, error) {
	name, err := s.path(key)
	if err != nil {
		return "", err
	}
	if path.Dir(key) != "." {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	return name, err
}

// fill writes what r gives under key. If ctx ends while a Read of r blocks, that one call is left to end by itself.
func (s *spool) fill(ctx context.Context, key string, r io.Reader) (err error) {
	name, err := s.folder(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	copied := make(chan error, 1)
	go func() {
		// Read by Read alone: what WriteTo would do cannot be stopped.
		_, err := io.CopyBuffer(struct{ io.Writer }{f}, source{ctx, r}, make([]byte, 256<<10))
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-ctx.Done(): // if the copy comes back it finds the file closed
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// source reads until its context ends.
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

// reader reads a fetched object until its context ends, and then removes it.
type reader struct {
	ctx    context.Context
	key    string
	f      *os.File
	spool  *spool
	closed atomic.Bool
}

func (r *reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, fmt.Errorf("read %q: %w", r.key, err)
	}
	n, err := r.f.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %q: %w", r.key, err)
	}
	return n, err
}

func (r *reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	defer r.spool.remove()
	return r.f.Close()
}
