package sftptarget_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/runbook-go/runbook/backup/sftptarget"
	"github.com/runbook-go/runbook/internal/faultconn"
	"github.com/runbook-go/runbook/internal/sshtest"
)

// patience is what a call may take that must end by itself; it is generous as machines can be slow.
const patience = 30 * time.Second

var quick = sftptarget.Options{KeepAlive: 100 * time.Millisecond}

// behind puts a relay between the server and its clients.
func behind(t *testing.T, s server) (server, *faultconn.Relay) {
	t.Helper()
	relay, err := faultconn.NewRelay(s.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { relay.Close() })
	s.Addr = relay.Addr()
	return s, relay
}

// within fails the test if f takes too long.
func within[T any](t *testing.T, f func() T) T {
	t.Helper()
	done := make(chan T, 1)
	go func() { done <- f() }()
	select {
	case v := <-done:
		return v
	case <-time.After(patience):
		t.Fatal("the call does not end")
		panic("unreachable")
	}
}

// What happens to the link in the middle of a Put ends the Put with a typed error in bounded time, nothing is to be seen, and the next
// Put heals.
func TestLinkFailsDuringPut(t *testing.T) {
	t.Parallel()
	faults := map[string]struct {
		act     func(*faultconn.Relay)
		heal    func(*faultconn.Relay)
		timeout bool
	}{
		"cut":       {act: (*faultconn.Relay).Cut},
		"frozen":    {act: (*faultconn.Relay).Freeze, heal: (*faultconn.Relay).Thaw, timeout: true},
		"corrupted": {act: func(r *faultconn.Relay) { r.Corrupt(1) }},
	}
	for kind, start := range map[string]func(testing.TB) server{"sshd": kinds()["sshd"], "in process": kinds()["in process"]} {
		for name, fault := range faults {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				s, relay := behind(t, start(t))
				target := s.open(t, quick)
				data := bytes.NewReader(random(32 << 20))
				read := 0
				err := within(t, func() error {
					return target.Put(t.Context(), "dir/key", readerFunc(func(p []byte) (int, error) {
						n, err := data.Read(p)
						if before := read; before < 12<<20 && before+n >= 12<<20 {
							fault.act(relay)
						}
						read += n
						return n, err
					}))
				})
				link, ok := errors.AsType[*sftptarget.LinkError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, s.Addr, link.Addr)
				require.Equal(t, fault.timeout, link.Timeout(), "%v", err)
				require.NoFileExists(t, filepath.Join(s.dir, "dir", "key"))
				if fault.heal != nil {
					fault.heal(relay)
				}
				require.NoError(t, within(t, func() error { return target.Put(t.Context(), "dir/key", text("again")) }))
				n, err := target.Sweep(t.Context(), time.Now().Add(time.Hour))
				require.NoError(t, err)
				require.LessOrEqual(t, n, 1)
				require.Equal(t, map[string]string{"dir/key": "again"}, s.files(t))
			})
		}
	}
}

// Every other call ends too.
func TestFrozenLinkEndsEveryCall(t *testing.T) {
	t.Parallel()
	s, relay := behind(t, kinds()["sshd"](t))
	target := s.open(t, quick)
	require.NoError(t, target.Put(t.Context(), "key", unsized{bytes.NewReader(random(20 << 20))}))
	r, err := target.Open(t.Context(), "key")
	require.NoError(t, err)
	defer r.Close()
	_, err = io.CopyN(io.Discard, r, 1<<20)
	require.NoError(t, err)
	relay.Freeze()
	calls := map[string]func() error{
		"read":   func() error { _, err := io.Copy(io.Discard, r); return err },
		"stat":   func() error { _, err := target.Stat(t.Context(), "key"); return err },
		"open":   func() error { _, err := target.Open(t.Context(), "key"); return err },
		"delete": func() error { return target.Delete(t.Context(), "other") },
		"probe":  func() error { return target.Probe(t.Context()) },
		"free":   func() error { _, err := target.FreeSpace(t.Context()); return err },
		"sweep":  func() error { _, err := target.Sweep(t.Context(), time.Now()); return err },
		"put":    func() error { return target.Put(t.Context(), "new", text("x")) },
		"list": func() error {
			for _, err := range target.List(t.Context(), "") {
				return err
			}
			return nil
		},
	}
	ended := make(chan string)
	for name, f := range calls {
		go func() {
			_, ok := errors.AsType[*sftptarget.LinkError](f())
			if !ok {
				name += " without a LinkError"
			}
			ended <- name
		}()
	}
	timeout := time.After(patience)
	for range len(calls) {
		select {
		case name := <-ended:
			require.Contains(t, calls, name)
		case <-timeout:
			t.Fatal("some calls do not end")
		}
	}
	relay.Thaw()
	_, err = within(t, func() error { _, err := target.Stat(t.Context(), "key"); return err }), error(nil)
	require.NoError(t, err)
}

