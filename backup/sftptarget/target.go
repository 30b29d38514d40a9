package sftptarget

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/cpu"

	"github.com/runbook-go/runbook"
)

// tempDir holds unfinished uploads, below the root. Its name cannot begin a key.
const tempDir = ".runbook-tmp"

// Target is a [runbook.Target] on an SFTP server. It also implements [runbook.RangeOpener] and [runbook.Prober].
type Target struct {
	addr   string
	config ssh.ClientConfig
	o      Options

	ctx  context.Context // ends with Close
	stop context.CancelFunc

	slots   []*slot
	next    atomic.Uint32
	running sync.WaitGroup // calls, those included whose caller has gone
	locks   keyLocks
	buffers sync.Pool // of *[]byte

	mu     sync.Mutex
	dirs   map[string]struct{} // directories that are known to exist
	closed bool                // running is being waited for
}

var (
	_ runbook.Target      = (*Target)(nil)
	_ runbook.RangeOpener = (*Target)(nil)
	_ runbook.Prober      = (*Target)(nil)
)

// Open connects to the server at addr, "host:port", and logs in. The config must have a HostKeyCallback, which [KnownHosts] can set;
// ssh.InsecureIgnoreHostKey gives passwords and dumps to whoever answers. Its Timeout bounds each attempt to connect, 0 is 30
// seconds. If it names no ciphers, AES-GCM comes first on processors with AES instructions. The config is copied.
//
// Nothing is changed on the server before something is put; [Target.Probe] tells whether it could be.
func Open(ctx context.Context, addr string, config *ssh.ClientConfig, o Options) (*Target, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open SFTP target %s: options: %w", addr, err)
	}
	if config == nil || config.HostKeyCallback == nil {
		return nil, fmt.Errorf("open SFTP target %s: the config has no HostKeyCallback, so anybody could answer; "+
			"set it from a known_hosts file with sftptarget.KnownHosts", addr)
	}
	t := &Target{addr: addr, config: *config, o: o}
	if len(t.config.Ciphers) == 0 {
		t.config.Ciphers = preferredCiphers()
	}
	for range o.Connections {
		t.slots = append(t.slots, &slot{semaphore: make(chan struct{}, 1)})
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	s, err := t.session(ctx)
	if err != nil {
		t.stop()
		return nil, fmt.Errorf("open SFTP target %s: %w", addr, err)
	}
	s.done()
	return t, nil
}

// preferredCiphers puts AES-GCM, then ChaCha20, or the other way round where AES has no instructions of its own.
func preferredCiphers() []string {
	gcm := []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	chacha := []string{ssh.CipherChaCha20Poly1305}
	ctr := []string{ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR}
	if cpu.X86.HasAES || cpu.ARM64.HasAES || cpu.S390X.HasAES {
		return append(append(gcm, chacha...), ctr...)
	}
	return append(append(chacha, gcm...), ctr...)
}

// Close closes the connections, after it has waited, up to five seconds, for calls under way and for what cancelled ones left to be
// removed. Calls that come later match [fs.ErrClosed]. Closing twice is harmless.
func (t *Target) Close() error {
	t.stop()
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		t.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-time.After(5 * time.Second):
	}
	for _, slot := range t.slots {
		slot.semaphore <- struct{}{}
		if slot.conn != nil {
			slot.conn.fail(fs.ErrClosed)
		}
		<-slot.semaphore
	}
	return nil
}

// start runs f in a goroutine that Close waits for.
func (t *Target) start(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		go f()
		return
	}
	t.running.Go(f)
}

// Stat implements [runbook.Target].
func (t *Target) Stat(ctx context.Context, key string) (o runbook.Object, err error) {
	err = t.begin(ctx, key)
	if err == nil {
		o, err = call(ctx, t, func(s *session) (runbook.Object, error) { return s.stat(key) }, nil)
	}
	if err != nil {
		return o, fmt.Errorf("stat %q: %w", key, err)
	}
	return o, nil
}

