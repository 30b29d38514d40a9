package targettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/runbook-go/runbook"
)

// Op is what a [Call] does.
type Op string

// The calls that [Faulty] counts.
const (
	OpPut       Op = "put"
	OpOpen      Op = "open"
	OpOpenRange Op = "open range"
	OpRead      Op = "read" // one Read of a reader that Open or OpenRange returned
	OpStat      Op = "stat"
	OpList      Op = "list" // one whole iteration
	OpDelete    Op = "delete"
	OpProbe     Op = "probe"
	OpSweep     Op = "sweep"
	OpFreeSpace Op = "free space"
)

// Call is one call that reaches a [Faulty].
type Call struct {
	Index int    // counted from 0 in the order in which the calls begin
	Op    Op     //
	Key   string // or the prefix of a List; empty for Probe, Sweep and FreeSpace
}

func (c Call) String() string { return fmt.Sprintf("call %d: %s %q", c.Index, c.Op, c.Key) }

// Kind is what goes wrong.
type Kind int

const (
	None       Kind = iota // nothing
	Fail                   // the call fails and has no effect
	FailAfter              // the call has its whole effect, and its caller is told that it failed
	Cut                    // bytes or listed objects fail after At: a Put stores nothing, a reader or a listing gives that many and then the error
	Short                  // bytes or listed objects end after At as if that were all, without an error
	Flip                   // the lowest bit of byte At is flipped on its way, without an error
	Slow                   // the call begins after Delay, or fails when its context ends before
	Crash                  // as Cut, and this and every later call fails with [ErrCrashed], as if the process had been killed
	CrashAfter             // as FailAfter, and this and every later call fails with [ErrCrashed]
)

// Fault is what [Faulty] does to a call. The zero value does nothing. For an Open, OpenRange or Put, At is a byte of the object's (or the
// range's) content; for a List it is a number of objects; for anything else Cut is Fail, and Short and Flip do nothing. A Crash of a Put
// with an At of 0 does not reach the wrapped target.
type Fault struct {
	Kind  Kind
	At    int64
	Delay time.Duration // of Slow
	Err   error         // of Fail, FailAfter and Cut, returned wrapped, such as [syscall.ENOSPC]; nil means [ErrInjected]
}

var (
	// ErrInjected is the error of an injected fault that names no other.
	ErrInjected = errors.New("injected fault")

	// ErrCrashed is the error of every call from an injected crash on.
	ErrCrashed = errors.New("injected crash: the process is gone")
)

// Faulty wraps a target and injects faults. Count the calls of a run without faults with [Faulty.Calls], then repeat the run once for
// each call and each [Kind]: that is every place where it can fail.
//
// After a crash nothing that goes through the Faulty changes the wrapped target any more: a Put that is under way is cut, unless it had
// read its last byte already. Look at what is left through the wrapped target itself.
//
// It has no Unwrap, on purpose: [runbook.As] would find the optional interfaces of the wrapped target and call them past the injector.
// Instead it implements all of [runbook.RangeOpener], [runbook.Prober], Sweep and FreeSpace, injects faults there too, and returns an
// error that matches [errors.ErrUnsupported] if the wrapped target cannot do it.
type Faulty struct {
	inner  runbook.Target
	inject func(Call) Fault

	mu      sync.Mutex
	calls   []Call
	crashed bool
}

// NewFaulty wraps inner. The injector is called once for each call, never by two goroutines at once; nil injects nothing.
func NewFaulty(inner runbook.Target, inject func(Call) Fault) *Faulty {
	if inject == nil {
		inject = func(Call) Fault { return Fault{} }
	}
	return &Faulty{inner: inner, inject: inject}
}

