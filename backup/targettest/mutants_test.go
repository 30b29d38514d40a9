package targettest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	. "github.com/runbook-go/runbook/backup/targettest"
)

type mutation struct {
	name   string
	rule   string // that must be broken; others may be too
	mutate func(m *mutant)
}

func mutations() []mutation {
	return []mutation{
		{"adds a line end", "what was put can be read back byte for byte", func(m *mutant) {
			m.put = m.changed(func(b []byte) []byte { return append(b, '\n') })
		}},
		{"does not keep empty objects", "what was put can be read back byte for byte", func(m *mutant) {
			put := m.Memory.Put
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				content, err := io.ReadAll(r)
				if err == nil && len(content) == 0 {
					return nil
				}
				return put(ctx, key, io.MultiReader(bytes.NewReader(content), failing{err}))
			}
		}},
		{"keeps 1 MiB at most", "an object of many megabytes is kept whole", func(m *mutant) {
			m.put = m.changed(func(b []byte) []byte { return b[:min(len(b), 1<<20)] })
		}},
		{"flips a bit behind the first half MiB", "an object of many megabytes is kept whole", func(m *mutant) {
			m.put = m.changed(func(b []byte) []byte {
				if len(b) > 1<<20 {
					b[1<<19] ^= 1
				}
				return b
			})
		}},
		{"takes a short read for the end", "a reader of any legal shape is read to its end", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				var content []byte
				for buf := make([]byte, 64); ; {
					n, err := r.Read(buf)
					content = append(content, buf[:n]...)
					if err != nil && err != io.EOF {
						return fmt.Errorf("put %q: %w", key, err)
					}
					if err == io.EOF || n < len(buf) {
						return m.Memory.Put(ctx, key, bytes.NewReader(content))
					}
				}
			}
		}},
		{"loses bytes that come with io.EOF", "a reader of any legal shape is read to its end", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				var content []byte
				for buf := make([]byte, 4096); ; {
					n, err := r.Read(buf)
					if err == io.EOF {
						return m.Memory.Put(ctx, key, bytes.NewReader(content))
					}
					if err != nil {
						return fmt.Errorf("put %q: %w", key, err)
					}
					content = append(content, buf[:n]...)
				}
			}
		}},
		{"keeps what came before the reader's error", "an error of the reader aborts, is wrapped and leaves nothing behind", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				content, err := io.ReadAll(r)
				return errors.Join(m.Memory.Put(ctx, key, bytes.NewReader(content)), err)
			}
		}},
		{"hides the reader's error", "an error of the reader aborts, is wrapped and leaves nothing behind", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				content, err := io.ReadAll(r)
				if err != nil {
					return fmt.Errorf("put %q: upload failed", key)
				}
				return m.Memory.Put(ctx, key, bytes.NewReader(content))
			}
		}},
		{"takes any error that matches io.EOF for the end", "an error of the reader aborts, is wrapped and leaves nothing behind", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				content, err := io.ReadAll(r)
				if err != nil && !errors.Is(err, io.EOF) {
					return fmt.Errorf("put %q: %w", key, err)
				}
				return m.Memory.Put(ctx, key, bytes.NewReader(content))
			}
		}},
		{"reads on after Put", "Put does not use its reader after it returned", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				err := m.Memory.Put(ctx, key, r)
				go func() { _, _ = r.Read(make([]byte, 1)) }()
				return err
			}
		}},
		{"overwrites", "an existing key is refused with fs.ErrExist and left as it was", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				content, err := io.ReadAll(r)
				if err != nil {
					return fmt.Errorf("put %q: %w", key, err)
				}
				return m.replace(key, string(content))
			}
		}},
		{"accepts the same content again", "an existing key is refused with fs.ErrExist and left as it was", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				content, err := io.ReadAll(r)
				if err != nil {
					return fmt.Errorf("put %q: %w", key, err)
				}
				if old, err := m.Memory.Open(ctx, key); err == nil {
					if was, _ := io.ReadAll(old); bytes.Equal(was, content) {
						return nil
					}
				}
				return m.Memory.Put(ctx, key, bytes.NewReader(content))
			}
		}},
		{"looks before it reads and not after", "of many concurrent Puts of one key exactly one wins", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				if _, err := m.Memory.Stat(ctx, key); !errors.Is(err, fs.ErrNotExist) {
					return m.Memory.Put(ctx, key, r)
				}
				content, err := io.ReadAll(r)
				if err != nil {
					return fmt.Errorf("put %q: %w", key, err)
				}
				return m.replace(key, string(content))
			}
		}},
		{"lets one Put end at a time and tells the others nothing useful", "of many concurrent Puts of one key exactly one wins", func(m *mutant) {
			var mu sync.Mutex
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				if !mu.TryLock() {
					return fmt.Errorf("put %q: busy", key)
				}
				defer mu.Unlock()
				return m.Memory.Put(ctx, key, r)
			}
		}},
		{"does one Put at a time and refuses others", "different keys can be put and deleted at the same time", func(m *mutant) {
			var mu sync.Mutex
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				if !mu.TryLock() {
					return fmt.Errorf("put %q: busy", key)
				}
				defer mu.Unlock()
				time.Sleep(time.Millisecond)
				return m.Memory.Put(ctx, key, r)
			}
		}},
		{"puts under a cancelled context", "a Put whose context is cancelled already changes nothing", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				return errors.Join(m.Memory.Put(context.WithoutCancel(ctx), key, r), context.Cause(ctx))
			}
		}},
		{"waits for its reader whatever happens", blockedRule, func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				content, err := io.ReadAll(r)
				return m.Memory.Put(ctx, key, io.MultiReader(bytes.NewReader(content), failing{err}))
			}
		}},
		{"returns when cancelled and puts later", blockedRule, func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				done := make(chan error, 1)
				go func() { done <- m.Memory.Put(context.WithoutCancel(ctx), key, r) }()
				select {
				case err := <-done:
					return err
				case <-ctx.Done():
					_ = m.Memory.Put(context.WithoutCancel(ctx), key, strings.NewReader("some bytes"))
					return fmt.Errorf("put %q: %w", key, ctx.Err())
				}
			}
		}},
		{"deletes under a cancelled context", "a Delete whose context is cancelled already changes nothing", func(m *mutant) {
			m.remove = func(ctx context.Context, key string) error {
				return errors.Join(m.Memory.Delete(context.WithoutCancel(ctx), key), context.Cause(ctx))
			}
		}},
		{"ignores a cancelled Delete", "a Delete whose context is cancelled already changes nothing", func(m *mutant) {
			m.remove = func(ctx context.Context, key string) error { return m.Memory.Delete(context.WithoutCancel(ctx), key) }
		}},
		{"lists what is under way", "an unfinished Put can not be seen", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				if err := m.Memory.Put(ctx, key, strings.NewReader("")); err != nil {
					return err
				}
				content, err := io.ReadAll(r)
				if err != nil {
					return errors.Join(fmt.Errorf("put %q: %w", key, err), m.Memory.Delete(context.WithoutCancel(ctx), key))
				}
				return m.replace(key, string(content))
			}
		}},
		{"lists its temporary objects", "an unfinished Put can not be seen", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				temp := strings.ReplaceAll(key, "/", "_") + ".part"
				temp = key[:strings.Index(key, "/")+1] + temp
				_ = m.Memory.Put(ctx, temp, strings.NewReader(""))
				defer m.Memory.Delete(context.WithoutCancel(ctx), temp)
				return m.Memory.Put(ctx, key, r)
			}
		}},
		{"locks everything while it reads", "objects can be read while others are put", func(m *mutant) {
			var mu sync.Mutex
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				mu.Lock()
				defer mu.Unlock()
				return m.Memory.Put(ctx, key, r)
			}
			m.stat = func(ctx context.Context, key string) (runbook.Object, error) {
				mu.Lock()
				defer mu.Unlock()
				return m.Memory.Stat(ctx, key)
			}
		}},

		{"has its own error for a missing key", "a missing key is fs.ErrNotExist", func(m *mutant) {
			m.stat = func(ctx context.Context, key string) (runbook.Object, error) {
				o, err := m.Memory.Stat(ctx, key)
				if errors.Is(err, fs.ErrNotExist) {
					err = fmt.Errorf("stat %q: 404", key)
				}
				return o, err
			}
		}},
		{"opens a missing key as an empty object", "a missing key is fs.ErrNotExist", func(m *mutant) {
			m.open = func(ctx context.Context, key string) (io.ReadCloser, error) {
				r, err := m.Memory.Open(ctx, key)
				if errors.Is(err, fs.ErrNotExist) {
					return io.NopCloser(strings.NewReader("")), nil
				}
				return r, err
			}
		}},
		{"takes a folder for an object", "a missing key is fs.ErrNotExist", func(m *mutant) {
			m.stat = func(ctx context.Context, key string) (runbook.Object, error) {
				for range m.Memory.List(ctx, key+"/") {
					return runbook.Object{Key: key}, nil
				}
				return m.Memory.Stat(ctx, key)
			}
		}},
		{"only pretends to delete", "a deleted key is missing and can be put again", func(m *mutant) {
			m.remove = func(ctx context.Context, _ string) error { return context.Cause(ctx) }
		}},
		{"fails to delete a missing key", "deleting a missing key is no error and harms no other object", func(m *mutant) {
			m.remove = func(ctx context.Context, key string) error {
				if _, err := m.Memory.Stat(ctx, key); err != nil {
					return fmt.Errorf("delete: %w", err)
				}
				return m.Memory.Delete(ctx, key)
			}
		}},
		{"deletes folders", "deleting a missing key is no error and harms no other object", func(m *mutant) {
			m.remove = func(ctx context.Context, key string) error {
				for o := range m.Memory.List(ctx, key+"/") {
					_ = m.Memory.Delete(ctx, o.Key)
				}
				return m.Memory.Delete(ctx, key)
			}
		}},
		{"fails to close twice", "a reader can be closed twice", func(m *mutant) {
			m.open = func(ctx context.Context, key string) (io.ReadCloser, error) {
				r, err := m.Memory.Open(ctx, key)
				if err != nil {
					return nil, err
				}
				return &closesOnce{ReadCloser: r}, nil
			}
		}},
		{"reads on when cancelled", "cancelling the context of Open makes later reads fail", func(m *mutant) {
			m.open = func(ctx context.Context, key string) (io.ReadCloser, error) {
				return m.Memory.Open(context.WithoutCancel(ctx), key)
			}
		}},
		{"fails a range past the end", "a range gives what is there", func(m *mutant) {
			m.ranged = func(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
				if o, err := m.Memory.Stat(ctx, key); err == nil && offset >= o.Size {
					return nil, fmt.Errorf("open %q: 416", key)
				}
				return m.Memory.OpenRange(ctx, key, offset, length)
			}
		}},
		{"takes the length for the end", "a range gives what is there", func(m *mutant) {
			m.ranged = func(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
				if length > 0 {
					length = max(0, length-offset)
				}
				return m.Memory.OpenRange(ctx, key, offset, length)
			}
		}},
		{"lists without sizes", "Stat and List agree on size and time", func(m *mutant) {
			m.list = edited(m, func(o *runbook.Object) { o.Size = 0 })
		}},
		{"lists without times", "Stat and List agree on size and time", func(m *mutant) {
			m.list = edited(m, func(o *runbook.Object) { o.Modified = time.Time{} })
		}},
		{"has no clock", "Stat and List agree on size and time", func(m *mutant) {
			m.Now = func() time.Time { return time.Unix(0, 0) }
		}},
		{"sweeps objects", "a target that can be probed, measured or swept can do so without harm", func(m *mutant) {
			m.sweep = func(ctx context.Context, _ time.Time) (n int, err error) {
				for o := range m.Memory.List(ctx, "") {
					_ = m.Memory.Delete(ctx, o.Key)
				}
				return 0, nil
			}
		}},

		{"sorts folder by folder", "List yields every object once, sorted bytewise across folders", func(m *mutant) {
			m.list = sorted(m, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
		}},
		{"sorts without regard to case", "List yields every object once, sorted bytewise across folders", func(m *mutant) {
			m.list = sorted(m, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
		}},
		{"gives one page only", "List yields every object once, sorted bytewise across folders", func(m *mutant) {
			m.list = func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
				return func(yield func(runbook.Object, error) bool) {
					n := 0
					for o, err := range m.Memory.List(ctx, prefix) {
						if n++; n > 10 || !yield(o, err) {
							return
						}
					}
				}
			}
		}},
		{"takes a prefix for a folder", "a prefix of List is a string and not a folder", func(m *mutant) {
			m.list = func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
				return func(yield func(runbook.Object, error) bool) {
					for o, err := range m.Memory.List(ctx, prefix) {
						whole := prefix == "" || strings.HasSuffix(prefix, "/") || o.Key == prefix || strings.HasPrefix(o.Key, prefix+"/")
						if whole && !yield(o, err) {
							return
						}
					}
				}
			}
		}},
		{"lists one level", "a prefix of List is a string and not a folder", func(m *mutant) {
			m.list = func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
				return func(yield func(runbook.Object, error) bool) {
					for o, err := range m.Memory.List(ctx, prefix) {
						if !strings.Contains(strings.TrimPrefix(o.Key, prefix), "/") && !yield(o, err) {
							return
						}
					}
				}
			}
		}},
		{"yields on after its consumer stopped", "List stops when its consumer does", func(m *mutant) {
			m.list = func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
				return func(yield func(runbook.Object, error) bool) {
					stopped := false
					m.Memory.List(ctx, prefix)(func(o runbook.Object, err error) bool {
						if !stopped {
							stopped = !yield(o, err)
						} else if recovered(func() { yield(o, err) }) {
							return false // a range statement, which cannot be fooled
						}
						return true
					})
				}
			}
		}},
		{"fails when a listed object is gone", "List goes on while objects come and go", func(m *mutant) {
			m.list = func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
				return func(yield func(runbook.Object, error) bool) {
					for o := range m.Memory.List(ctx, prefix) {
						o, err := m.Memory.Stat(ctx, o.Key)
						if !yield(o, err) || err != nil {
							return
						}
					}
				}
			}
		}},

		{"trims spaces", "every valid key can be used", func(m *mutant) {
			put := m.Memory.Put
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				return put(ctx, strings.ReplaceAll(key, "  ", " "), r)
			}
		}},
		{"has shorter names", "every valid key can be used", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				for element := range strings.SplitSeq(key, "/") {
					if len(element) > 250 {
						return fmt.Errorf("put %q: file name too long", key)
					}
				}
				return m.Memory.Put(ctx, key, r)
			}
		}},
		{"is not case-sensitive", "every valid key can be used", func(m *mutant) {
			put := m.Memory.Put
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				if strings.HasSuffix(key, "/CASE") {
					return fmt.Errorf("put %q: %w", key, fs.ErrExist)
				}
				return put(ctx, key, r)
			}
		}},
		{"checks keys in Put only", "an invalid key is refused with fs.ErrInvalid by every method", func(m *mutant) {
			m.stat = func(ctx context.Context, key string) (runbook.Object, error) {
				if runbook.CheckKey(key) != nil {
					return runbook.Object{}, fmt.Errorf("stat %q: %w", key, fs.ErrNotExist)
				}
				return m.Memory.Stat(ctx, key)
			}
		}},
		{"deletes invalid keys", "an invalid key is refused with fs.ErrInvalid by every method", func(m *mutant) {
			m.remove = func(ctx context.Context, key string) error {
				if runbook.CheckKey(key) != nil {
					return nil
				}
				return m.Memory.Delete(ctx, key)
			}
		}},
		{"makes room for a folder", "a key that is a folder of another is kept or refused without harm", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				for o := range m.Memory.List(ctx, key+"/") {
					_ = m.Memory.Delete(ctx, o.Key)
				}
				return m.Memory.Put(ctx, key, r)
			}
		}},
		{"says that a folder exists", "a key that is a folder of another is kept or refused without harm", func(m *mutant) {
			m.put = func(ctx context.Context, key string, r io.Reader) error {
				for range m.Memory.List(ctx, key+"/") {
					return fmt.Errorf("put %q: %w", key, fs.ErrExist)
				}
				return m.Memory.Put(ctx, key, r)
			}
		}},
		{"has bare errors", "an error names its key", func(m *mutant) {
			m.open = func(ctx context.Context, key string) (io.ReadCloser, error) {
				r, err := m.Memory.Open(ctx, key)
				if errors.Is(err, fs.ErrNotExist) {
					err = fs.ErrNotExist
				}
				return r, err
			}
		}},
	}
}

const blockedRule = "a Put whose context is cancelled while its reader blocks returns soon and leaves nothing behind"

func TestEveryMutantBreaksItsRule(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, mutation := range mutations() {
		covered[mutation.rule] = true
		t.Run(mutation.name, func(t *testing.T) {
			t.Parallel()
			m := &mutant{Memory: NewMemory()}
			mutation.mutate(m)
			err := CheckRule(t.Context(), m, mutation.rule, 100*time.Millisecond)
			v, ok := errors.AsType[*Violation](err)
			require.True(t, ok, "the mutant passes: %v", err)
			require.Equal(t, mutation.rule, v.Rule)
		})
	}
	for _, name := range RuleNames() {
		require.True(t, covered[name], "no mutant breaks the rule %q", name)
	}
}

func TestCheckFindsEveryBrokenRule(t *testing.T) {
	m := &mutant{Memory: NewMemory()}
	m.remove = func(ctx context.Context, _ string) error { return context.Cause(ctx) }
	m.Now = func() time.Time { return time.Unix(0, 0) }
	err := Check(t.Context(), m)
	require.ErrorContains(t, err, `rule "a deleted key is missing and can be put again" is broken`)
	require.ErrorContains(t, err, `rule "Stat and List agree on size and time" is broken`)
}

func TestCheckStopsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &mutant{Memory: NewMemory()}
	m.put = func(ctx context.Context, key string, r io.Reader) error {
		err := m.Memory.Put(ctx, key, r)
		cancel()
		return err
	}
	err := Check(ctx, m)
	require.ErrorIs(t, err, context.Canceled)
	_, violated := errors.AsType[*Violation](err)
	require.False(t, violated, "an interrupted rule is not a broken one: %v", err)
	for o := range m.Memory.List(t.Context(), "") {
		t.Errorf("%q is left", o.Key)
	}
}
