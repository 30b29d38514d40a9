package targettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing/iotest"
	"time"
)

func roundTrip(ctx context.Context, e *env) error {
	for _, size := range []int{0, 1, 511, 4096, 32<<10 - 1, 32 << 10, 32<<10 + 1, 300_000} {
		key := fmt.Sprintf("%sdir/%d", e.prefix, size)
		content, _ := io.ReadAll(pattern(1, int64(size)))
		if err := e.put(ctx, key, string(content)); err != nil {
			return err
		}
		if err := e.holds(ctx, key, string(content)); err != nil {
			return err
		}
	}
	return nil
}

func large(ctx context.Context, e *env) error {
	key := e.prefix + "large"
	if err := e.target.Put(ctx, key, pattern(2, e.large)); err != nil {
		return fmt.Errorf("Put of %d bytes under %q: %w", e.large, key, err)
	}
	if o, err := e.target.Stat(ctx, key); err != nil || o.Size != e.large {
		return fmt.Errorf("Stat of %q gives a size of %d bytes and the error %v, want %d bytes", key, o.Size, err, e.large)
	}
	r, err := e.target.Open(ctx, key)
	if err != nil {
		return fmt.Errorf("Open of %q: %w", key, err)
	}
	return errors.Join(sameBytes(r, pattern(2, e.large)), r.Close())
}

func oddReaders(ctx context.Context, e *env) error {
	content := strings.Repeat("What a reader may do. ", 50)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"one byte a call":               iotest.OneByteReader,
		"half of what is asked for":     iotest.HalfReader,
		"the last bytes with io.EOF":    iotest.DataErrReader,
		"no bytes every second call":    stutter,
		"one byte a call, or none":      func(r io.Reader) io.Reader { return stutter(iotest.OneByteReader(r)) },
		"the last byte alone, with EOF": func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
	} {
		key := e.prefix + name
		if err := e.target.Put(ctx, key, wrap(opaque(content))); err != nil {
			return fmt.Errorf("Put of a reader that gives %s: %w", name, err)
		}
		if err := e.holds(ctx, key, content); err != nil {
			return fmt.Errorf("a reader that gives %s: %w", name, err)
		}
	}
	return nil
}

func readerError(ctx context.Context, e *env) error {
	own := errors.New("the dump failed at its last byte")
	withData := func(n int, err error) io.Reader {
		return readerFunc(func(p []byte) (int, error) { return min(n, len(p)), err })
	}
	for i, r := range []struct {
		reader io.Reader
		want   error
	}{
		{endWith("", own), own},
		{endWith("x", own), own},
		{endWith(strings.Repeat("x", 300_000), own), own},
		{endWith("cut", io.ErrUnexpectedEOF), io.ErrUnexpectedEOF},
		{endWith("pipe", io.ErrClosedPipe), io.ErrClosedPipe},
		{endWith("wrapped", fmt.Errorf("dump: %w", own)), own},
		{endWith("wrapped end", fmt.Errorf("not the end: %w", io.EOF)), io.EOF},
		{withData(100, own), own},
	} {
		key := fmt.Sprintf("%sdir/%d", e.prefix, i)
		if err := e.target.Put(ctx, key, r.reader); !errors.Is(err, r.want) {
			return fmt.Errorf("Put of %q, whose reader fails with %q, gives %v, want that error wrapped", key, r.want, err)
		}
		if err := e.absent(ctx, key); err != nil {
			return fmt.Errorf("after the reader of %q failed with %q: %w", key, r.want, err)
		}
		if err := e.put(ctx, key, "again"); err != nil {
			return fmt.Errorf("after the reader of %q failed with %q: %w", key, r.want, err)
		}
		if err := e.holds(ctx, key, "again"); err != nil {
			return err
		}
	}
	return nil
}

