package sftptarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// conn is one SSH connection with its SFTP sessions.
type conn struct {
	t       *Target
	raw     *watched
	client  *ssh.Client
	openSSH bool
	packet  int // bytes in one read or write request

	dead chan struct{} // closed by fail
	once sync.Once
	err  error // why it is dead

	mu       sync.Mutex
	sessions []*session // at least one

	noLinks atomic.Bool // the server announces hard links, but its file system has none
}

// session is one SFTP channel of a connection, with a process of its own on most servers.
type session struct {
	*sftp.Client
	conn *conn
	busy atomic.Int32 // calls under way
}

func (s *session) has(extension string) bool {
	_, ok := s.HasExtension(extension)
	return ok
}

// watched notes when bytes arrive.
type watched struct {
	net.Conn
	heard atomic.Int64 // nanoseconds of Unix time
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// slot holds one of the target's connections. Its semaphore is taken while it is looked at or made.
type slot struct {
	semaphore chan struct{}
	conn      *conn
}

// session returns the least busy session of the next connection, which it makes if needed.
func (t *Target) session(ctx context.Context) (*session, error) {
	slot := t.slots[int(t.next.Add(1))%len(t.slots)]
	select {
	case slot.semaphore <- struct{}{}:
		defer func() { <-slot.semaphore }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if t.ctx.Err() != nil {
		return nil, fmt.Errorf("target is closed: %w", os.ErrClosed)
	}
	if slot.conn == nil || slot.conn.isDead() {
		c, err := t.dial(ctx)
		if err != nil {
			return nil, err
		}
		slot.conn = c
	}
	return slot.conn.leastBusy(), nil
}

// dial tries a few times, as a server that restarts is away for a moment.
func (t *Target) dial(ctx context.Context) (*conn, error) {
	wait := 200 * time.Millisecond
	for attempt := 1; ; attempt++ {
		c, err := t.dialOnce(ctx)
		if err == nil {
			return c, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		if !isLinkError(err) || attempt == t.o.DialAttempts {
			return nil, err
		}
		t.o.Logger.WarnContext(ctx, "cannot connect to SFTP server, trying again", "addr", t.addr, "attempt", attempt, "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		wait *= 4
	}
}

func (t *Target) dialOnce(ctx context.Context) (_ *conn, err error) {
	timeout := t.config.Timeout
	if timeout <= 0 {
		timeout = dialTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, os.ErrDeadlineExceeded)
	defer cancel()
	broken := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return &LinkError{t.addr, err}
	}
	raw, err := t.o.Dial(ctx, "tcp", t.addr)
	if err != nil {
		return nil, broken(err)
	}
	c := &conn{t: t, raw: &watched{Conn: raw}, packet: packetSafe, dead: make(chan struct{})}
	c.raw.heard.Store(time.Now().UnixNano())
	stop := context.AfterFunc(ctx, func() { raw.Close() }) // the handshake takes no context
	defer func() {
		if err != nil || !stop() {
			raw.Close()
		}
	}()
	sshConn, channels, requests, err := ssh.NewClientConn(c.raw, t.addr, &t.config)
	if err != nil {
		// What ends the handshake is the network, or a refusal that another attempt would not change.
		_, network := errors.AsType[net.Error](err)
		if network || errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil, broken(err)
		}
		return nil, fmt.Errorf("log in to %s as %q: %w", t.addr, t.config.User, hintKey(err))
	}
	c.client = ssh.NewClient(sshConn, channels, requests)
	first, err := c.open()
	if err != nil {
		if ctx.Err() != nil {
			return nil, broken(err)
		}
		return nil, fmt.Errorf("start SFTP on %s; is the subsystem enabled there? %w", t.addr, err)
	}
	c.sessions = []*session{first}
	// Both, as another SFTP server may run under OpenSSH's sshd.
	c.openSSH = strings.HasPrefix(string(c.client.ServerVersion()), "SSH-2.0-OpenSSH") && first.has("statvfs@openssh.com")
	if c.openSSH {
		c.packet = packetMax
	}
	c.watch()
	return c, nil
}

// hintKey adds to a refusal by knownhosts what to do about it.
func hintKey(err error) error {
	e, ok := errors.AsType[*knownhosts.KeyError](err)
	switch {
	case !ok:
		return err
	case len(e.Want) == 0:
		return fmt.Errorf("%w: the host is not in known_hosts; add its key after comparing it with what the server's administrator says", err)
	default:
		return fmt.Errorf("%w: the host key is NOT the recorded one (%s:%d): either the server has a new key, or this is another server",
			err, e.Want[0].Filename, e.Want[0].Line)
	}
}

func (c *conn) open() (*session, error) {
	client, err := sftp.NewClient(c.client, sftp.MaxPacketUnchecked(packetMax)) // a limit, not a size: each request is c.packet at most
	if err != nil {
		return nil, err
	}
	return &session{Client: client, conn: c}, nil
}

// watch starts what a connection needs beside it: further sessions, the watch for its end, and the keep-alive.
func (c *conn) watch() {
	sessions := c.t.o.Sessions
	if sessions == 0 {
		sessions = 1
		if c.openSSH {
			sessions = 4
		}
	}
	for range sessions - 1 {
		go func() {
			s, err := c.open()
			if err != nil {
				c.t.o.Logger.Debug("SFTP server does not allow another session", "addr", c.t.addr, "err", err)
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.sessions = append(c.sessions, s)
		}()
	}
	go func() {
		err := c.client.Wait()
		if err == nil {
			err = io.EOF
		}
		c.fail(err)
	}()
	if c.t.o.KeepAlive > 0 {
		go c.keepAlive(c.t.o.KeepAlive, time.Duration(c.t.o.Misses)*c.t.o.KeepAlive)
	}
}

// keepAlive asks for a sign of life when nothing was heard for an interval, and gives the connection up after limit. Anything heard
// counts, as on a slow link the answer waits behind the data.
func (c *conn) keepAlive(interval, limit time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	asked := make(chan struct{}, 1) // one question at a time
	for {
		select {
		case <-ticker.C:
		case <-c.dead:
			return
		}
		silence := time.Since(time.Unix(0, c.raw.heard.Load()))
		if silence >= limit {
			c.fail(fmt.Errorf("no sign of life for %v: %w", silence.Round(time.Millisecond), os.ErrDeadlineExceeded))
			return
		}
		select {
		case asked <- struct{}{}:
			go func() {
				c.client.SendRequest("keepalive@openssh.com", true, nil)
				<-asked
			}()
		default:
		}
	}
}

// fail closes the connection. Every call that waits for it returns.
func (c *conn) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.dead)
		c.raw.Close()
	})
}

