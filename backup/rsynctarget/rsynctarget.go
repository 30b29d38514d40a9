// Package rsynctarget keeps objects on an rsync server, and mirrors a directory to one. It runs the real rsync, against a daemon
// ("host::module") or over ssh ("user@host:directory").
//
//	target, err := rsynctarget.New("backup@store.example::nightly", rsynctarget.Options{Password: password})
//
//	err := rsynctarget.Mirror(ctx, "/srv/backup", "store.example::Backup", rsynctarget.Options{Chmod: "ugo=rwX"})
//
// # Guarantees
//
// The object with the key "a/b" is the file a/b below the destination, byte for byte. rsync receives it under another name, in the folder
// .runbook-tmp of the destination, compares a checksum of the whole, has the server sync it to disk (unless Options.NoSync says that the server
// cannot), and renames it. A transfer that is cut leaves at most a temporary file, which [Target.Sweep] removes.
//
// Nothing but the destination, which the caller chose, stands in the arguments of rsync: keys go through its standard input, local
// directories are its working directory, and the password is in its environment. A destination that rsync or a shell could take for something else
// is refused. rsync never asks for a password.
//
// # Limits
//
// rsync cannot promise all that [runbook.Target] asks for:
//
//   - Of two Puts of one key through one Target exactly one wins. Of two in different processes or through different Targets, both may report success, and the
//     later one is kept. Let one program at a time write to a destination, as the lease of a store does.
//   - The server syncs the file but not its folder, so a crash of the server just after Put may lose the name.
//   - If the connection breaks, or the context ends, just as the server renames the file, Put reports an error and the object is there.
//   - Put writes the object to a local spool first and Open reads it into one: the spool needs as much room as the object.
//   - "a" cannot be kept beside "a/b". Such a Put gives an error that matches [errors.ErrUnsupported].
//
// It needs rsync 3.2.4 on this side. The server needs 3.1.0 for a [Target], and 3.2.4 unless Options.NoSync is set.
//
// # Concurrency
//
// A Target is safe for concurrent use. Every call runs rsync once or twice.
//
// # Errors
//
// Errors name the key. An rsync that fails gives an [*Error], with its exit code and what to do about it; a full disk of the server is found
// with errors.Is(err, syscall.ENOSPC) and a time-out with errors.Is(err, os.ErrDeadlineExceeded).
//
// # Stability
//
// The layout is stable. The Go API may change until v1.0.0.
package rsynctarget

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/runbook-go/runbook"
)

// Options say how to run rsync. The zero value is ready to use with a daemon that asks for no password.
type Options struct {
	// Password is a daemon's; the child gets it as RSYNC_PASSWORD. PasswordFile is a file that holds it instead and that only its
	// owner can read.
	Password     string
	PasswordFile string

	// SSH is how to log in to a destination of the form "user@host:directory".
	SSH SSH

	// Chmod changes the permissions of what is sent, as rsync's option of that name does: "ugo=rwX", "D755,F644".
	Chmod string

	// NoSync does without the server syncing files to its disk. Set it if the server's rsync is older than 3.2.4.
	NoSync bool

	// Timeout ends a transfer in which nothing moved for so long, in whole seconds. 0 means 5 minutes.
	Timeout time.Duration

	// Spool is the directory for temporary files; empty means [os.TempDir]. What a killed process leaves there is named runbook-rsync-*.
	Spool string

	// Program is rsync; empty means the one in PATH.
	Program string

	// Env is added to the environment of rsync and so of ssh, such as "SSH_AUTH_SOCK=…". They get nothing else but a password and a locale.
	Env []string

	// Runner runs rsync; nil means [runbook.Local].
	Runner runbook.Runner
}

// SSH says how to log in. ssh never asks anything: it uses an agent or a key without a passphrase.
type SSH struct {
	KnownHosts string // file with the server's host key; required
	Identity   string // file with the private key; empty means an agent or ssh's defaults
	Port       int    // 0 means 22, or what ssh's own configuration says
	Program    string // ssh; empty means the one in PATH
}

// Target is a [runbook.Target] and a [runbook.Prober].
type Target struct {
	c     *client
	temp  atomic.Bool       // the folder of temporary files was made
	locks [64]chan struct{} // of keys, by their hash
}

