package sftptarget

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/runbook-go/runbook"
)

// listAhead is how many folders are read at the same time, as each takes some round trips.
const listAhead = 16

// List implements [runbook.Target].
func (t *Target) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	return func(yield func(runbook.Object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		err := context.Cause(ctx)
		if err == nil {
			folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
			if folder != "" && runbook.CheckKey(folder[:len(folder)-1]) != nil {
				return // no key begins like this
			}
			_, err = t.list(ctx, t.readFolder(ctx, folder), prefix, yield)
		}
		if err != nil {
			yield(runbook.Object{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

// entry is an object, or a folder, whose key ends with a slash. Sorted by key they stand where their objects do.
type entry struct {
	key    string
	object runbook.Object
	read   func() ([]entry, error) // of a folder: its entries
}

// list yields what a folder holds, and tells whether to go on.
func (t *Target) list(ctx context.Context, read func() ([]entry, error), prefix string, yield func(runbook.Object, error) bool) (bool, error) {
	entries, err := read()
	if err != nil {
		return false, err
	}
	ahead := 0
	for i, e := range entries {
		for ; ahead < len(entries) && ahead < i+listAhead; ahead++ {
			next := &entries[ahead]
			if strings.HasSuffix(next.key, "/") && (strings.HasPrefix(next.key, prefix) || strings.HasPrefix(prefix, next.key)) {
				next.read = t.readFolder(ctx, next.key)
			}
		}
		e = entries[i]
		switch {
		case e.read != nil:
			if more, err := t.list(ctx, e.read, prefix, yield); err != nil || !more {
				return false, err
			}
		case strings.HasSuffix(e.key, "/") || !strings.HasPrefix(e.key, prefix):
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case !yield(e.object, nil):
			return false, nil
		}
	}
	return true, nil
}

// readFolder begins to read a folder, "" or a name that ends with a slash, and returns a function that waits for its entries.
func (t *Target) readFolder(ctx context.Context, folder string) func() ([]entry, error) {
	var entries []entry
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		entries, err = call(ctx, t, func(s *session) ([]entry, error) { return s.readFolder(ctx, folder) }, nil)
	}()
	return func() ([]entry, error) {
		<-done
		return entries, err
	}
}

func (s *session) readFolder(ctx context.Context, folder string) ([]entry, error) {
	dir := path.Join(s.conn.t.o.Root, folder)
	infos, err := s.ReadDirContext(ctx, dir)
	if isFailure(err) {
		// Not every server says that a folder which is a file is none.
		if info, statErr := s.info(dir); errors.Is(statErr, fs.ErrNotExist) || statErr == nil && !info.IsDir() {
			return nil, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, info := range infos {
		key := folder + info.Name()
		switch {
		case runbook.CheckKey(key) != nil: // ours, or not put here by us
		case info.IsDir():
			entries = append(entries, entry{key: key + "/"})
		case info.Mode().IsRegular():
			entries = append(entries, entry{key: key, object: runbook.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	return entries, nil
}
