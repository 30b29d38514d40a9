// Package exectarget keeps objects through a plug-in: a program in any language that is started once for every call.
//
//	target, err := exectarget.New([]string{"/usr/local/lib/runbook/tape-target", "drive0"}, exectarget.Options{})
//
// The protocol has its own page, docs/plugins.md, and examples/target-plugin/dir-target.sh is a complete plug-in in POSIX shell.
//
// # Guarantees
//
// Put sends the bytes to the verb "put", which stores them where nobody sees them, and makes them visible by a second call, "commit". A
// reader that fails, a context that ends and a process that is killed in between all end before the commit, so a plug-in cannot mistake
// the end of its input for a complete object. The commit is sent only if the plug-in reports as many bytes as were read.
//
// Atomicity of the commit, durability and exclusion of concurrent writers are the plug-in's part; package targettest finds out whether it
// keeps to it. If a commit fails or does not answer in time, the object may be there, whole, although Put returned an error: it is never
// there in part.
//
// # Concurrency
//
// A Target is safe for concurrent use; the plug-in is then started several times at once.
//
// If the context of a Put ends while a Read of its reader blocks, Put returns and leaves that one call to end by itself. What it gives is
// thrown away and the reader is not read again. Close the reader to set it free.
//
// # Errors
//
// Exit code 3 matches [io/fs.ErrNotExist] and 4 matches [io/fs.ErrExist]. Any other is a [*runbook.ExitError] with the end of what the
// plug-in wrote to standard error. That text is the plug-in's: it must not write secrets there.
//
// # Stability
//
// Version 1 of the protocol is stable. The Go API may change until v1.0.0.
package exectarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/runbook-go/runbook"
)

// Options adapt a target. The zero value runs the plug-in here, with an empty environment.
type Options struct {
	Runner runbook.Runner // nil means [runbook.Local]
	Env    []string       // the plug-in's whole environment, as "NAME=value"; nothing is inherited
	Dir    string         // the plug-in's working directory; empty is the runner's

	// Grace bounds what must be done after a context has ended: a commit that was begun, an abort. 0 means one minute.
	Grace time.Duration
}

// Target is a [runbook.Target], [runbook.RangeOpener] and [runbook.Prober]. What the plug-in does not offer gives an error that matches
// [errors.ErrUnsupported].
type Target struct {
	cmd []string
	o   Options

	mu  sync.Mutex
	can map[string]bool // what the plug-in offers; nil before it was asked
}

// New returns a target that runs cmd, the program and its first arguments. The program is started when the target is first used.
func New(cmd []string, o Options) (*Target, error) {
	if len(cmd) == 0 || cmd[0] == "" {
		return nil, fmt.Errorf("plug-in target: the command is empty: %w", fs.ErrInvalid)
	}
	if o.Runner == nil {
		o.Runner = runbook.Local{}
	}
	if o.Grace == 0 {
		o.Grace = time.Minute
	}
	return &Target{cmd: slices.Clone(cmd), o: o}, nil
}

// Open implements [runbook.Target].
func (t *Target) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return t.open(ctx, key, "get", "/"+key)
}

// OpenRange implements [runbook.RangeOpener].
func (t *Target) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	err := runbook.CheckKey(key)
	if err == nil && (offset < 0 || length < -1) {
		err = fmt.Errorf("offset %d, length %d: %w", offset, length, fs.ErrInvalid)
	}
	if err == nil {
		err = t.offers(ctx, "range")
	}
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", key, err)
	}
	return t.open(ctx, key, "get", "/"+key, strconv.FormatInt(offset, 10), strconv.FormatInt(length, 10))
}

// Stat implements [runbook.Target].
func (t *Target) Stat(ctx context.Context, key string) (runbook.Object, error) {
	var found []runbook.Object
	err := t.ready(ctx, key)
	if err == nil {
		err = t.run(ctx, nil, objects(&found), "stat", "/"+key)
	}
	if err == nil && (len(found) != 1 || found[0].Key != key) {
		err = fmt.Errorf("the plug-in exited 0 and described %d objects, want that one", len(found))
	}
	if err != nil {
		return runbook.Object{}, fmt.Errorf("stat %q: %w", key, err)
	}
	return found[0], nil
}