// tempDir is where unfinished objects are. No key can name it, see [runbook.CheckKey].
const tempDir = ".runbook-tmp"

// New returns a target that keeps its objects at a destination: "[user@]host::module[/directory]", the same as
// "rsync://[user@]host[:port]/module[/directory]", or "[user@]host:directory" over ssh. The directory must exist on the server, but for its last
// element. Nothing is run yet.
func New(destination string, o Options) (*Target, error) {
	c, err := newClient(destination, o)
	if err != nil {
		return nil, fmt.Errorf("open rsync target: %w", err)
	}
	t := &Target{c: c}
	for i := range t.locks {
		t.locks[i] = make(chan struct{}, 1)
	}
	return t, nil
}

// URLKeys are the query keys of [OpenURL].
func URLKeys() []string { return []string{"password_file", "known_hosts", "key", "chmod", "spool"} }

// OpenURL opens rsync://[user@]host[:port]/module[/directory] or rsync+ssh://[user@]host[:port]/directory, for a [runbook.TargetMux]:
//
//	mux.Handle("rsync", rsynctarget.OpenURL, rsynctarget.URLKeys()...)
//	mux.Handle("rsync+ssh", rsynctarget.OpenURL, rsynctarget.URLKeys()...)
//
// The query keys chmod and spool set the [Options] of these names. password_file is for a daemon only; known_hosts, a file that records
// the server's key, and key, a file with the private key, are for ssh only.
func OpenURL(_ context.Context, u *url.URL) (runbook.Target, error) {
	q := u.Query()
	viaSSH, others := u.Scheme == "rsync+ssh", []string{"known_hosts", "key"}
	if viaSSH {
		others = []string{"password_file"}
	}
	for _, key := range others {
		if q.Has(key) {
			return nil, fmt.Errorf("open rsync target: query key %q does not go with %s; a daemon takes password_file, ssh known_hosts and key", key, u.Scheme)
		}
	}
	o := Options{PasswordFile: q.Get("password_file"), Chmod: q.Get("chmod"), Spool: q.Get("spool")}
	login := u.Host
	if u.User != nil {
		login = u.User.Username() + "@" + u.Host
	}
	destination := "rsync://" + login + u.Path
	if viaSSH {
		o.SSH = SSH{KnownHosts: q.Get("known_hosts"), Identity: q.Get("key")}
		if port := u.Port(); port != "" {
			if _, err := fmt.Sscan(port, &o.SSH.Port); err != nil {
				return nil, fmt.Errorf("port %q: %w", port, err)
			}
			login = strings.TrimSuffix(login, ":"+port)
		}
		destination = login + ":" + u.Path
	}
	t, err := New(destination, o)
	if err != nil {
		return nil, err // not t, which would be a Target that is not nil
	}
	return t, nil
}

