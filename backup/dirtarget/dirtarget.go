// Package dirtarget keeps objects as files in a directory: a local disk, a mounted share.
//
//	target, err := dirtarget.Open("/srv/backup", dirtarget.Options{})
//
// # Guarantees
//
// The object with the key "a/b" is the file a/b below the directory, byte for byte; "cp" is all it takes to read it without this package.
//
// Put writes to a temporary file in the folder .runbook-tmp of the directory, syncs it, and gives it its name by a hard link, which fails
// if the name is taken: of two Puts, in two processes too, one wins. Then it syncs every directory from the object's folder up to the
// root. A process that is killed leaves at most a temporary file, which [Target.Sweep] removes, and empty folders, which are not listed.
// Where the file system has no hard links, writers of one key exclude each other by a file in .runbook-tmp and the object is renamed to
// its name; that keeps out other users of this package, but not a foreign program that makes a file of that name at the same instant.
//
// A file system that lies about fsync, or a network share that caches, can lose what Put promised to keep; nothing here can tell.
//
// Nothing outside the directory is ever read or changed, even if somebody plants symbolic links inside: all access goes through [os.Root].
// (On Windows an empty folder outside could be removed by who exchanges a folder for a junction in the instant in which Delete removes it.)
// A symbolic link, or anything else but a regular file, is not an object: it is not listed, and Stat and Open say that it does not exist.
//
// # Limits
//
// "a" cannot be kept beside "a/b", as a file cannot be a folder. Such a Put gives an error that matches [errors.ErrUnsupported]. What the
// file system cannot keep apart is one key: letter case on Windows and usually on macOS, where a Put of "A" beside "a" gives
// [io/fs.ErrExist]. A key that is no file name on this system, such as "a:b" on Windows, gives an error that matches
// [errors.ErrUnsupported].
//
// # Concurrency
//
// A Target is safe for concurrent use, and so is a directory by several processes.
//
// If the context of a Put ends while a Read of its reader blocks, Put returns and leaves that one call to end by itself. What it gives is
// thrown away and the reader is not read again. Close the reader to set it free.
//
// # Errors
//
// Errors name the key and wrap what the operating system says, so that a full disk is found with errors.Is(err, syscall.ENOSPC).
//
// # Stability
//
// The layout is stable. The Go API may change until v1.0.0.
package dirtarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/internal/atomicfile"
)

// Options adapt a target. The zero value is ready to use.
type Options struct {
	FileMode fs.FileMode // of objects, whatever the umask is; 0 means 0600
	DirMode  fs.FileMode // of folders that are made, less the umask; 0 means 0700

	// Create makes the directory itself and its parents if they are missing. Without it a missing directory is an error, as it may be a
	// disk that is not mounted.
	Create bool
}

// Target is a [runbook.Target], [runbook.RangeOpener] and [runbook.Prober].
type Target struct {
	root     *os.Root
	o        Options
	temp     atomic.Bool // the folder of temporary files was made
	patience time.Duration

	// What a test replaces.
	link    func(oldname, newname string) error
	syncDir func(root *os.Root, dir string) error
}

// tempDir is where unfinished objects are. No key can name it, see [runbook.CheckKey].
const tempDir = ".runbook-tmp"

// Open opens a directory. Close it after use.
func Open(dir string, o Options) (*Target, error) {
	if o.FileMode == 0 {
		o.FileMode = 0o600
	}
	if o.DirMode == 0 {
		o.DirMode = 0o700
	}
	if o.Create {
		if err := makeDir(dir, o.DirMode); err != nil {
			return nil, fmt.Errorf("open directory target %s: %w", dir, err)
		}
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open directory target %s: %w; make it, or mount its disk, first", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open directory target %s: %w", dir, err)
	}
	return &Target{root: root, o: o, patience: lockPatience, link: root.Link, syncDir: atomicfile.SyncDir}, nil
}

// makeDir makes a directory and its parents, durably.
func makeDir(dir string, mode fs.FileMode) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return err
	}
	defer root.Close()
	return atomicfile.SyncDir(root, ".")
}

// URLKeys are the query keys of [OpenURL].
func URLKeys() []string { return []string{"create"} }