func readerKept(ctx context.Context, e *env) error {
	for name, end := range map[string]error{"well": io.EOF, "badly": io.ErrNoProgress} {
		r := &counter{r: endWith("content", end)}
		_ = e.target.Put(ctx, e.prefix+name, r)
		calls := r.calls.Load()
		time.Sleep(20 * time.Millisecond)
		if later := r.calls.Load() - calls; later > 0 {
			return fmt.Errorf("the reader of a Put that ended %s was read %d times after Put had returned", name, later)
		}
	}
	return nil
}

func existing(ctx context.Context, e *env) error {
	key := e.prefix + "dir/key"
	if err := e.put(ctx, key, "first"); err != nil {
		return err
	}
	before, err := e.target.Stat(ctx, key)
	if err != nil {
		return fmt.Errorf("Stat of %q: %w", key, err)
	}
	for _, content := range []string{"second, and longer", "first", ""} {
		if err := e.target.Put(ctx, key, opaque(content)); !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("Put of the existing key %q gives %v, want an error that matches fs.ErrExist", key, err)
		}
		if err := e.holds(ctx, key, "first"); err != nil {
			return fmt.Errorf("after a second Put was refused: %w", err)
		}
	}
	if after, err := e.target.Stat(ctx, key); err != nil || !after.Modified.Equal(before.Modified) {
		return fmt.Errorf("after a second Put was refused %q is of %v, not of %v as before (error: %v)", key, after.Modified, before.Modified, err)
	}
	return nil
}