// On a slow link the answer to a keep-alive waits behind the data. That is not death.
func TestSlowLinkIsNotTakenForDead(t *testing.T) {
	t.Parallel()
	s, relay := behind(t, kinds()["in process"](t))
	target := s.open(t, sftptarget.Options{KeepAlive: 300 * time.Millisecond, InFlight: 1 << 20})
	relay.Slow(400 << 10)
	data := random(1 << 20)
	require.NoError(t, within(t, func() error { return target.Put(t.Context(), "key", unsized{bytes.NewReader(data)}) }))
	relay.Slow(0)
	require.Equal(t, map[string]string{"key": string(data)}, s.files(t))
}

func TestCancelOnAFrozenLink(t *testing.T) {
	t.Parallel()
	s, relay := behind(t, kinds()["sshd"](t))
	target := s.open(t, sftptarget.Options{KeepAlive: time.Minute})
	require.NoError(t, target.Put(t.Context(), "key", text("x")))
	relay.Freeze()
	for name, f := range map[string]func(context.Context) error{
		"put": func(ctx context.Context) error {
			return target.Put(ctx, "new", unsized{bytes.NewReader(random(8 << 20))})
		},
		"stat":   func(ctx context.Context) error { _, err := target.Stat(ctx, "key"); return err },
		"delete": func(ctx context.Context) error { return target.Delete(ctx, "other") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := within(t, func() error { return f(ctx) })
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.Less(t, time.Since(start), 5*time.Second, name)
	}
	relay.Thaw()
	require.NoError(t, within(t, func() error { return target.Put(t.Context(), "later", text("y")) }), "the same connection serves on")
	require.LessOrEqual(t, relay.Open(), 2, "one connection has two ends in the relay")
}

func TestServerRestarts(t *testing.T) {
	t.Parallel()
	s, d := openSSH(t)
	target := s.open(t, sftptarget.Options{})
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- target.Put(t.Context(), "key", pr) }()
	_, err := pw.Write(random(4 << 20))
	require.NoError(t, err)
	d.Stop()
	go func() { // the source goes on as long as it is read
		pw.Write(random(4 << 20))
		pw.Close()
	}()
	err = within(t, func() error { return <-done })
	pr.Close()
	_, ok := errors.AsType[*sftptarget.LinkError](err)
	require.True(t, ok, "%v", err)
	require.NoFileExists(t, filepath.Join(s.dir, "key"))

	_, err = target.Stat(t.Context(), "key")
	_, ok = errors.AsType[*sftptarget.LinkError](err)
	require.True(t, ok, "while it is away: %v", err)

	go func() {
		time.Sleep(100 * time.Millisecond)
		d.Start(t)
	}()
	require.NoError(t, within(t, func() error { return target.Put(t.Context(), "key", text("again")) }), "waits for it a little")
	n, err := target.Sweep(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.LessOrEqual(t, n, 1)
	require.Equal(t, map[string]string{"key": "again"}, s.files(t))
}

// A connection that the server has closed meanwhile is not the caller's business, as long as nothing was read from r.
func TestIdleConnectionClosedByServer(t *testing.T) {
	t.Parallel()
	s, fake := inProcess(t, sshtest.Options{})
	target := s.open(t, sftptarget.Options{Connections: 2})
	for range 5 {
		fake.Drop()
		require.NoError(t, target.Put(t.Context(), "key", text("x")))
		fake.Drop()
		_, err := target.Stat(t.Context(), "key")
		require.NoError(t, err)
		fake.Drop()
		require.NoError(t, target.Delete(t.Context(), "key"))
	}
}

func TestObjectCutWhileItIsRead(t *testing.T) {
	t.Parallel()
	s := kinds()["sshd"](t)
	target := s.open(t, sftptarget.Options{InFlight: 1})
	require.NoError(t, target.Put(t.Context(), "key", unsized{bytes.NewReader(random(2 << 20))}))
	r, err := target.Open(t.Context(), "key")
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, os.Truncate(filepath.Join(s.dir, "key"), 600<<10))
	_, err = io.Copy(io.Discard, r)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// The process is killed in the middle of a Put.
func TestKilled(t *testing.T) {
	if addr := os.Getenv("SFTPTARGET_TEST_ADDR"); addr != "" {
		putForEver(t, addr)
	}
	s, _ := openSSH(t)
	known := s.KnownHosts(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "SFTPTARGET_TEST_ADDR="+s.Addr, "SFTPTARGET_TEST_USER="+s.User,
		"SFTPTARGET_TEST_KEY="+s.KeyFile, "SFTPTARGET_TEST_HOSTS="+known, "SFTPTARGET_TEST_ROOT="+s.root)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		temps, _ := filepath.Glob(filepath.Join(s.dir, ".runbook-tmp", "*"))
		if len(temps) == 0 {
			return false
		}
		info, err := os.Stat(temps[0])
		return err == nil && info.Size() > 1<<20
	}, patience, 5*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	cmd.Wait()

	target := s.open(t, sftptarget.Options{})
	for o, err := range target.List(t.Context(), "") {
		t.Fatalf("something is to be seen: %v, %v", o, err)
	}
	_, err := target.Stat(t.Context(), "key")
	require.ErrorIs(t, err, fs.ErrNotExist)
	n, err := target.Sweep(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Empty(t, s.files(t))
	require.NoError(t, target.Put(t.Context(), "key", text("again")))
}

func putForEver(t *testing.T, addr string) {
	key, err := os.ReadFile(os.Getenv("SFTPTARGET_TEST_KEY"))
	require.NoError(t, err)
	signer, err := ssh.ParsePrivateKey(key)
	require.NoError(t, err)
	config := &ssh.ClientConfig{User: os.Getenv("SFTPTARGET_TEST_USER"), Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}}
	require.NoError(t, sftptarget.KnownHosts(config, addr, os.Getenv("SFTPTARGET_TEST_HOSTS")))
	target, err := sftptarget.Open(t.Context(), addr, config, sftptarget.Options{Root: os.Getenv("SFTPTARGET_TEST_ROOT")})
	require.NoError(t, err)
	buf := random(1 << 20)
	target.Put(t.Context(), "key", readerFunc(func(p []byte) (int, error) {
		time.Sleep(5 * time.Millisecond)
		return copy(p, buf), nil
	}))
}

func TestNothingIsLeftRunning(t *testing.T) {
	s, _ := inProcess(t, sshtest.Options{})
	before := runtime.NumGoroutine()
	target := s.open(t, sftptarget.Options{Connections: 2})
	require.NoError(t, target.Put(t.Context(), "key", text("x")))
	r, err := target.Open(t.Context(), "key") // never closed
	require.NoError(t, err)
	_ = r
	require.NoError(t, target.Close())
	require.NoError(t, target.Close())
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, patience, 5*time.Millisecond)
	_, err = target.Stat(t.Context(), "key")
	require.ErrorIs(t, err, os.ErrClosed)
}