// OpenURL opens file:///absolute/directory, for a [runbook.TargetMux]. The query key "create" with the value "true" sets Options.Create:
//
//	mux.Handle("file", dirtarget.OpenURL, dirtarget.URLKeys()...)
func OpenURL(_ context.Context, u *url.URL) (runbook.Target, error) {
	dir := filepath.FromSlash(u.Path)
	if volume := filepath.VolumeName(strings.TrimPrefix(dir, `\`)); volume != "" {
		dir = strings.TrimPrefix(dir, `\`) // file:///C:/backup
	}
	switch {
	case u.Host != "" && u.Host != "localhost":
		return nil, fmt.Errorf("host %q: a file URL names this machine; write file:///directory with three slashes", u.Host)
	case !filepath.IsAbs(dir):
		return nil, fmt.Errorf("directory %q is not absolute; write file:///directory", u.Path)
	}
	create := u.Query().Get("create")
	if create != "" && create != "true" && create != "false" {
		return nil, fmt.Errorf("create=%q is neither true nor false", create)
	}
	t, err := Open(dir, Options{Create: create == "true"})
	if err != nil {
		return nil, err // not t, which would be a Target that is not nil
	}
	return t, nil
}

// Close releases the directory. Readers that are open stay usable.
func (t *Target) Close() error { return t.root.Close() }

// Open implements [runbook.Target].
func (t *Target) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return t.OpenRange(ctx, key, 0, -1)
}

// OpenRange implements [runbook.RangeOpener].
func (t *Target) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	fail := func(err error) (io.ReadCloser, error) { return nil, fmt.Errorf("open %q: %w", key, err) }
	if err := ready(ctx, key); err != nil {
		return fail(err)
	}
	if offset < 0 || length < -1 {
		return fail(fmt.Errorf("offset %d, length %d: %w", offset, length, fs.ErrInvalid))
	}
	info, err := t.lookup(key)
	if err != nil {
		return fail(err)
	}
	f, err := t.root.Open(key)
	if err != nil {
		return fail(absent(err))
	}
	// What was looked at must be what was opened.
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return fail(errors.Join(fs.ErrNotExist, f.Close()))
	}
	if length < 0 {
		length = max(0, info.Size()-offset)
	}
	return &reader{ctx: ctx, key: key, r: io.NewSectionReader(f, offset, length), f: f}, nil
}

// Stat implements [runbook.Target].
func (t *Target) Stat(ctx context.Context, key string) (runbook.Object, error) {
	err := ready(ctx, key)
	if err == nil {
		var info fs.FileInfo
		if info, err = t.lookup(key); err == nil {
			return object(key, info), nil
		}
	}
	return runbook.Object{}, fmt.Errorf("stat %q: %w", key, err)
}

// Delete implements [runbook.Target]. It also removes the folders that it leaves empty.
func (t *Target) Delete(ctx context.Context, key string) error {
	fail := func(err error) error { return fmt.Errorf("delete %q: %w", key, err) }
	if err := ready(ctx, key); err != nil {
		return fail(err)
	}
	_, err := t.lookup(key)
	if err == nil {
		err = absent(t.root.Remove(key))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	dir := path.Dir(key)
	for dir != "." && (t.rmdir(dir) == nil || !t.isFolder(dir)) {
		dir = path.Dir(dir)
	}
	// Also if the object was gone: whoever removed it may have been killed before this point.
	if err := t.syncUp(dir); err != nil {
		return fail(err)
	}
	return nil
}

// lookup describes a key's file. Links are not followed, not even inside the directory, so that Stat and Open agree with List.
func (t *Target) lookup(key string) (fs.FileInfo, error) {
	if _, err := filepath.Localize(key); err != nil {
		return nil, fs.ErrNotExist
	}
	for i, c := range key {
		if c != '/' {
			continue
		}
		info, err := t.root.Lstat(key[:i])
		if err != nil {
			return nil, absent(err)
		}
		if !info.IsDir() {
			return nil, fs.ErrNotExist
		}
	}
	info, err := t.root.Lstat(key)
	if err != nil {
		return nil, absent(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return info, nil
}

// syncUp syncs a folder and all above it. A folder that is gone has nothing to keep.
func (t *Target) syncUp(dir string) error {
	for {
		err := t.syncDir(t.root, dir)
		if err != nil && !errors.Is(absent(err), fs.ErrNotExist) {
			return err
		}
		if dir == "." {
			return nil
		}
		dir = path.Dir(dir)
	}
}

// absent makes an error that says that a part of the path is a file match fs.ErrNotExist.
func absent(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

func ready(ctx context.Context, key string) error {
	if err := runbook.CheckKey(key); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func object(key string, info fs.FileInfo) runbook.Object {
	return runbook.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}
}

// reader reads a part of a file until its context ends.
type reader struct {
	ctx    context.Context
	key    string
	r      *io.SectionReader
	f      *os.File
	closed atomic.Bool
}

func (r *reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, fmt.Errorf("read %q: %w", r.key, err)
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %q: %w", r.key, err)
	}
	return n, err
}

func (r *reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	return r.f.Close()
}
