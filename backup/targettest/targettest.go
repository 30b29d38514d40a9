// Package targettest tells whether an implementation of [runbook.Target] keeps the contract, and helps to test what is built on one.
//
//	func TestTarget(t *testing.T) {
//		targettest.Run(t, func(t *testing.T) runbook.Target { return mytarget.New(t.TempDir()) }, nil)
//	}
//
// [Check] does the same without a test, against a real bucket or server, under a prefix of its own that it removes again. [Memory] is the
// reference implementation, and [Faulty] injects faults into any target.
//
// # Guarantees
//
// Every rule is a sentence of the contract, and the name of a subtest. Each rule is proven by an implementation that breaks it and is
// caught. The suite requires nothing that the documentation of [runbook.Target] does not promise. In particular a target may refuse to
// keep both "a" and "a/b"; then the refused Put must leave what was there alone.
//
// The suite sees one process and no power failure: it cannot tell whether an object survives a crash of the target.
//
// # Concurrency
//
// [Check] may run several times at once on one target. Values of [Memory] and [Faulty] are safe for concurrent use.
//
// # Errors
//
// A broken rule is a [*Violation]. Check joins them with [errors.Join].
//
// # Stability
//
// Rules are added when the contract is found to say more than the suite asks. That is a fix and can come with any version.
package targettest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runbook-go/runbook"
)

// Options adapt the suite to a target. The zero value, and nil, is the full suite.
type Options struct {
	// LargeSize is the size in bytes of the largest object. 0 means 64 MiB and one byte, or 1 MiB and one byte in short mode and in
	// [Check].
	LargeSize int64

	// Patience bounds how long a Put may take to return after its context was cancelled while its reader blocks. 0 means 10 seconds.
	Patience time.Duration

	// PortableKeys leaves out valid keys that some file systems cannot tell apart or cannot keep: those that differ in letter case or in
	// Unicode normalization only, and those with characters that Windows reserves. Set it where the target documents that limit.
	PortableKeys bool
}

// Violation is a rule of the contract that a target breaks.
type Violation struct {
	Rule string // the sentence, also the name of the subtest
	Err  error  // what was seen
}

func (v *Violation) Error() string { return fmt.Sprintf("rule %q is broken: %v", v.Rule, v.Err) }

// Unwrap returns what was seen.
func (v *Violation) Unwrap() error { return v.Err }

// Run tests the targets that open returns, one for each rule, in subtests. A target may be the same each time and may hold objects of
// others: every rule works under a prefix of its own.
func Run(t *testing.T, open func(t *testing.T) runbook.Target, o *Options) {
	t.Helper()
	large := int64(64<<20 + 1)
	if testing.Short() {
		large = 1<<20 + 1
	}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			e := newEnv(open(t), o, large)
			if err := e.run(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check tests target and returns every rule that it breaks, joined, or nil. It works under a prefix of its own that begins with
// "runbook-check-", moves about 10 MB each way with a few hundred calls, and removes what it made even if ctx ends.
//
// It is meant for a bucket or a server that is about to be trusted. Do not run it where objects cannot be deleted: what it made would stay.
// A target that accepts invalid keys may keep an object outside the prefix that could not be deleted again.
func Check(ctx context.Context, target runbook.Target) error {
	var broken []error
	for _, r := range rules() {
		if err := context.Cause(ctx); err != nil {
			return errors.Join(append(broken, fmt.Errorf("check target: stopped before rule %q: %w", r.name, err))...)
		}
		if err := newEnv(target, nil, 1<<20+1).run(ctx, r); err != nil {
			broken = append(broken, err)
		}
	}
	return errors.Join(broken...)
}

// env is what a rule works with.
type env struct {
	target   runbook.Target
	prefix   string // ends with a slash
	large    int64
	patience time.Duration
	portable bool
}

func newEnv(target runbook.Target, o *Options, large int64) *env {
	if o == nil {
		o = &Options{}
	}
	e := &env{
		target: target, prefix: "runbook-check-" + strings.ToLower(rand.Text()) + "/",
		large: o.LargeSize, patience: o.Patience, portable: o.PortableKeys,
	}
	if e.large == 0 {
		e.large = large
	}
	if e.patience == 0 {
		e.patience = 10 * time.Second
	}
	return e
}

func (e *env) run(ctx context.Context, r rule) error {
	err := r.check(ctx, e)
	// A rule that was interrupted says nothing about the target.
	if cause := context.Cause(ctx); cause != nil {
		return errors.Join(fmt.Errorf("rule %q: stopped: %w", r.name, cause), e.clean(ctx))
	}
	if err != nil {
		err = &Violation{Rule: r.name, Err: err}
	}
	return errors.Join(err, e.clean(ctx))
}

// clean deletes everything under the prefix.
func (e *env) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var problems []error
	var keys []string
	for o, err := range e.target.List(ctx, e.prefix) {
		if err != nil {
			problems = append(problems, err)
			break
		}
		if strings.HasPrefix(o.Key, e.prefix) {
			keys = append(keys, o.Key)
		}
	}
	for _, key := range keys {
		problems = append(problems, e.target.Delete(ctx, key))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("clean up under %q: %w", e.prefix, err)
	}
	return nil
}

// rule is one sentence of the contract.
type rule struct {
	name  string
	check func(context.Context, *env) error
}

func rules() []rule {
	return []rule{
		{"what was put can be read back byte for byte", roundTrip},
		{"an object of many megabytes is kept whole", large},
		{"a reader of any legal shape is read to its end", oddReaders},
		{"an error of the reader aborts, is wrapped and leaves nothing behind", readerError},
		{"Put does not use its reader after it returned", readerKept},
		{"an existing key is refused with fs.ErrExist and left as it was", existing},
		{"of many concurrent Puts of one key exactly one wins", concurrentPuts},
		{"different keys can be put and deleted at the same time", concurrentKeys},
		{"a Put whose context is cancelled already changes nothing", putCancelled},
		{"a Put whose context is cancelled while its reader blocks returns soon and leaves nothing behind", putBlocked},
		{"a Delete whose context is cancelled already changes nothing", deleteCancelled},
		{"an unfinished Put can not be seen", unfinished},
		{"objects can be read while others are put", readWhilePut},

		{"a missing key is fs.ErrNotExist", missing},
		{"a deleted key is missing and can be put again", deleted},
		{"deleting a missing key is no error and harms no other object", deleteMissing},
		{"a reader can be closed twice", closeTwice},
		{"cancelling the context of Open makes later reads fail", readCancelled},
		{"a range gives what is there", ranges},
		{"Stat and List agree on size and time", sizeAndTime},
		{"a target that can be probed, measured or swept can do so without harm", extras},

		{"List yields every object once, sorted bytewise across folders", listSorted},
		{"a prefix of List is a string and not a folder", listPrefix},
		{"List stops when its consumer does", listBreak},
		{"List goes on while objects come and go", listWhileDeleting},

		{"every valid key can be used", validKeys},
		{"an invalid key is refused with fs.ErrInvalid by every method", invalidKeys},
		{"a key that is a folder of another is kept or refused without harm", folderKey},
		{"an error names its key", errorsNameKey},
	}
}
