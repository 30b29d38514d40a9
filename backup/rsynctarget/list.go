package rsynctarget

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runbook-go/runbook"
)

// List implements [runbook.Target]. It holds the whole list, as rsync sorts in another order.
func (t *Target) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	return func(yield func(runbook.Object, error) bool) {
		objects, err := t.list(ctx, prefix)
		if err != nil {
			yield(runbook.Object{}, fmt.Errorf("list %q: %w", prefix, err))
			return
		}
		for _, o := range objects {
			err := context.Cause(ctx)
			if err != nil {
				o, err = runbook.Object{}, fmt.Errorf("list %q: %w", prefix, err)
			}
			if !yield(o, err) || err != nil {
				return
			}
		}
	}
}

func (t *Target) list(ctx context.Context, prefix string) ([]runbook.Object, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	folder := ""
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		folder = prefix[:i]
		if runbook.CheckKey(folder) != nil {
			return nil, nil // no key begins like that
		}
	}
	objects, err := t.c.list(ctx, folder)
	if notDirectory(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	objects = slices.DeleteFunc(objects, func(o runbook.Object) bool {
		return !strings.HasPrefix(o.Key, prefix) || runbook.CheckKey(o.Key) != nil
	})
	slices.SortFunc(objects, func(a, b runbook.Object) int { return strings.Compare(a.Key, b.Key) })
	return objects, nil
}

// entry is a line of a listing: a file, a folder or something else, by the first letter of its mode.
type entry struct {
	runbook.Object
	kind byte
}

const (
	regular   = '-'
	directory = 'd'
)

// list returns the regular files below a name, and the one of that name.
func (c *client) list(ctx context.Context, name string) ([]runbook.Object, error) {
	args := []string{"--recursive"}
	if name != tempDir {
		args = append(args, "--exclude=.runbook-*")
	}
	entries, err := c.entries(ctx, name, args...)
	if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Code != 24) { // 24: some went while they were listed
		return nil, err
	}
	var objects []runbook.Object
	for _, e := range entries {
		if e.kind == regular {
			objects = append(objects, e.Object)
		}
	}
	return objects, nil
}

// lookup returns what has a name, with a kind of 0 if there is nothing.
func (c *client) lookup(ctx context.Context, name string) (entry, error) {
	entries, err := c.entries(ctx, name)
	if err != nil && !notDirectory(err) {
		return entry{}, err
	}
	for _, e := range entries {
		if e.Key == name {
			return e, nil
		}
	}
	return entry{}, nil
}

func (c *client) entries(ctx context.Context, name string, args ...string) (entries []entry, err error) {
	var names []string
	if name != "" {
		names = []string{name}
	}
	out, err := c.run(ctx, "", names, append(args, "--list-only", "--no-human-readable", "--ignore-missing-args", "--", c.at, "./")...)
	for line := range strings.Lines(out) {
		e, parseErr := parseLine(strings.TrimSuffix(line, "\n"))
		if parseErr != nil {
			return nil, errors.Join(parseErr, err)
		}
		entries = append(entries, e)
	}
	return entries, err
}

// parseLine reads a line of rsync --list-only, such as
//
//	-rw-r--r--           6 2026/11/21 07:48:05 a/b/c
//
// with one space before the name, in which bytes that cannot be shown stand as \#ooo.
func parseLine(line string) (e entry, err error) {
	mode, rest, _ := strings.Cut(line, " ")
	if len(mode) < 10 {
		return e, fmt.Errorf("listing of rsync: %.100q is not a line of one", line)
	}
	e.kind = mode[0]
	size, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if e.Size, err = strconv.ParseInt(size, 10, 64); err != nil || e.Size < 0 {
		return e, fmt.Errorf("listing of rsync: %.100q has no size", line)
	}
	const layout = "2006/01/02 15:04:05"
	if len(rest) < len(layout)+2 || rest[len(layout)] != ' ' {
		return e, fmt.Errorf("listing of rsync: %.100q has no name", line)
	}
	if e.Modified, err = time.Parse(layout, rest[:len(layout)]); err != nil {
		return e, fmt.Errorf("listing of rsync: %w", err)
	}
	e.Key = unescape(rest[len(layout)+1:])
	return e, nil
}

// unescape replaces each \#ooo by the byte with that octal number. rsync escapes a backslash that stands before such a text.
func unescape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if strings.HasPrefix(name[i:], `\#`) && i+5 <= len(name) {
			if n, err := strconv.ParseUint(name[i+2:i+5], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 4
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}
