package targettest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/runbook-go/runbook"
)

// tree has names that come in another order where folders are walked one after the other: '-' and '.' sort before '/', '0' and letters
// after.
func tree() []string {
	return []string{
		"a!", "a-b", "a-b2/x", "a.b", "a/b", "a/b-c", "a/b2/y", "a/c/d", "a/c/e", "a0", "ab", "b/c", "b0/d/e/f", "z", "Z", "_", "é/1", "~",
	}
}

func (e *env) tree() []string {
	names := tree()
	if e.portable {
		names = slices.DeleteFunc(names, func(name string) bool { return name == "Z" })
	}
	slices.Sort(names)
	return names
}

func listSorted(ctx context.Context, e *env) error {
	names := e.tree()
	backwards := slices.Clone(names)
	slices.Reverse(backwards)
	if err := e.putAll(ctx, backwards...); err != nil {
		return err
	}
	got, err := e.names(ctx, "")
	if err != nil {
		return err
	}
	if !slices.Equal(got, names) {
		return fmt.Errorf("List yields %q, want %q", got, names)
	}
	return nil
}

func listPrefix(ctx context.Context, e *env) error {
	names := e.tree()
	if err := e.putAll(ctx, names...); err != nil {
		return err
	}
	for _, prefix := range []string{
		"a", "a/", "a/b", "a/b2", "a/b2/", "a/c/d", "a/c/d/", "a-", "a-b", "ab", "abc", "b", "b0/d", "é", "\xc3", "nothing", "nothing/at/all", "~",
		"a//", "../", "a/../", "./a",
	} {
		var want []string
		for _, name := range names {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		got, err := e.names(ctx, prefix)
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("of %q, List of the prefix %q yields %q, want %q", names, prefix, got, want)
		}
	}
	// A prefix that ends in the middle of the first element.
	got, err := e.list(ctx, strings.TrimSuffix(e.prefix, "/"))
	if err != nil {
		return err
	}
	if len(got) != len(names) {
		return fmt.Errorf("List of %q yields %d objects, want %d", strings.TrimSuffix(e.prefix, "/"), len(got), len(names))
	}
	return nil
}

func listBreak(ctx context.Context, e *env) error {
	names := e.tree()
	if err := e.putAll(ctx, names...); err != nil {
		return err
	}
	for stopAfter := 1; stopAfter <= len(names); stopAfter += 4 {
		calls := 0
		// Called as a function, because a range statement would panic.
		e.target.List(ctx, e.prefix)(func(runbook.Object, error) bool {
			calls++
			return calls < stopAfter
		})
		if calls != stopAfter {
			return fmt.Errorf("the consumer stopped after %d of %d objects, but List yielded %d times", stopAfter, len(names), calls)
		}
	}
	return nil
}

func listWhileDeleting(ctx context.Context, e *env) error {
	var kept, gone []string
	for i := range 12 {
		kept = append(kept, fmt.Sprintf("%02d/kept", i), fmt.Sprintf("flat-%02d-kept", i))
		gone = append(gone, fmt.Sprintf("%02d/gone", i), fmt.Sprintf("%02d-gone/deep/down", i))
	}
	if err := e.putAll(ctx, append(gone, kept...)...); err != nil {
		return err
	}
	slices.Sort(kept)
	var got []string
	last := ""
	for o, err := range e.target.List(ctx, e.prefix) {
		if err != nil {
			return fmt.Errorf("List gives an error because objects come and go: %w", err)
		}
		if o.Key <= last {
			return fmt.Errorf("List yields %q after %q", o.Key, last)
		}
		if last = o.Key; strings.HasSuffix(o.Key, "kept") {
			got = append(got, strings.TrimPrefix(o.Key, e.prefix))
		}
		// On the way, what is behind and what is ahead disappears, and something new comes.
		if len(got) != len(kept)/4 {
			continue
		}
		for _, name := range gone {
			if err := e.target.Delete(ctx, e.prefix+name); err != nil {
				return fmt.Errorf("Delete while List runs: %w", err)
			}
		}
		if gone != nil {
			if err := e.putAll(ctx, "00/new", "zz/new"); err != nil {
				return fmt.Errorf("while List runs: %w", err)
			}
		}
		gone = nil
	}
	if !slices.Equal(got, kept) {
		return fmt.Errorf("while others were deleted List yielded %q, want %q", got, kept)
	}
	return nil
}