func (c *conn) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

func (c *conn) leastBusy() *session {
	all := c.all()
	least := all[0]
	for _, s := range all[1:] {
		if s.busy.Load() < least.busy.Load() {
			least = s
		}
	}
	least.busy.Add(1)
	return least
}

func (c *conn) all() []*session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions[:len(c.sessions):len(c.sessions)]
}

// done must be called once for each session that [Target.session] returned.
func (s *session) done() { s.busy.Add(-1) }

// call runs f, which knows no context, and waits for it or for the end of ctx. In the latter case f goes on by itself; undo, if not nil, gets
// what it makes in the end. If the server turns out to have closed the connection, f is run once more, and once for each connection that was
// closed with it: it must be such that doing it twice does no harm.
func call[T any](ctx context.Context, t *Target, f func(*session) (T, error), undo func(*session, T)) (v T, err error) {
	for attempt := 1; ; attempt++ {
		s, err := t.session(ctx)
		if err != nil {
			return v, err
		}
		v, err = callOn(ctx, s, f, undo)
		if e, ok := errors.AsType[*LinkError](err); attempt > len(t.slots) || !ok || e.Timeout() || ctx.Err() != nil {
			return v, err
		}
	}
}

func callOn[T any](ctx context.Context, s *session, f func(*session) (T, error), undo func(*session, T)) (v T, err error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result)
	s.conn.t.start(func() {
		defer s.done()
		v, err := f(s)
		select {
		case done <- result{v, s.conn.translate(ctx, err)}:
		case <-ctx.Done():
			if err == nil && undo != nil {
				undo(s, v)
			}
		}
	})
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return v, context.Cause(ctx)
	}
}