// Calls returns the calls so far, in order.
func (f *Faulty) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Crashed tells whether a crash was injected.
func (f *Faulty) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// Put implements [runbook.Target].
func (f *Faulty) Put(ctx context.Context, key string, r io.Reader) error {
	return f.call(ctx, OpPut, key, func(fault Fault) error {
		if fault.Kind == Crash && fault.At == 0 {
			return f.crash()
		}
		return f.inner.Put(ctx, key, f.alter(aliveReader{f, r}, fault))
	})
}

// Open implements [runbook.Target].
func (f *Faulty) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return f.open(ctx, OpOpen, key, func() (io.ReadCloser, error) { return f.inner.Open(ctx, key) })
}

// OpenRange implements [runbook.RangeOpener].
func (f *Faulty) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return f.open(ctx, OpOpenRange, key, func() (io.ReadCloser, error) {
		t, ok := runbook.As[runbook.RangeOpener](f.inner)
		if !ok {
			return nil, fmt.Errorf("open a range of %q: %w", key, errors.ErrUnsupported)
		}
		return t.OpenRange(ctx, key, offset, length)
	})
}

func (f *Faulty) open(ctx context.Context, op Op, key string, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	var opened io.ReadCloser
	err := f.call(ctx, op, key, func(fault Fault) error {
		r, err := open()
		if err != nil {
			return err
		}
		opened = &faultyReader{f: f, ctx: ctx, key: key, r: f.alter(r, fault), c: r}
		return nil
	})
	if err != nil && opened != nil {
		_ = opened.Close()
		opened = nil
	}
	return opened, err
}

// Stat implements [runbook.Target].
func (f *Faulty) Stat(ctx context.Context, key string) (o runbook.Object, err error) {
	err = f.call(ctx, OpStat, key, func(Fault) error {
		o, err = f.inner.Stat(ctx, key)
		return err
	})
	if err != nil {
		return runbook.Object{}, err
	}
	return o, nil
}

