package targettest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/runbook-go/runbook"
)

// portableKeys can be kept by every file system.
func portableKeys() []string {
	return []string{
		"with space", "two  spaces", ".hidden", "...", "..a", "-", "-rf", "--help", "~", "~root", "%", "%41", "%2F", "100%25", "$HOME", "`id`",
		"$(id)", "a;b", "a&b", "a=b", "a,b", "a+b", "a@b", "#", "!", "[a-z]", "{a,b}", "(a)", "^", "'", "it's", "été", "日本語", "😀", "a/.b/-c/ d",
		strings.Repeat("x", 255), strings.Repeat("é", 127) + "x", "deep/" + strings.Repeat("d/", 100) + "end",
	}
}

// otherKeys are valid, but not every file system can keep them or tell them apart.
func otherKeys() []string {
	return []string{
		" leading", "trailing ", "trailing.", "\"", "\\", "a\\b", "C:", "a:b", "*", "?", "a|b", "<>", "NUL", "con.txt", "case", "CASE",
		"\u00e9", "e\u0301", "ends with a backslash\\", "\u202e", "\ufeff",
	}
}

func validKeys(ctx context.Context, e *env) error {
	names := portableKeys()
	if !e.portable {
		names = append(names, otherKeys()...)
	}
	// The longest key: deep below the prefix, with every element as long as it may be.
	long := strings.Repeat(strings.Repeat("k", 255)+"/", 3)
	names = append(names, long+strings.Repeat("k", min(255, 1024-len(e.prefix)-len(long))))
	for _, name := range names {
		if err := runbook.CheckKey(e.prefix + name); err != nil {
			return err // a fault of the suite
		}
	}
	if err := e.putAll(ctx, names...); err != nil {
		return err
	}
	for _, name := range names {
		if err := e.holds(ctx, e.prefix+name, name); err != nil {
			return err
		}
	}
	slices.Sort(names)
	got, err := e.names(ctx, "")
	if err != nil {
		return err
	}
	if !slices.Equal(got, names) {
		return fmt.Errorf("List yields %q, want %q", got, names)
	}
	for _, name := range names {
		if err := e.target.Delete(ctx, e.prefix+name); err != nil {
			return fmt.Errorf("Delete of %q: %w", e.prefix+name, err)
		}
		if err := e.absent(ctx, e.prefix+name); err != nil {
			return err
		}
	}
	return nil
}

func invalidKeys(ctx context.Context, e *env) error {
	keys := []string{"", "/", "/" + e.prefix + "x", "..", "../" + e.prefix + "x", ".", "./" + e.prefix + "x", ".runbook-" + e.prefix + "x"}
	for _, name := range []string{
		"", "a/", "a//b", "/a", ".", "..", "a/./b", "a/../b", "../x", "nul\x00", "line\nbreak", "tab\t", "\x7f", "\xff", "half \xc3", ".runbook-", ".runbook-tmp/x",
		"a/.runbook-x", strings.Repeat("x", 256), strings.Repeat("é", 128), strings.Repeat("d/", 512) + "end",
	} {
		keys = append(keys, e.prefix+name)
	}
	ranger, canRange := runbook.As[runbook.RangeOpener](e.target)
	for _, key := range keys {
		refused := func(method string, err error) error {
			if errors.Is(err, fs.ErrInvalid) {
				return nil
			}
			return fmt.Errorf("%s of the invalid key %q gives %v, want an error that matches fs.ErrInvalid", method, key, err)
		}
		err := e.target.Put(ctx, key, opaque("content"))
		if err == nil {
			_ = e.target.Delete(ctx, key)
		}
		if err := refused("Put", err); err != nil {
			return err
		}
		r, err := e.target.Open(ctx, key)
		if err == nil {
			r.Close()
		}
		if err := refused("Open", err); err != nil {
			return err
		}
		_, err = e.target.Stat(ctx, key)
		if err := refused("Stat", err); err != nil {
			return err
		}
		if err := refused("Delete", e.target.Delete(ctx, key)); err != nil {
			return err
		}
		if !canRange {
			continue
		}
		r, err = ranger.OpenRange(ctx, key, 0, -1)
		if err == nil {
			r.Close()
		}
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err := refused("OpenRange", err); err != nil {
			return err
		}
	}
	return nil
}

func folderKey(ctx context.Context, e *env) error {
	for _, c := range []struct{ first, second string }{{"a/b", "a"}, {"c", "c/d"}, {"e", "e/f/g"}} {
		first, second := e.prefix+c.first, e.prefix+c.second
		if err := e.put(ctx, first, "first"); err != nil {
			return err
		}
		err := e.target.Put(ctx, second, opaque("second"))
		if err == nil {
			err = e.holds(ctx, second, "second")
		} else if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("Put of %q beside %q is refused with an error that matches fs.ErrExist, though the key does not exist: %w", second, first, err)
		} else {
			err = e.absent(ctx, second)
		}
		if err := errors.Join(err, e.holds(ctx, first, "first")); err != nil {
			return err
		}
		if err := e.target.Delete(ctx, second); err != nil {
			return fmt.Errorf("Delete of %q beside %q: %w", second, first, err)
		}
		if err := e.holds(ctx, first, "first"); err != nil {
			return fmt.Errorf("after Delete of %q: %w", second, err)
		}
		// Once the first is gone nothing stands in the way.
		if err := e.target.Delete(ctx, first); err != nil {
			return fmt.Errorf("Delete of %q: %w", first, err)
		}
		if err := e.put(ctx, second, "second"); err != nil {
			return fmt.Errorf("after %q was deleted: %w", first, err)
		}
		if err := e.holds(ctx, second, "second"); err != nil {
			return err
		}
	}
	return nil
}

func errorsNameKey(ctx context.Context, e *env) error {
	key := e.prefix + "dir/the-key"
	if err := e.put(ctx, key, "content"); err != nil {
		return err
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	absent := e.prefix + "dir/not-there"
	_, openErr := e.target.Open(ctx, absent)
	_, statErr := e.target.Stat(ctx, absent)
	for _, c := range []struct {
		call, key string
		err       error
	}{
		{"Put of an existing key", key, e.target.Put(ctx, key, opaque("x"))},
		{"Put whose reader fails", absent, e.target.Put(ctx, absent, endWith("x", errors.New("reader failed")))},
		{"Put under a cancelled context", absent, e.target.Put(cancelled, absent, opaque("x"))},
		{"Put of an invalid key", absent + "//", e.target.Put(ctx, absent+"//", opaque("x"))},
		{"Open of a missing key", absent, openErr},
		{"Stat of a missing key", absent, statErr},
		{"Delete under a cancelled context", key, e.target.Delete(cancelled, key)},
	} {
		if c.err == nil {
			return fmt.Errorf("%s %q gives no error", c.call, c.key)
		}
		if !strings.Contains(c.err.Error(), c.key) {
			return fmt.Errorf("%s %q gives an error without the key: %v", c.call, c.key, c.err)
		}
	}
	return nil
}
