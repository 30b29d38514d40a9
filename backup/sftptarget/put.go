package sftptarget

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pkg/sftp"
)

// linger is how long a call whose context has ended waits for what is under way.
const linger = 500 * time.Millisecond

// Put implements [runbook.Target].
func (t *Target) Put(ctx context.Context, key string, r io.Reader) error {
	err := t.begin(ctx, key)
	if err == nil {
		err = t.put(ctx, key, &source{r: r})
	}
	if err != nil {
		return fmt.Errorf("put %q: %w", key, err)
	}
	return nil
}

// put runs the upload beside itself, as much of it cannot be interrupted. An upload that its caller has left cleans up on its own.
func (t *Target) put(ctx context.Context, key string, r *source) error {
	for attempt := 1; ; attempt++ {
		s, err := t.session(ctx)
		if err != nil {
			return err
		}
		done, gone := make(chan error), make(chan struct{})
		t.start(func() {
			defer s.done()
			u := &upload{session: s, t: t, key: key, final: t.path(key), source: r, unlock: func() {}}
			err := s.conn.translate(ctx, u.run(ctx))
			select {
			case done <- err:
			case <-gone:
				if err == nil {
					s.Remove(u.final) // the caller was told that there is nothing
				}
			}
			u.unlock()
			u.handles.close()
			u.recycle()
		})
		select {
		case err = <-done:
		case <-ctx.Done():
			select {
			case err = <-done:
			case <-time.After(linger):
				close(gone)
				err = context.Cause(ctx)
			}
		}
		if e, ok := errors.AsType[*LinkError](err); !ok || e.Timeout() || attempt > len(t.slots) || r.begun() || ctx.Err() != nil {
			return err
		}
	}
}

// upload is one attempt to put one object. Its methods block until the server has answered or the connection is dead.
type upload struct {
	*session
	t      *Target
	key    string
	final  string
	temp   string
	source *source

	unlock  func() // of the key, once it is about to change
	handles handles
	idle    chan []byte // buffers, nil where one is still to be made
	sum     hash.Hash   // of what was sent, if the server shall compute it too
}

func (u *upload) run(ctx context.Context) (err error) {
	if err := u.begin(ctx); err != nil {
		return err
	}
	published := false
	defer func() {
		if !published {
			u.discard()
		}
	}()
	size, err := u.send(ctx)
	if err != nil {
		return u.explain(err)
	}
	if err := u.settle(size); err != nil {
		return u.explain(err)
	}
	if u.sum != nil {
		if err := u.verify(ctx); err != nil {
			return err
		}
	}
	unlock, err := u.t.locks.lock(ctx, u.key)
	if err != nil {
		return err
	}
	u.unlock = unlock
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := u.publish(); err != nil {
		return err
	}
	published = true
	return u.harden()
}

// begin looks whether the object may be put and creates the temporary file, all in one round trip once directories are known.
func (u *upload) begin(ctx context.Context) error {
	var wait sync.WaitGroup
	var vacantErr, freeErr, createErr error
	var file *sftp.File
	wait.Go(func() { vacantErr = u.vacant() })
	wait.Go(func() {
		if u.t.o.MinFree > 0 {
			freeErr = u.enough()
		}
	})
	file, createErr = u.createTemp()
	wait.Wait()
	if createErr != nil {
		return errors.Join(vacantErr, fmt.Errorf("create a temporary file below %q: %w", u.t.o.Root, createErr))
	}
	u.temp = file.Name()
	u.handles.add(u.session, file)
	if err := errors.Join(vacantErr, freeErr, context.Cause(ctx)); err != nil {
		u.discard()
		return err
	}
	return nil
}

// vacant tells why the key cannot be put, if so. Early, as reading a dump for nothing is dear; publish decides.
func (u *upload) vacant() error {
	info, err := u.info(u.final)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fs.ErrExist
	case u.prune(u.final):
		return nil
	default:
		return fmt.Errorf("a folder has that name, and a file system cannot keep a file and a folder of one name: %w", errors.ErrUnsupported)
	}
}

func (u *upload) enough() error {
	free, err := u.free()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err == nil && free < u.t.o.MinFree {
		return fmt.Errorf("the server has %d bytes free, less than the %d that must stay free: %w", free, u.t.o.MinFree, syscall.ENOSPC)
	}
	return err
}