func concurrentPuts(ctx context.Context, e *env) error {
	const n = 8
	for round := range 4 {
		key := fmt.Sprintf("%snew-%d/key", e.prefix, round)
		// The readers wait for each other, so that no Put can end before the others have begun; but not for ever, as a target may
		// begin one Put after the other.
		var begun atomic.Int64
		all := make(chan struct{})
		gate := func() {
			if begun.Add(1) == n {
				close(all)
			}
			select {
			case <-all:
			case <-time.After(200 * time.Millisecond):
			}
		}
		var wg sync.WaitGroup
		var errs [n]error
		content := func(i int) string { return strings.Repeat(fmt.Sprintf("writer %d. ", i), 5000+i) }
		for i := range n {
			wg.Go(func() {
				wait := sync.OnceFunc(gate)
				r := opaque(content(i))
				errs[i] = e.target.Put(ctx, key, readerFunc(func(p []byte) (int, error) { wait(); return r.Read(p) }))
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				return fmt.Errorf("two concurrent Puts of %q both returned nil", key)
			case err == nil:
				winner = i
			case !errors.Is(err, fs.ErrExist):
				return fmt.Errorf("a concurrent Put of %q gives %w, want nil or an error that matches fs.ErrExist", key, err)
			}
		}
		if winner < 0 {
			return fmt.Errorf("of %d concurrent Puts of %q none won: %v", n, key, errs[0])
		}
		if err := e.holds(ctx, key, content(winner)); err != nil {
			return fmt.Errorf("after concurrent Puts of one key: %w", err)
		}
	}
	return nil
}

func concurrentKeys(ctx context.Context, e *env) error {
	const n, rounds = 6, 8
	var wg sync.WaitGroup
	var errs [n]error
	for i := range n {
		wg.Go(func() {
			key := fmt.Sprintf("%sshared/folder/%d", e.prefix, i)
			for round := range rounds {
				content := fmt.Sprintf("round %d of %d", round, i)
				if errs[i] = e.put(ctx, key, content); errs[i] != nil {
					return
				}
				if errs[i] = e.holds(ctx, key, content); errs[i] != nil {
					return
				}
				if errs[i] = e.target.Delete(ctx, key); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[:]...)
}

func putCancelled(ctx context.Context, e *env) error {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	key := e.prefix + "dir/key"
	if err := e.target.Put(cancelled, key, opaque("content")); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Put of %q under a cancelled context gives %v, want an error that matches context.Canceled", key, err)
	}
	return e.absent(ctx, key)
}

func putBlocked(ctx context.Context, e *env) error {
	for i, first := range []string{"", "some bytes", strings.Repeat("x", 300_000)} {
		if err := putBlockedAfter(ctx, e, fmt.Sprintf("%sdir/%d", e.prefix, i), first); err != nil {
			return fmt.Errorf("the reader blocks after %d bytes: %w", len(first), err)
		}
	}
	return nil
}

func putBlockedAfter(ctx context.Context, e *env, key, first string) error {
	r := newBlocker(first, "the rest")
	defer r.free()
	cancelled, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.target.Put(cancelled, key, r) }()
	if err := e.await(r.blocked, done); err != nil {
		return err
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("Put of %q gives %v, want an error that matches context.Canceled", key, err)
		}
	case <-time.After(e.patience):
		return fmt.Errorf("Put of %q has not returned %v after its context was cancelled", key, e.patience)
	}
	if err := e.absent(ctx, key); err != nil {
		return err
	}
	r.free()
	if err := e.absent(ctx, key); err != nil {
		return fmt.Errorf("after the reader went on: %w", err)
	}
	return e.put(ctx, key, "again")
}

// await waits until a Put has come to the point where its reader blocks.
func (e *env) await(blocked <-chan struct{}, done <-chan error) error {
	select {
	case <-blocked:
		return nil
	case err := <-done:
		return fmt.Errorf("Put returned %v before it had read everything", err)
	case <-time.After(e.patience):
		return fmt.Errorf("Put has not read what its reader gives within %v", e.patience)
	}
}

func deleteCancelled(ctx context.Context, e *env) error {
	key := e.prefix + "dir/key"
	if err := e.put(ctx, key, "content"); err != nil {
		return err
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := e.target.Delete(cancelled, key); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Delete of %q under a cancelled context gives %v, want an error that matches context.Canceled", key, err)
	}
	return e.holds(ctx, key, "content")
}

func unfinished(ctx context.Context, e *env) error {
	key := e.prefix + "dir/key"
	first, rest := strings.Repeat("first half. ", 30_000), strings.Repeat("second half. ", 30_000)
	r := newBlocker(first, rest)
	defer r.free()
	done := make(chan error, 1)
	go func() { done <- e.target.Put(ctx, key, r) }()
	if err := e.await(r.blocked, done); err != nil {
		return err
	}
	if err := e.absent(ctx, key); err != nil {
		return fmt.Errorf("while Put waits for its reader: %w", err)
	}
	for _, prefix := range []string{e.prefix, ".runbook-"} {
		objects, err := e.list(ctx, prefix)
		if err != nil {
			return err
		}
		if len(objects) > 0 {
			return fmt.Errorf("while Put of %q waits for its reader, List of %q yields %q", key, prefix, objects[0].Key)
		}
	}
	r.free()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("Put of %q: %w", key, err)
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return e.holds(ctx, key, first+rest)
}

func readWhilePut(ctx context.Context, e *env) error {
	if err := e.putAll(ctx, "dir/there"); err != nil {
		return err
	}
	r := newBlocker("unfinished ", "business")
	defer r.free()
	done := make(chan error, 1)
	go func() { done <- e.target.Put(ctx, e.prefix+"dir/coming", r) }()
	if err := e.await(r.blocked, done); err != nil {
		return err
	}
	// In a goroutine, as a target that locks everything would wait for ever.
	read := make(chan error, 1)
	go func() {
		read <- errors.Join(e.holds(ctx, e.prefix+"dir/there", "dir/there"), e.putAll(ctx, "dir/another"), e.target.Delete(ctx, e.prefix+"dir/another"))
	}()
	select {
	case err := <-read:
		if err != nil {
			return fmt.Errorf("while another Put waits for its reader: %w", err)
		}
	case <-time.After(e.patience):
		return fmt.Errorf("while a Put waits for its reader, other calls have not returned within %v", e.patience)
	}
	r.free()
	if err := <-done; err != nil {
		return fmt.Errorf("Put that waited for its reader: %w", err)
	}
	return e.holds(ctx, e.prefix+"dir/coming", "unfinished business")
}
