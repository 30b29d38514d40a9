package dirtarget

import (
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

// List implements [runbook.Target]. It holds the names of one folder and of those above it, not of the whole tree. Files whose path is
// not a valid key are no objects.
func (t *Target) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	return func(yield func(runbook.Object, error) bool) {
		w := walk{t: t, ctx: ctx, prefix: prefix, yield: yield}
		dir := prefix[:strings.LastIndexByte(prefix, '/')+1] // empty or with a slash at its end
		if dir != "" && !t.isFolder(strings.TrimSuffix(dir, "/")) {
			return
		}
		if _, err := w.folder(dir); err != nil {
			yield(runbook.Object{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

type walk struct {
	t      *Target
	ctx    context.Context
	prefix string
	yield  func(runbook.Object, error) bool
}

// folder yields what is below dir, which is empty or ends with a slash. It tells whether to go on.
func (w *walk) folder(dir string) (more bool, err error) {
	if err := context.Cause(w.ctx); err != nil {
		return false, err
	}
	entries, err := fs.ReadDir(w.t.root.FS(), path.Clean(dir))
	if err != nil {
		if err = absent(err); errors.Is(err, fs.ErrNotExist) && dir != "" {
			return true, nil // removed meanwhile
		}
		return false, err
	}
	// A folder stands where the keys below it do: "a-b" comes before "a/b" and "ab" after.
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name()+"/")
		} else if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for _, name := range names {
		name = dir + name
		key, isFolder := strings.CutSuffix(name, "/")
		// Below the first folder every name has the prefix; in it, only those that the cut has left.
		if runbook.CheckKey(key) != nil || !strings.HasPrefix(name, w.prefix) && (!isFolder || !strings.HasPrefix(w.prefix, name)) {
			continue
		}
		if isFolder {
			more, err = w.folder(name)
		} else {
			more, err = w.file(key)
		}
		if !more || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (w *walk) file(key string) (more bool, err error) {
	if err := context.Cause(w.ctx); err != nil {
		return false, err
	}
	info, err := w.t.root.Lstat(key)
	if err != nil {
		if err = absent(err); errors.Is(err, fs.ErrNotExist) {
			return true, nil // deleted meanwhile
		}
		return false, err
	}
	return !info.Mode().IsRegular() || w.yield(object(key, info), nil), nil
}

// isFolder tells whether a path is one of folders only, none of them a link.
func (t *Target) isFolder(dir string) bool {
	if runbook.CheckKey(dir) != nil {
		return false
	}
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		if info, err := t.root.Lstat(dir[:i]); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}