// createTemp creates an empty file, with permissions that keep others out from its beginning: its directory lets nobody in.
func (s *session) createTemp() (*sftp.File, error) {
	t := s.conn.t
	name := t.path(tempDir + "/" + strings.ToLower(rand.Text()))
	for attempt := 1; ; attempt++ {
		if err := s.makeDirs(t.path(tempDir)); err != nil {
			return nil, err
		}
		f, err := s.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if !errors.Is(err, fs.ErrNotExist) || attempt == 2 {
			return f, err
		}
		t.forgetDirs() // somebody removed it
	}
}

// send sends everything that the source gives, in packets that may overtake each other, over as many sessions as it pays. pkg/sftp's own
// pipelining (File.ReadFrom) does not start for a reader of unknown size, keeps to one session and takes a reader's error that
// wraps io.EOF for the end.
func (u *upload) send(ctx context.Context) (size int64, err error) {
	if u.t.o.VerifyRemote {
		u.sum = sha256.New()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// More in flight than the round trip can use only fills queues at the server, which slows it down. So the window begins small and
	// grows while confirmations come back as soon as ever, as TCP Vegas does.
	most := max(1, u.t.o.InFlight/u.conn.packet)
	window := min(most, max(1, windowStart/u.conn.packet))
	soonest := time.Duration(math.MaxInt64)
	u.idle = make(chan []byte, most)
	for range window {
		u.idle <- nil
	}
	chunks := make(chan chunk)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		u.source.read(ctx, u.buffer, u.idle, chunks)
	}()
	defer func() {
		cancel()
		select { // so that r is not in use any more, unless it blocks
		case <-reading:
		case <-time.After(linger):
		}
	}()

	written := make(chan receipt, most)
	outstanding := 0
	for more := true; more || outstanding > 0; {
		select {
		case c, ok := <-chunks:
			switch {
			case !ok:
				chunks, more = nil, false
				continue
			case c.err != nil:
				return size, &sourceError{c.err}
			}
			if u.sum != nil {
				u.sum.Write(c.data)
			}
			h, offset := u.handles.pick(), size
			size += int64(len(c.data))
			outstanding++
			u.handles.users.Go(func() {
				start := time.Now()
				_, err := h.file.WriteAt(c.data, offset)
				h.busy.Add(-1)
				u.idle <- c.data[:cap(c.data)]
				written <- receipt{err, time.Since(start)}
			})
			if size > spreadAfter {
				u.handles.spread(u.session, u.temp, os.O_WRONLY)
			}
		case r := <-written:
			outstanding--
			if r.err != nil {
				return size, fmt.Errorf("write: %w", r.err)
			}
			soonest = min(soonest, r.took)
			if r.took < 2*soonest && window < most {
				window++
				u.idle <- nil
			}
		case <-ctx.Done():
			return size, context.Cause(ctx)
		case <-u.conn.dead:
			return size, &LinkError{u.t.addr, u.conn.err}
		}
	}
	return size, nil
}

// windowStart is what a Put has in flight at first, in bytes.
const windowStart = 2 << 20

// receipt is the outcome of one write.
type receipt struct {
	err  error
	took time.Duration
}

