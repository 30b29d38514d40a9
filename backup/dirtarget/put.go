package dirtarget

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"
)

// Put implements [runbook.Target].
func (t *Target) Put(ctx context.Context, key string, r io.Reader) error {
	err := ready(ctx, key)
	if err == nil {
		err = t.put(ctx, key, r)
	}
	if _, theirs := errors.AsType[*readError](err); !theirs && full(err) {
		if !errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: %w", syscall.ENOSPC, err)
		}
		err = fmt.Errorf("%w; free space on the disk of %s", err, t.root.Name())
	}
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

func (t *Target) put(ctx context.Context, key string, r io.Reader) error {
	if _, err := filepath.Localize(key); err != nil {
		return fmt.Errorf("is no file name on this system: %w", errors.ErrUnsupported)
	}
	// Early, as reading a dump for nothing is dear. The link decides.
	if err := t.vacant(key); err != nil {
		return err
	}
	temp, err := t.write(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = t.root.Remove(temp) }() // if it stays, a sweep takes it
	if err := t.publish(ctx, temp, key); err != nil {
		return err
	}
	if err := t.syncUp(path.Dir(key)); err != nil {
		// Not known to be durable, so it must not be seen.
		return errors.Join(err, t.root.Remove(key))
	}
	return nil
}

// vacant tells why key cannot be put, if so.
func (t *Target) vacant(key string) error {
	for i, c := range key {
		if c != '/' {
			continue
		}
		info, err := t.root.Lstat(key[:i])
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%q is not a folder, and a directory cannot keep a file and a folder of one name: %w", key[:i], errors.ErrUnsupported)
		}
	}
	info, err := t.root.Lstat(key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().IsRegular():
		return fs.ErrExist
	case !info.IsDir():
		return fmt.Errorf("something that is not a regular file has that name (%v): %w", info.Mode().Type(), errors.ErrUnsupported)
	case t.prune(key):
		return nil
	default:
		return fmt.Errorf("a folder has that name, and a directory cannot keep a file and a folder of one name: %w", errors.ErrUnsupported)
	}
}

// prune removes a folder that holds nothing but folders, which killed processes leave, and tells whether it is gone.
func (t *Target) prune(dir string) bool {
	entries, err := fs.ReadDir(t.root.FS(), dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	for _, e := range entries {
		if !e.IsDir() || !t.prune(path.Join(dir, e.Name())) {
			return false
		}
	}
	err = t.rmdir(dir)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// write writes what r gives to a temporary file and syncs it. When it returns an error the file is gone.
func (t *Target) write(ctx context.Context, r io.Reader) (temp string, err error) {
	temp, f, err := t.createTemp("put-" + rand.Text())
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, t.root.Remove(temp))
		}
	}()
	copied := make(chan error, 1)
	go func() {
		// Read by Read alone: what WriteTo would do cannot be stopped.
		_, err := io.CopyBuffer(struct{ io.Writer }{f}, source{ctx, r}, make([]byte, 256<<10))
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-ctx.Done():
		// The copy may be blocked in r. If it comes back, it finds the file closed.
	}
	if cause := context.Cause(ctx); cause != nil {
		return temp, cause
	}
	if err == nil {
		err = f.Chmod(t.o.FileMode)
	}
	if err == nil {
		err = f.Sync()
	}
	return temp, err
}

func (t *Target) createTemp(name string) (string, *os.File, error) {
	name = path.Join(tempDir, name)
	for try := 0; ; try++ {
		if !t.temp.Load() || try > 0 {
			if err := t.root.Mkdir(tempDir, t.o.DirMode); err != nil && !errors.Is(err, fs.ErrExist) {
				return "", nil, err
			}
			t.temp.Store(true)
		}
		f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrNotExist) && try < 3 {
			continue // somebody removed the folder
		}
		return name, f, err
	}
}

// publish gives a temporary file its name, without replacing anything.
func (t *Target) publish(ctx context.Context, temp, key string) error {
	for try := 0; ; try++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		err := t.root.MkdirAll(path.Dir(key), t.o.DirMode)
		if err == nil {
			err = t.link(temp, key)
		}
		switch {
		case noLinks(err):
			return t.publishByRename(ctx, temp, key)
		case errors.Is(err, fs.ErrNotExist) && try < 1000:
			// A Delete removed the folder because it was empty.
		case (errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR)) && try < 1000:
			if err := t.vacant(key); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// publishByRename is publish for file systems without hard links. A rename replaces, so only the owner of a lock file may look and rename.
func (t *Target) publishByRename(ctx context.Context, temp, key string) error {
	for deadline := time.Now().Add(t.patience); ; {
		lock, f, err := t.createTemp(lockName(key))
		if err == nil {
			defer func() { _, _ = f.Close(), t.root.Remove(lock) }()
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("another writer holds the lock %s for %v already; if it was killed, sweep the target or remove that file",
				filepath.Join(t.root.Name(), filepath.FromSlash(lock)), t.patience)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for try := 0; ; try++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		err := t.vacant(key)
		if err == nil {
			err = t.root.MkdirAll(path.Dir(key), t.o.DirMode)
		}
		if err == nil {
			err = t.root.Rename(temp, key)
		}
		if errors.Is(err, fs.ErrNotExist) && try < 1000 {
			continue
		}
		return err
	}
}

func lockName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "lock-" + hex.EncodeToString(sum[:16])
}

// lockPatience is how long a lock is waited for. Its owner needs a few milliseconds.
const lockPatience = 10 * time.Second

// source fails once ctx has ended, and marks the reader's own errors.
type source struct {
	ctx context.Context
	r   io.Reader
}

func (s source) Read(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = &readError{err}
	}
	return n, err
}

// readError is an error of the reader given to Put, not of this target.
type readError struct{ err error }

func (e *readError) Error() string { return "read what is to be stored: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }
