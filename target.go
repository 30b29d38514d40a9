package runbook

import (
	"context"
	"io"
	"iter"
	"time"
)

// Target keeps immutable objects under slash-separated keys: a directory, an SFTP server, a bucket.
//
// A key is a non-empty relative path: elements separated by single slashes, none of them empty, "." or "..", valid UTF-8
// without control characters, at most 255 bytes an element and 1,024 bytes in all. Elements that start with ".runbook-" belong to
// implementations. Implementations must refuse any other key with an error that matches [io/fs.ErrInvalid], see [CheckKey].
//
// Implementations must be safe for concurrent use. Errors must name the key and must not contain a secret. A context that is already
// cancelled changes nothing. The conformance suite is backup/targettest.
type Target interface {
	// Put stores everything that r gives under key. It is atomic and durable: the object becomes visible, whole, only if Put
	// returns nil, and then survives a crash of the target. An error from r aborts and is returned wrapped. If key exists the
	// error matches [io/fs.ErrExist] and the object is left as it was. Of two concurrent Puts of one key exactly one wins. Put need not
	// know the size in advance and must not keep r after it returns.
	Put(ctx context.Context, key string, r io.Reader) error

	// Open returns the object's bytes from its start. A missing key gives an error that matches [io/fs.ErrNotExist]. Cancelling
	// ctx makes later reads fail. The caller closes the reader; closing twice is harmless.
	Open(ctx context.Context, key string) (io.ReadCloser, error)

	// Stat describes the object, or returns an error that matches [io/fs.ErrNotExist].
	Stat(ctx context.Context, key string) (Object, error)

	// List yields every object whose key starts with prefix, sorted by key (bytewise). The prefix is a plain string, not a folder:
	// "a/b" matches "a/b", "a/bc" and "a/b/c"; the empty prefix matches everything. It yields at most one error, as its last element.
	// Objects that come or go while it runs may be listed or not. No partial upload is ever listed.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// Delete removes the object durably. A missing key is not an error.
	Delete(ctx context.Context, key string) error
}

// Object describes one stored object.
type Object struct {
	Key      string
	Size     int64     // bytes
	Modified time.Time // by the target's clock, in whole seconds or better
}

// RangeOpener is implemented by targets that can read a part of an object.
type RangeOpener interface {
	// OpenRange is like [Target.Open] for length bytes from offset on. A length of -1 means up to the end. A range that reaches
	// past the end gives what is there.
	OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
}

// Prober is implemented by targets that can tell cheaply whether they can be reached and written to.
type Prober interface {
	Probe(ctx context.Context) error
}

// As finds the first value in a chain of wrappers that has type T. A wrapper of a noun N gives what it wraps by a method
// Unwrap() N. Pass the value as its interface type:
//
//	r, ok := runbook.As[runbook.RangeOpener](target) // target is a runbook.Target
func As[T, N any](n N) (t T, ok bool) {
	for {
		if t, ok = any(n).(T); ok {
			return t, true
		}
		w, wraps := any(n).(interface{ Unwrap() N })
		if !wraps {
			return t, false
		}
		n = w.Unwrap()
	}
}
