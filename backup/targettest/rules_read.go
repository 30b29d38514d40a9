package targettest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/runbook-go/runbook"
)

func missing(ctx context.Context, e *env) error {
	if err := e.putAll(ctx, "folder/object"); err != nil {
		return err
	}
	ranger, canRange := runbook.As[runbook.RangeOpener](e.target)
	for _, name := range []string{"nothing", "nothing/deep/down", "folder", "folder/objec", "folder/object/below", "folder/object2"} {
		key := e.prefix + name
		if err := e.absent(ctx, key); err != nil {
			return err
		}
		if !canRange {
			continue
		}
		r, err := ranger.OpenRange(ctx, key, 0, -1)
		if err == nil {
			r.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("OpenRange of %q, which is not there, gives %v, want an error that matches fs.ErrNotExist", key, err)
		}
	}
	return nil
}

func deleted(ctx context.Context, e *env) error {
	key := e.prefix + "some/dir/key"
	for _, content := range []string{"first", "", "third"} {
		if err := e.put(ctx, key, content); err != nil {
			return err
		}
		if err := e.holds(ctx, key, content); err != nil {
			return err
		}
		if err := e.target.Delete(ctx, key); err != nil {
			return fmt.Errorf("Delete of %q: %w", key, err)
		}
		if err := e.absent(ctx, key); err != nil {
			return fmt.Errorf("after Delete: %w", err)
		}
	}
	return nil
}

func deleteMissing(ctx context.Context, e *env) error {
	if err := e.putAll(ctx, "folder/object", "folder-2"); err != nil {
		return err
	}
	for _, name := range []string{"nothing", "nothing/deep/down", "folder", "folder/object/below", "folder/o", "folde"} {
		if err := e.target.Delete(ctx, e.prefix+name); err != nil {
			return fmt.Errorf("Delete of %q, which is not there, gives an error: %w", e.prefix+name, err)
		}
	}
	return errors.Join(e.holds(ctx, e.prefix+"folder/object", "folder/object"), e.holds(ctx, e.prefix+"folder-2", "folder-2"))
}

func closeTwice(ctx context.Context, e *env) error {
	key := e.prefix + "key"
	if err := e.put(ctx, key, "content"); err != nil {
		return err
	}
	for name, n := range map[string]int{"unread": 0, "half read": 3, "read": 7} {
		r, err := e.target.Open(ctx, key)
		if err != nil {
			return fmt.Errorf("Open of %q: %w", key, err)
		}
		if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
			return fmt.Errorf("reading %q: %w", key, err)
		}
		for _, time := range []string{"first", "second"} {
			if err := r.Close(); err != nil {
				return fmt.Errorf("the %s Close of an %s reader gives an error: %w", time, name, err)
			}
		}
	}
	return e.holds(ctx, key, "content")
}

func readCancelled(ctx context.Context, e *env) error {
	key := e.prefix + "key"
	const size = 1 << 20
	if err := e.target.Put(ctx, key, pattern(3, size)); err != nil {
		return fmt.Errorf("Put of %q: %w", key, err)
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := e.target.Open(reading, key)
	if err != nil {
		return fmt.Errorf("Open of %q: %w", key, err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		return fmt.Errorf("reading %q: %w", key, err)
	}
	cancel()
	if n, err := io.Copy(io.Discard, r); err == nil {
		return fmt.Errorf("%d more bytes of %q, up to its end, were read after the context was cancelled", n, key)
	}
	return nil
}

func ranges(ctx context.Context, e *env) error {
	ranger, ok := runbook.As[runbook.RangeOpener](e.target)
	if !ok {
		return nil
	}
	key, content := e.prefix+"dir/key", "0123456789"
	if err := e.put(ctx, key, content); err != nil {
		return err
	}
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, content},
		{0, 10, content},
		{0, 0, ""},
		{0, 1, "0"},
		{3, 4, "3456"},
		{3, -1, "3456789"},
		{9, 1, "9"},
		{9, 100, "9"},
		{0, 1 << 40, content},
		{10, -1, ""},
		{10, 5, ""},
		{50, -1, ""},
		{50, 5, ""},
	} {
		r, err := ranger.OpenRange(ctx, key, c.offset, c.length)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("OpenRange of %d bytes from %d of %q, which has 10: %w", c.length, c.offset, key, err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close(), r.Close()); err != nil {
			return fmt.Errorf("reading %d bytes from %d of %q, which has 10: %w", c.length, c.offset, key, err)
		}
		if string(got) != c.want {
			return fmt.Errorf("%d bytes from %d of %q, which holds %q, are %q, want %q", c.length, c.offset, key, content, got, c.want)
		}
	}
	return nil
}

func sizeAndTime(ctx context.Context, e *env) error {
	for _, name := range []string{"a", "dir/b", "dir/c"} {
		if err := e.put(ctx, e.prefix+name, name); err != nil {
			return err
		}
	}
	objects, err := e.list(ctx, e.prefix)
	if err != nil {
		return err
	}
	if len(objects) != 3 {
		return fmt.Errorf("3 objects were put and %d are listed", len(objects))
	}
	// The clock of the target need not be ours; two days are beyond any time zone.
	now, slack := time.Now(), 48*time.Hour
	for _, listed := range objects {
		o, err := e.target.Stat(ctx, listed.Key)
		if err != nil {
			return fmt.Errorf("Stat of %q: %w", listed.Key, err)
		}
		if want := int64(len(listed.Key) - len(e.prefix)); o.Size != want || listed.Size != want {
			return fmt.Errorf("%q has %d bytes; Stat says %d and List says %d", o.Key, want, o.Size, listed.Size)
		}
		if o.Modified.Unix() != listed.Modified.Unix() {
			return fmt.Errorf("Stat says that %q is of %v and List says %v", o.Key, o.Modified, listed.Modified)
		}
		if o.Modified.Before(now.Add(-slack)) || o.Modified.After(now.Add(slack)) {
			return fmt.Errorf("%q was put just now and Stat says that it is of %v", o.Key, o.Modified)
		}
	}
	return nil
}

func extras(ctx context.Context, e *env) error {
	if err := e.putAll(ctx, "dir/key"); err != nil {
		return err
	}
	accept := func(what string, err error) error {
		if err == nil || errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		return fmt.Errorf("%s gives an error: %w", what, err)
	}
	if t, ok := runbook.As[runbook.Prober](e.target); ok {
		if err := accept("Probe", t.Probe(ctx)); err != nil {
			return err
		}
	}
	if t, ok := runbook.As[freeSpacer](e.target); ok {
		free, err := t.FreeSpace(ctx)
		if err := accept("FreeSpace", err); err != nil {
			return err
		}
		if free < 0 {
			return fmt.Errorf("FreeSpace gives %d bytes", free)
		}
	}
	if t, ok := runbook.As[sweeper](e.target); ok {
		// A time at which nothing was: the target may be in use by others.
		n, err := t.Sweep(ctx, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
		if err := accept("Sweep", err); err != nil {
			return err
		}
		if n != 0 {
			return fmt.Errorf("Sweep before the year 2000 says that it removed %d files", n)
		}
	}
	names, err := e.names(ctx, "")
	if err != nil {
		return err
	}
	if len(names) != 1 || names[0] != "dir/key" {
		return fmt.Errorf("after Probe, FreeSpace and Sweep the keys are %q, want only %q", names, "dir/key")
	}
	return e.holds(ctx, e.prefix+"dir/key", "dir/key")
}

type sweeper interface {
	Sweep(ctx context.Context, before time.Time) (int, error)
}

type freeSpacer interface {
	FreeSpace(ctx context.Context) (int64, error)
}