// Put implements [runbook.Target].
func (t *Target) Put(ctx context.Context, key string, r io.Reader) error {
	if err := t.put(ctx, key, r); err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

func (t *Target) put(ctx context.Context, key string, r io.Reader) error {
	if err := ready(ctx, key); err != nil {
		return err
	}
	s, err := newSpool(t.c.o.Spool)
	if err != nil {
		return err
	}
	defer s.remove()
	if err := s.fill(ctx, key, r); err != nil {
		return err
	}
	unlock, err := t.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if err := t.makeTemp(ctx); err != nil {
		return err
	}
	for range 2 {
		sent, err := t.c.send(ctx, s.dir, key)
		if notDirectory(err) {
			return fmt.Errorf("a part of its path is a file, and a directory cannot keep a file and a folder of one name: %w (%w)", errors.ErrUnsupported, err)
		}
		if err != nil || sent {
			return err
		}
		there, err := t.c.lookup(ctx, key)
		switch {
		case err != nil:
			return err
		case there.kind == regular:
			return fs.ErrExist
		case there.kind != directory:
			return fmt.Errorf("something that is not a regular file has that name: %w", errors.ErrUnsupported)
		}
		// Once more, if the folder was one that deleted objects have left.
		if err := t.c.prune(ctx, key); err != nil {
			return err
		}
	}
	return fmt.Errorf("a folder has that name, and a directory cannot keep a file and a folder of one name: %w", errors.ErrUnsupported)
}

// Open implements [runbook.Target]. The whole object is fetched before Open returns.
func (t *Target) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := t.open(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	return r, nil
}

func (t *Target) open(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := ready(ctx, key); err != nil {
		return nil, err
	}
	s, err := newSpool(t.c.o.Spool)
	if err != nil {
		return nil, err
	}
	f, err := t.fetch(ctx, s, key)
	if err != nil {
		s.remove()
		return nil, err
	}
	return &reader{ctx: ctx, key: key, f: f, spool: s}, nil
}

func (t *Target) fetch(ctx context.Context, s *spool, key string) (*os.File, error) {
	name, err := s.path(key)
	if err != nil {
		return nil, err
	}
	if err := t.c.fetch(ctx, s.dir, key); err != nil && !notDirectory(err) {
		return nil, err
	}
	if info, err := os.Lstat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return os.Open(name)
}

// Stat implements [runbook.Target].
func (t *Target) Stat(ctx context.Context, key string) (runbook.Object, error) {
	err := ready(ctx, key)
	if err == nil {
		var o runbook.Object
		if o, err = t.stat(ctx, key); err == nil {
			return o, nil
		}
	}
	return runbook.Object{}, fmt.Errorf("stat %q: %w", key, err)
}

func (t *Target) stat(ctx context.Context, key string) (runbook.Object, error) {
	e, err := t.c.lookup(ctx, key)
	if err == nil && e.kind != regular {
		err = fs.ErrNotExist
	}
	return e.Object, err
}

// Delete implements [runbook.Target]. Folders that it leaves empty stay until their name is needed.
func (t *Target) Delete(ctx context.Context, key string) error {
	err := ready(ctx, key)
	if err == nil {
		err = t.delete(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

func (t *Target) delete(ctx context.Context, key string) error {
	unlock, err := t.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if err := t.c.delete(ctx, key); err != nil && !notDirectory(err) {
		return err
	}
	return nil
}

// Probe implements [runbook.Prober]: it writes a small temporary file and removes it again.
func (t *Target) Probe(ctx context.Context) error {
	err := context.Cause(ctx)
	if err == nil {
		err = t.probe(ctx)
	}
	if err != nil {
		return fmt.Errorf("probe rsync target: %w", err)
	}
	return nil
}

func (t *Target) probe(ctx context.Context) error {
	s, err := newSpool(t.c.o.Spool)
	if err != nil {
		return err
	}
	defer s.remove()
	if err := t.makeTemp(ctx); err != nil {
		return err
	}
	name := path.Join(tempDir, "probe-"+rand.Text())
	if err := s.fill(ctx, name, strings.NewReader("probe\n")); err != nil {
		return err
	}
	if _, err := t.c.send(ctx, s.dir, name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return t.c.delete(ctx, name)
}

// Sweep removes temporary files that were last modified before a time by the server's clock, and returns how many.
func (t *Target) Sweep(ctx context.Context, before time.Time) (int, error) {
	n, err := t.sweep(ctx, before)
	if err != nil {
		return n, fmt.Errorf("sweep rsync target: %w", err)
	}
	return n, nil
}

func (t *Target) sweep(ctx context.Context, before time.Time) (n int, err error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	temps, err := t.c.list(ctx, tempDir)
	if err != nil {
		return 0, err
	}
	for _, o := range temps {
		if o.Modified.Before(before) {
			if err := t.c.delete(ctx, o.Key); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

// makeTemp makes the folder of temporary files.
func (t *Target) makeTemp(ctx context.Context) error {
	if t.temp.Load() {
		return nil
	}
	s, err := newSpool(t.c.o.Spool)
	if err != nil {
		return err
	}
	defer s.remove()
	if err := os.Mkdir(filepath.Join(s.dir, tempDir), 0o700); err != nil {
		return err
	}
	if err := t.c.mkdir(ctx, s.dir, tempDir); err != nil {
		return err
	}
	t.temp.Store(true)
	return nil
}

// lock keeps others of this Target from changing key.
func (t *Target) lock(ctx context.Context, key string) (unlock func(), err error) {
	h := fnv.New32a()
	_, _ = io.WriteString(h, key)
	lock := t.locks[h.Sum32()%uint32(len(t.locks))]
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func ready(ctx context.Context, key string) error {
	if err := runbook.CheckKey(key); err != nil {
		return err
	}
	return context.Cause(ctx)
}
