//go:build unix

package dirtarget

import (
	"errors"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// noLinks tells whether a link failed because the file system has none. Linux says EPERM then.
func noLinks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM)
}

func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// rmdir removes an empty folder and nothing else. [os.Root.Remove] would take an object that has come in the place of the folder.
func (t *Target) rmdir(dir string) error {
	parent, err := t.root.Open(path.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return unix.Unlinkat(int(parent.Fd()), path.Base(dir), unix.AT_REMOVEDIR)
}