// List implements [runbook.Target].
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	return func(yield func(runbook.Object, error) bool) {
		stopped := false
		err := f.call(ctx, OpList, prefix, func(fault Fault) error {
			n := int64(0)
			for o, err := range f.inner.List(ctx, prefix) {
				switch {
				case err != nil:
					return err
				case f.Crashed():
					return ErrCrashed
				case n < fault.At || fault.Kind != Cut && fault.Kind != Crash && fault.Kind != Short:
				case fault.Kind == Cut:
					return fault.Err
				case fault.Kind == Crash:
					return f.crash()
				default:
					return nil
				}
				n++
				if !yield(o, nil) {
					stopped = true
					return nil
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(runbook.Object{}, err)
		}
	}
}

// Delete implements [runbook.Target].
func (f *Faulty) Delete(ctx context.Context, key string) error {
	return f.call(ctx, OpDelete, key, func(Fault) error { return f.inner.Delete(ctx, key) })
}

// Probe implements [runbook.Prober].
func (f *Faulty) Probe(ctx context.Context) error {
	return f.call(ctx, OpProbe, "", func(Fault) error {
		t, ok := runbook.As[runbook.Prober](f.inner)
		if !ok {
			return fmt.Errorf("probe: %w", errors.ErrUnsupported)
		}
		return t.Probe(ctx)
	})
}

// Sweep removes temporary files of the wrapped target.
func (f *Faulty) Sweep(ctx context.Context, before time.Time) (n int, err error) {
	err = f.call(ctx, OpSweep, "", func(Fault) error {
		t, ok := runbook.As[sweeper](f.inner)
		if !ok {
			return fmt.Errorf("sweep: %w", errors.ErrUnsupported)
		}
		n, err = t.Sweep(ctx, before)
		return err
	})
	return n, err
}

// FreeSpace returns the bytes free in the wrapped target.
func (f *Faulty) FreeSpace(ctx context.Context) (n int64, err error) {
	err = f.call(ctx, OpFreeSpace, "", func(Fault) error {
		t, ok := runbook.As[freeSpacer](f.inner)
		if !ok {
			return fmt.Errorf("free space: %w", errors.ErrUnsupported)
		}
		n, err = t.FreeSpace(ctx)
		return err
	})
	return n, err
}

// call counts a call, does it and injects what happens before and after. What happens on the way is left to do.
func (f *Faulty) call(ctx context.Context, op Op, key string, do func(Fault) error) error {
	fault, err := f.begin(op, key)
	if err != nil {
		return fmt.Errorf("%s %q: %w", op, key, err)
	}
	streams := op == OpPut || op == OpOpen || op == OpOpenRange || op == OpList
	switch {
	case fault.Kind == Fail, fault.Kind == Cut && !streams:
		return fmt.Errorf("%s %q: %w", op, key, fault.Err)
	case fault.Kind == Crash && !streams:
		return fmt.Errorf("%s %q: %w", op, key, f.crash())
	case fault.Kind == Slow:
		select {
		case <-time.After(fault.Delay):
		case <-ctx.Done():
			return fmt.Errorf("%s %q: %w", op, key, context.Cause(ctx))
		}
	}
	err = do(fault)
	switch {
	case fault.Kind == FailAfter && err == nil:
		err = fmt.Errorf("%s %q: %w", op, key, fault.Err)
	case fault.Kind == CrashAfter:
		err = fmt.Errorf("%s %q: %w", op, key, f.crash())
	case f.Crashed() && !errors.Is(err, ErrCrashed):
		// Whatever came of it, nobody is left to hear.
		err = fmt.Errorf("%s %q: %w", op, key, ErrCrashed)
	}
	return err
}

func (f *Faulty) begin(op Op, key string) (Fault, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	call := Call{Index: len(f.calls), Op: op, Key: key}
	f.calls = append(f.calls, call)
	if f.crashed {
		return Fault{}, ErrCrashed
	}
	fault := f.inject(call)
	if fault.Err == nil {
		fault.Err = ErrInjected
	}
	return fault, nil
}

func (f *Faulty) crash() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
	return ErrCrashed
}

// alter does to a stream of bytes what fault says.
func (f *Faulty) alter(r io.Reader, fault Fault) io.Reader {
	left := fault.At // bytes to go until then
	read := func(p []byte) (int, error) {
		n, err := r.Read(p[:min(int64(len(p)), left)])
		left -= int64(n)
		return n, err
	}
	end := func(give func() error) io.Reader {
		return readerFunc(func(p []byte) (int, error) {
			if left > 0 {
				return read(p)
			}
			return 0, give()
		})
	}
	switch fault.Kind {
	case Cut:
		return end(func() error { return fault.Err })
	case Short:
		return end(func() error { return io.EOF })
	case Crash:
		return end(f.crash)
	case Flip:
		return readerFunc(func(p []byte) (int, error) {
			n, err := r.Read(p)
			if left >= 0 && left < int64(n) {
				p[left] ^= 1
			}
			left -= int64(n)
			return n, err
		})
	}
	return r
}

// aliveReader feeds a Put only while there is a process.
type aliveReader struct {
	f *Faulty
	r io.Reader
}

func (a aliveReader) Read(p []byte) (int, error) {
	if a.f.Crashed() {
		return 0, ErrCrashed
	}
	n, err := a.r.Read(p)
	if a.f.Crashed() {
		return 0, ErrCrashed
	}
	return n, err
}

// faultyReader makes every Read a call of its own.
type faultyReader struct {
	f   *Faulty
	ctx context.Context
	key string
	r   io.Reader
	c   io.Closer
}

func (r *faultyReader) Read(p []byte) (n int, err error) {
	end := false
	err = r.f.call(r.ctx, OpRead, r.key, func(Fault) error {
		n, err = r.r.Read(p)
		if end = err == io.EOF; end {
			return nil
		}
		return err
	})
	if err == nil && end {
		err = io.EOF
	}
	if err != nil && err != io.EOF {
		n = 0 // what came before an error may be torn
	}
	return n, err
}

func (r *faultyReader) Close() error { return r.c.Close() }