// settle sees to it that the server has every byte, on its disk if it can tell, with the permissions asked for.
func (u *upload) settle(size int64) error {
	var wait sync.WaitGroup
	var syncErr error
	// By name where possible, as pkg/sftp does one thing at a time with an open file.
	wait.Go(func() {
		// Some servers know no permissions. The directory then decides who can read.
		if err := u.Chmod(u.temp, u.t.o.FileMode); err != nil {
			u.t.o.Logger.Debug("SFTP server does not set permissions", "addr", u.t.addr, "err", err)
		}
	})
	if u.has("fsync@openssh.com") {
		wait.Go(func() { syncErr = u.handles.first().Sync() })
	}
	info, err := u.Stat(u.temp)
	wait.Wait()
	switch {
	case syncErr != nil:
		return fmt.Errorf("flush: %w", syncErr)
	case err != nil:
		return fmt.Errorf("measure: %w", err)
	case info.Size() != size:
		return fmt.Errorf("the server has %d bytes of the %d that were sent and confirmed", info.Size(), size)
	}
	if !u.has("fsync@openssh.com") {
		// What is left of a write error shows when the file is closed, and some servers do not rename an open file.
		if err := u.handles.close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	return nil
}

// verify has the server compute the SHA-256.
func (u *upload) verify(ctx context.Context) error {
	command, err := u.conn.client.NewSession()
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer command.Close()
	defer context.AfterFunc(ctx, func() { command.Close() })()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	// Through standard input, as a name in the output would be escaped if it has unusual characters.
	if err := command.Run("sha256sum < " + shellQuote(u.temp)); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("verify: the server does not run sha256sum (unset VerifyRemote if it never will): %w: %q", err, tail(stderr.Bytes()))
	}
	got, _, _ := strings.Cut(stdout.String(), " ")
	if want := hex.EncodeToString(u.sum.Sum(nil)); got != want {
		return fmt.Errorf("verify: the server says that the SHA-256 of what it has is %.64q, but of what was sent it is %s", got, want)
	}
	return nil
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func tail(text []byte) []byte {
	text = bytes.TrimSpace(text)
	return text[max(0, len(text)-300):]
}

// publish gives the object its name, unless it is taken.
func (u *upload) publish() error {
	if err := u.makeDirs(path.Dir(u.final)); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := u.name()
		if err == nil || u.conn.isDead() || errors.Is(err, fs.ErrExist) {
			return err
		}
		if taken := u.vacant(); taken != nil {
			return taken
		}
		if attempt == 2 {
			return fmt.Errorf("give the object its name: %w", err)
		}
		// The folder was removed by somebody, or a folder of that name is just gone, or this file system has no hard links.
		u.t.forgetDirs()
		if err := u.makeDirs(path.Dir(u.final)); err != nil {
			return err
		}
	}
}

// name makes one attempt. Its error does not always tell whether the name is taken.
func (u *upload) name() error {
	if u.has("hardlink@openssh.com") && !u.conn.noLinks.Load() {
		err := u.Link(u.temp, u.final)
		if err == nil {
			return nil
		}
		if _, statErr := u.info(path.Dir(u.final)); statErr != nil {
			return err
		}
		if _, statErr := u.info(u.final); !errors.Is(statErr, fs.ErrNotExist) {
			return err
		}
		u.t.o.Logger.Warn("SFTP server cannot make hard links here; names are given by rename", "addr", u.t.addr, "err", err)
		u.conn.noLinks.Store(true)
	}
	if err := u.vacant(); err != nil {
		return err
	}
	return u.Rename(u.temp, u.final)
}

// harden makes the name as durable as the content, and removes the temporary one.
func (u *upload) harden() error {
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := u.Remove(u.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			u.t.o.Logger.Warn("temporary file is left to be swept", "addr", u.t.addr, "file", u.temp, "err", err)
		}
	})
	defer wait.Wait()
	if !u.has("fsync@openssh.com") {
		return nil
	}
	if err := u.handles.first().Sync(); err != nil {
		// Not known to be durable, so it must not be seen.
		return errors.Join(fmt.Errorf("flush the object's name: %w", err), u.Remove(u.final))
	}
	return nil
}

// buffer returns one that an earlier Put has used, or a new one.
func (u *upload) buffer() []byte {
	if b, ok := u.t.buffers.Get().(*[]byte); ok && len(*b) == u.conn.packet {
		return *b
	}
	return make([]byte, u.conn.packet)
}

// recycle keeps the buffers for the next Put.
func (u *upload) recycle() {
	for {
		select {
		case b := <-u.idle:
			if b != nil {
				u.t.buffers.Put(&b)
			}
		default:
			return
		}
	}
}

// discard removes the temporary file, once nothing is on its way to it any more.
func (u *upload) discard() {
	if u.conn.isDead() {
		return // left to be swept
	}
	u.handles.close()
	if err := u.Remove(u.temp); err != nil {
		u.t.o.Logger.Debug("temporary file is left to be swept", "addr", u.t.addr, "file", u.temp, "err", err)
	}
}

// explain asks why the server refused data, as the protocol has no code for a full disk.
func (u *upload) explain(err error) error {
	if !isFailure(err) || !u.has("statvfs@openssh.com") {
		return err
	}
	vfs, statErr := u.StatVFS(path.Dir(u.temp))
	if statErr == nil && vfs.Frsize*vfs.Bavail < uint64(u.conn.packet) {
		return diskFull(err)
	}
	return err
}
