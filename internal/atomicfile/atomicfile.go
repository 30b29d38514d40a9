// Package atomicfile replaces a file so that a reader, and a crash, see the old content or the new one and nothing between.
//
//	err := atomicfile.WriteFile("/var/lib/app/state.json", data, 0)
//
// # Guarantees
//
// The content is written to a temporary file in the same directory, synced, renamed over the name, and the directory is synced. When a
// function returns nil the new content survives a crash of the machine. When it returns an error the old content is there, with one
// exception that the error names: the last sync of the directory failed, and the new content is there but might not survive a crash. A
// process that is killed on the way leaves a file whose name starts with [TempPrefix].
//
// # Concurrency
//
// Functions may be called concurrently, for one name too: the last rename wins, whole.
//
// # Errors
//
// Errors name the file and wrap what the operating system says, such as [io/fs.ErrNotExist] for a missing directory.
//
// # Stability
//
// Internal: it changes as its callers need.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// TempPrefix starts the names of the temporary files.
const TempPrefix = ".runbook-tmp-"

// WriteFile replaces the file at name, or makes it. The mode is exactly perm, whatever the umask is; 0 means 0600.
func WriteFile(name string, data []byte, perm fs.FileMode) error {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer root.Close()
	return WriteFileIn(root, filepath.Base(name), data, perm)
}

// WriteFileIn is [WriteFile] for a slash-separated name below root, which symbolic links cannot leave.
func WriteFileIn(root *os.Root, name string, data []byte, perm fs.FileMode) error {
	return WriteIn(root, name, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteIn is [WriteFileIn] for content that write produces. An error of write leaves the old content and is returned wrapped.
func WriteIn(root *os.Root, name string, perm fs.FileMode, write func(io.Writer) error) (err error) {
	if perm == 0 {
		perm = 0o600
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", filepath.Join(root.Name(), filepath.FromSlash(name)), err)
		}
	}()
	dir := path.Dir(name)
	temp := path.Join(dir, TempPrefix+rand.Text())
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	return SyncDir(root, dir)
}

// SyncDir makes what was created, renamed or removed in a directory below root survive a crash; "." is root itself. File systems that
// cannot sync a directory are left alone, and so is Windows, where a directory has nothing to sync.
func SyncDir(root *os.Root, dir string) error {
	if err := syncDir(root, dir); err != nil {
		return fmt.Errorf("sync directory %s: %w", filepath.Join(root.Name(), filepath.FromSlash(dir)), err)
	}
	return nil
}