// stat describes the object, and nothing but an object.
func (s *session) stat(key string) (runbook.Object, error) {
	info, err := s.info(s.conn.t.path(key))
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("is not a regular file: %w", fs.ErrNotExist)
	}
	if err != nil {
		return runbook.Object{}, err
	}
	return runbook.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// info is like Stat, and also finds [fs.ErrNotExist] where a server says just "failure" because a file stands where the path needs a
// directory.
func (s *session) info(name string) (fs.FileInfo, error) {
	info, err := s.Stat(name)
	if !isFailure(err) {
		return info, err
	}
	for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
		above, statErr := s.Stat(dir)
		if statErr == nil && !above.IsDir() {
			return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		if statErr == nil {
			break
		}
	}
	return nil, err
}

// Delete implements [runbook.Target]. Directories are left.
func (t *Target) Delete(ctx context.Context, key string) error {
	err := t.begin(ctx, key)
	if err == nil {
		err = t.delete(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

func (t *Target) delete(ctx context.Context, key string) error {
	_, err := call(ctx, t, func(s *session) (struct{}, error) {
		unlock, err := t.locks.lock(ctx, key)
		if err != nil {
			return struct{}{}, err
		}
		defer unlock()
		err = s.Remove(t.path(key))
		if err != nil {
			if _, statErr := s.stat(key); errors.Is(statErr, fs.ErrNotExist) {
				err = nil
			}
		}
		return struct{}{}, err
	}, nil)
	return err
}

// Probe implements [runbook.Prober]: it writes a temporary file and removes it.
func (t *Target) Probe(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("probe %s: %w", t.addr, err)
	}
	_, err := call(ctx, t, func(s *session) (struct{}, error) {
		f, err := s.createTemp()
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, errors.Join(f.Close(), s.Remove(f.Name()))
	}, nil)
	if err != nil {
		return fmt.Errorf("probe %s: write below %q: %w", t.addr, t.o.Root, err)
	}
	return nil
}

// FreeSpace returns the bytes that the server has free for the user. A server without statvfs@openssh.com gives an error that matches
// [errors.ErrUnsupported].
func (t *Target) FreeSpace(ctx context.Context) (int64, error) {
	err := context.Cause(ctx)
	var free int64
	if err == nil {
		free, err = call(ctx, t, (*session).free, nil)
	}
	if err != nil {
		return 0, fmt.Errorf("free space on %s: %w", t.addr, err)
	}
	return free, nil
}

func (s *session) free() (int64, error) {
	if !s.has("statvfs@openssh.com") {
		return 0, fmt.Errorf("the server does not tell: %w", errors.ErrUnsupported)
	}
	for dir := s.conn.t.o.Root; ; dir = path.Dir(dir) {
		vfs, err := s.StatVFS(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != path.Dir(dir) {
			continue // the root is made by the first Put
		}
		if err != nil {
			return 0, err
		}
		return int64(min(vfs.Frsize*vfs.Bavail, math.MaxInt64)), nil
	}
}

// Sweep removes what uploads left that were interrupted together with their program or connection: temporary files last modified before
// the given time, by the server's clock. It returns how many.
func (t *Target) Sweep(ctx context.Context, before time.Time) (int, error) {
	if err := context.Cause(ctx); err != nil {
		return 0, fmt.Errorf("sweep %s: %w", t.addr, err)
	}
	n, err := call(ctx, t, func(s *session) (n int, err error) {
		left, err := s.ReadDirContext(ctx, t.path(tempDir))
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		for _, info := range left {
			if err != nil || ctx.Err() != nil {
				break
			}
			if info.Mode().IsRegular() && info.ModTime().Before(before) {
				if err = s.Remove(t.path(tempDir + "/" + info.Name())); err == nil {
					n++
				} else if errors.Is(err, fs.ErrNotExist) {
					err = nil
				}
			}
		}
		return n, err
	}, nil)
	if err != nil {
		return n, fmt.Errorf("sweep %s: %w", t.addr, err)
	}
	return n, nil
}

func (t *Target) begin(ctx context.Context, key string) error {
	if err := runbook.CheckKey(key); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (t *Target) path(key string) string { return path.Join(t.o.Root, key) }
