package sftptarget

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// makeDirs makes a directory and those above it. A directory that was seen once is not looked for again.
func (s *session) makeDirs(dir string) error {
	t := s.conn.t
	t.mu.Lock()
	_, known := t.dirs[dir]
	t.mu.Unlock()
	if known {
		return nil
	}
	if err := s.makeDir(dir); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dirs == nil {
		t.dirs = make(map[string]struct{})
	}
	t.dirs[dir] = struct{}{}
	return nil
}

// forgetDirs is for when a directory that was there is not there any more.
func (t *Target) forgetDirs() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.dirs)
}

func (s *session) makeDir(dir string) error {
	err := s.Mkdir(dir)
	if above := path.Dir(dir); errors.Is(err, fs.ErrNotExist) && above != dir {
		if err := s.makeDirs(above); err != nil {
			return err
		}
		err = s.Mkdir(dir)
	}
	if err == nil {
		mode := s.conn.t.o.DirMode
		if path.Base(dir) == tempDir {
			mode = 0o700
		}
		// It is empty still. Some servers know no permissions.
		if err := s.Chmod(dir, mode); err != nil {
			s.conn.t.o.Logger.Debug("SFTP server does not set permissions", "addr", s.conn.t.addr, "err", err)
		}
		return nil
	}
	info, statErr := s.info(dir)
	switch {
	case statErr != nil:
		return fmt.Errorf("make directory %q: %w", dir, err)
	case !info.IsDir():
		return fmt.Errorf("%q is not a directory, and a file system cannot keep a file and a folder of one name: %w", dir, errors.ErrUnsupported)
	}
	return nil
}

// prune removes a directory that holds nothing but directories, which deleted objects leave, and tells whether it is gone.
func (s *session) prune(dir string) bool {
	entries, err := s.ReadDir(dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	for _, e := range entries {
		if !e.IsDir() || !s.prune(path.Join(dir, e.Name())) {
			return false
		}
	}
	s.conn.t.forgetDirs()
	err = s.RemoveDirectory(dir)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}
