package targettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/runbook-go/runbook"
)

func (e *env) put(ctx context.Context, key, content string) error {
	if err := e.target.Put(ctx, key, opaque(content)); err != nil {
		return fmt.Errorf("Put of the new key %q gives an error: %w", key, err)
	}
	return nil
}

// putAll puts keys below the prefix, each with its own name as content.
func (e *env) putAll(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := e.put(ctx, e.prefix+name, name); err != nil {
			return err
		}
	}
	return nil
}

// holds checks that key is there with this content, by Stat, Open and List.
func (e *env) holds(ctx context.Context, key, content string) error {
	o, err := e.target.Stat(ctx, key)
	switch {
	case err != nil:
		return fmt.Errorf("Stat of %q, which must be there, gives an error: %w", key, err)
	case o.Key != key:
		return fmt.Errorf("Stat of %q gives the key %q", key, o.Key)
	case o.Size != int64(len(content)):
		return fmt.Errorf("Stat of %q gives a size of %d bytes, want %d", key, o.Size, len(content))
	}
	got, err := e.read(ctx, key)
	if err != nil {
		return err
	}
	if got != content {
		return fmt.Errorf("%q holds %s, want %s", key, excerpt(got), excerpt(content))
	}
	listed, err := e.list(ctx, key)
	if err != nil {
		return err
	}
	if len(listed) == 0 || listed[0].Key != key {
		return fmt.Errorf("%q is there but is not listed", key)
	}
	return nil
}

// absent checks that key is not there, by Stat, Open and List.
func (e *env) absent(ctx context.Context, key string) error {
	if o, err := e.target.Stat(ctx, key); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("Stat of %q, which must not be there, gives %+v and the error %v, want an error that matches fs.ErrNotExist", key, o, err)
	}
	r, err := e.target.Open(ctx, key)
	if err == nil {
		r.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("Open of %q, which must not be there, gives the error %v, want one that matches fs.ErrNotExist", key, err)
	}
	listed, err := e.list(ctx, key)
	if err != nil {
		return err
	}
	if len(listed) > 0 && listed[0].Key == key {
		return fmt.Errorf("%q must not be there but is listed", key)
	}
	return nil
}

func (e *env) read(ctx context.Context, key string) (string, error) {
	r, err := e.target.Open(ctx, key)
	if err != nil {
		return "", fmt.Errorf("Open of %q, which must be there, gives an error: %w", key, err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return "", fmt.Errorf("reading %q: %w", key, err)
	}
	return string(got), nil
}

// list collects what List yields and checks what holds for every listing.
func (e *env) list(ctx context.Context, prefix string) ([]runbook.Object, error) {
	var objects []runbook.Object
	var failed error
	for o, err := range e.target.List(ctx, prefix) {
		switch {
		case failed != nil:
			return nil, fmt.Errorf("List of %q goes on after the error %v", prefix, failed)
		case err != nil:
			failed = err
			continue
		case !strings.HasPrefix(o.Key, prefix):
			return nil, fmt.Errorf("List of %q yields %q, which does not start with it", prefix, o.Key)
		case len(objects) > 0 && objects[len(objects)-1].Key >= o.Key:
			return nil, fmt.Errorf("List of %q yields %q after %q, want bytewise order", prefix, o.Key, objects[len(objects)-1].Key)
		case runbook.CheckKey(o.Key) != nil:
			return nil, fmt.Errorf("List of %q yields %q, which is not a valid key", prefix, o.Key)
		}
		objects = append(objects, o)
	}
	if failed != nil {
		return nil, fmt.Errorf("List of %q gives an error: %w", prefix, failed)
	}
	return objects, nil
}

// names lists what is below the prefix of the rule, without that prefix.
func (e *env) names(ctx context.Context, prefix string) ([]string, error) {
	objects, err := e.list(ctx, e.prefix+prefix)
	names := make([]string, 0, len(objects))
	for _, o := range objects {
		names = append(names, strings.TrimPrefix(o.Key, e.prefix))
	}
	return names, err
}

// opaque gives content without telling its size.
func opaque(content string) io.Reader { return struct{ io.Reader }{strings.NewReader(content)} }

// sameBytes compares two streams without holding them.
func sameBytes(got, want io.Reader) error {
	var a, b [64 << 10]byte
	for at := 0; ; {
		n, errA := io.ReadFull(got, a[:])
		m, errB := io.ReadFull(want, b[:])
		if errA != nil && errA != io.EOF && errA != io.ErrUnexpectedEOF {
			return fmt.Errorf("reading fails after %d bytes: %w", at+n, errA)
		}
		if n != m {
			return fmt.Errorf("the object ends %d bytes away from where it should, near byte %d", max(n-m, m-n), at+min(n, m))
		}
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("a byte between %d and %d differs", at, at+n)
		}
		if at += n; errB != nil {
			return nil
		}
	}
}

func excerpt(s string) string {
	if len(s) > 60 {
		return fmt.Sprintf("%q… (%d bytes)", s[:60], len(s))
	}
	return fmt.Sprintf("%q", s)
}