// List implements [runbook.Target]. The plug-in's whole answer is held in memory and sorted, and nothing is yielded before the plug-in
// has exited 0.
func (t *Target) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	return func(yield func(runbook.Object, error) bool) {
		var found []runbook.Object
		err := t.hello(ctx)
		if err == nil && printable(prefix) {
			err = t.run(ctx, nil, objects(&found), "list", "/"+prefix)
		}
		if err != nil {
			yield(runbook.Object{}, fmt.Errorf("list %q: %w", prefix, err))
			return
		}
		slices.SortFunc(found, func(a, b runbook.Object) int { return strings.Compare(a.Key, b.Key) })
		for i, o := range found {
			if i > 0 && found[i-1].Key == o.Key || !strings.HasPrefix(o.Key, prefix) || runbook.CheckKey(o.Key) != nil {
				continue
			}
			if err := context.Cause(ctx); err != nil {
				yield(runbook.Object{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
			if !yield(o, nil) {
				return
			}
		}
	}
}

// printable tells whether a prefix could begin a valid key and can be passed as an argument. Bytes of a letter that is cut in the middle
// can.
func printable(prefix string) bool {
	return !strings.ContainsFunc(prefix, func(r rune) bool { return r < 0x20 || r == 0x7f }) && len(prefix) <= 1024
}

// Delete implements [runbook.Target].
func (t *Target) Delete(ctx context.Context, key string) error {
	err := t.ready(ctx, key)
	if err == nil {
		err = t.run(ctx, nil, nil, "delete", "/"+key)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %q: %w", key, err)
	}
	return nil
}

// Probe implements [runbook.Prober]. Of a plug-in without that verb it asks only whether it can be started and greets.
func (t *Target) Probe(ctx context.Context) error {
	err := t.offers(ctx, "probe")
	if err == nil {
		err = t.run(ctx, nil, nil, "probe")
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// Sweep removes uploads that were last written to before the given time, and returns how many. The time is passed in whole seconds,
// rounded down.
func (t *Target) Sweep(ctx context.Context, before time.Time) (int, error) {
	n, err := t.number(ctx, "sweep", "swept", before.UTC().Format("2006-01-02T15:04:05Z"))
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	return int(n), nil
}

// FreeSpace returns the number of bytes that may still be written.
func (t *Target) FreeSpace(ctx context.Context) (int64, error) {
	n, err := t.number(ctx, "free", "free")
	if err != nil {
		return 0, fmt.Errorf("free space: %w", err)
	}
	return n, nil
}

// number runs an optional verb that answers with a word and a number.
func (t *Target) number(ctx context.Context, verb, word string, args ...string) (int64, error) {
	if err := t.offers(ctx, verb); err != nil {
		return 0, err
	}
	n := int64(-1)
	if err := t.run(ctx, nil, number(word, &n), append([]string{verb}, args...)...); err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, fmt.Errorf("the plug-in exited 0 without a line %q", word+" NUMBER")
	}
	return n, nil
}

func (t *Target) ready(ctx context.Context, key string) error {
	if err := runbook.CheckKey(key); err != nil {
		return err
	}
	return t.hello(ctx)
}

// offers returns an error if the plug-in lacks something optional.
func (t *Target) offers(ctx context.Context, what string) error {
	if err := t.hello(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.can[what] {
		return fmt.Errorf("the plug-in %s cannot %s: %w", t.cmd[0], what, errors.ErrUnsupported)
	}
	return nil
}

// hello greets the plug-in once.
func (t *Target) hello(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	greeted := t.can != nil
	t.mu.Unlock()
	if greeted {
		return nil
	}
	var versions []string
	can := make(map[string]bool)
	err := t.run(ctx, nil, &lines{each: func(word, rest string) error {
		switch word {
		case "runbook-target":
			versions = append(versions, strings.Fields(rest)...)
		case "can":
			can[rest] = true
		}
		return nil
	}}, "hello")
	if err != nil {
		return fmt.Errorf("greet the plug-in: %w", err)
	}
	if !slices.Contains(versions, protocol) {
		return fmt.Errorf("greet the plug-in: %s speaks versions %q of the target protocol, not %s; is it a target plug-in?", t.cmd[0], versions, protocol)
	}
	t.mu.Lock()
	t.can = can
	t.mu.Unlock()
	return nil
}

// protocol is the version of the protocol that is spoken here.
const protocol = "1"

// run starts the plug-in for one verb and waits for its end.
func (t *Target) run(ctx context.Context, stdin io.Reader, stdout *lines, args ...string) error {
	if stdout == nil {
		stdout = &lines{each: func(string, string) error { return nil }}
	}
	err := t.start(ctx, stdin, stdout, args...)
	if err == nil {
		err = stdout.end()
	}
	return err
}

func (t *Target) start(ctx context.Context, stdin io.Reader, stdout io.Writer, args ...string) error {
	err := t.o.Runner.Run(ctx, runbook.Cmd{
		Path: t.cmd[0], Args: slices.Concat(t.cmd[1:], args), Env: t.o.Env, Dir: t.o.Dir, Stdin: stdin, Stdout: stdout,
	})
	if exit, ok := errors.AsType[*runbook.ExitError](err); ok {
		switch exit.Code {
		case 3:
			return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
		case 4:
			return fmt.Errorf("%w (%w)", fs.ErrExist, err)
		}
	}
	return err
}
