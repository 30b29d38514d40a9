package sftptarget_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/sftptarget"
	"github.com/runbook-go/runbook/internal/sshtest"
)

func TestLargeObjectTravelsOverAllSessions(t *testing.T) {
	t.Parallel()
	data := random(9<<20 + 7)
	for name, start := range kinds() {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			target := s.open(t, sftptarget.Options{VerifyRemote: name == "sshd"})
			require.NoError(t, target.Put(t.Context(), "a/large", unsized{bytes.NewReader(data)}))
			require.Equal(t, map[string]string{"a/large": string(data)}, s.files(t))
			r, err := target.Open(t.Context(), "a/large")
			require.NoError(t, err)
			defer r.Close()
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
			r, err = target.OpenRange(t.Context(), "a/large", 3<<20+1, 5<<20)
			require.NoError(t, err)
			defer r.Close()
			got, err = io.ReadAll(r)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data[3<<20+1:][:5<<20], got))
		})
	}
}

// What the real server was asked for, in its own words.
func TestFlushedBeforeAndAfterItIsNamed(t *testing.T) {
	t.Parallel()
	d := sshtest.LoggingSshd(t)
	s := server{d.Access, filepath.Join(d.Dir, "backup"), filepath.Join(d.Dir, "backup")}
	target := s.open(t, sftptarget.Options{})
	require.NoError(t, target.Put(t.Context(), "key", unsized{bytes.NewReader(random(300 << 10))}))
	var order []string
	for _, m := range regexp.MustCompile(`(?m)request \d+: (write|fsync|hardlink|remove)`).FindAllStringSubmatch(d.Log(t), -1) {
		if len(order) == 0 || order[len(order)-1] != m[1] {
			order = append(order, m[1])
		}
	}
	got := strings.Join(order, " ")
	require.Regexp(t, `^write fsync hardlink (fsync remove|remove fsync)$`, got)
	require.Contains(t, d.Log(t), `flags WRITE,CREATE,EXCL`)

	// Once the further sessions are there, a large object is written by all of them.
	n := 0
	require.Eventually(t, func() bool {
		n++
		require.NoError(t, target.Put(t.Context(), fmt.Sprint("large/", n), unsized{bytes.NewReader(random(4 << 20))}))
		return strings.Count(d.Log(t), "flags WRITE ") >= 3
	}, patience, time.Millisecond)
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps no permission bits")
	}
	for _, kind := range []string{"sshd", "in process"} {
		for _, c := range []struct{ file, dir, wantFile, wantDir fs.FileMode }{{0, 0, 0o600, 0o700}, {0o640, 0o750, 0o640, 0o750}} {
			t.Run(fmt.Sprint(kind, c.wantFile), func(t *testing.T) {
				s := kinds()[kind](t)
				target := s.open(t, sftptarget.Options{FileMode: c.file, DirMode: c.dir})
				require.NoError(t, target.Put(t.Context(), "a/b/c", text("x")))
				for name, want := range map[string]fs.FileMode{"": c.wantDir, "a": c.wantDir, "a/b": c.wantDir, "a/b/c": c.wantFile, ".runbook-tmp": 0o700} {
					info, err := os.Stat(filepath.Join(s.dir, name))
					require.NoError(t, err)
					require.Equal(t, want, info.Mode().Perm(), name)
				}
			})
		}
	}
}

func TestMinFree(t *testing.T) {
	t.Parallel()
	s, fake := inProcess(t, sshtest.Options{})
	target := s.open(t, sftptarget.Options{MinFree: 1000})
	fake.SetFree(999)
	r := &counting{r: text("x")}
	err := target.Put(t.Context(), "key", r)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "999 bytes free")
	require.Zero(t, r.calls.Load(), "refused before anything is read")
	require.Empty(t, s.files(t))
	fake.SetFree(1001)
	require.NoError(t, target.Put(t.Context(), "key", r))
	free, err := target.FreeSpace(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1000, free)

	s, _ = inProcess(t, sshtest.Options{Plain: true})
	target = s.open(t, sftptarget.Options{MinFree: 1 << 50})
	_, err = target.FreeSpace(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, target.Put(t.Context(), "key", text("x")), "ignored where the server cannot tell")

	s, _ = openSSH(t)
	free, err = s.open(t, sftptarget.Options{}).FreeSpace(t.Context())
	require.NoError(t, err, "though the root is not there yet")
	require.Positive(t, free)
}

type counting struct {
	r     io.Reader
	calls atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	c.calls.Add(1)
	return c.r.Read(p)
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sshtest.Options{"with extensions": {}, "without": {Plain: true}, "striped": {Banner: "SSH-2.0-OpenSSH_x"}} {
		t.Run(name, func(t *testing.T) {
			s, fake := inProcess(t, o)
			target := s.open(t, sftptarget.Options{})
			fake.SetFree(3 << 20)
			err := target.Put(t.Context(), "dir/key", unsized{bytes.NewReader(random(8 << 20))})
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, "disk is full")
			require.Empty(t, s.files(t), "nothing visible, no temporary file")
			fake.SetFree(-1)
			require.NoError(t, target.Put(t.Context(), "dir/key", text("x")), "the next one heals")
		})
	}
}

// A quota or a bug makes the server say just "failure" while there is space.
func TestRefusedWriteIsNotTakenForAFullDisk(t *testing.T) {
	t.Parallel()
	s, fake := inProcess(t, sshtest.Options{Before: func(op, _ string) error {
		if op == "write" {
			return errors.New("not today")
		}
		return nil
	}})
	target := s.open(t, sftptarget.Options{})
	err := target.Put(t.Context(), "key", text("x"))
	require.ErrorContains(t, err, "not today")
	require.NotErrorIs(t, err, syscall.ENOSPC)
	fake.SetFree(1000)
	require.ErrorIs(t, target.Put(t.Context(), "key", text("x")), syscall.ENOSPC, "the server does not say so, but it is the reason")
}

func TestServerThatLosesBytesIsFound(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(path string) error{
		"cut":     func(path string) error { return os.Truncate(path, 5) },
		"changed": func(path string) error { return os.WriteFile(path, []byte("CONTENT OF THE OBJECT"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			var fake *sshtest.Server
			o := sshtest.Options{Commands: true, Before: func(op, path string) error {
				if op == "stat" && strings.Contains(path, ".runbook-tmp/") { // the size check
					return lose(filepath.Join(fake.Dir, path))
				}
				return nil
			}}
			var s server
			s, fake = inProcess(t, o)
			target := s.open(t, sftptarget.Options{VerifyRemote: true, Root: "backup it's"})
			s.dir = filepath.Join(fake.Dir, "backup it's")
			err := target.Put(t.Context(), "key", text("content of the object"))
			require.ErrorContains(t, err, map[string]string{"cut": "5 bytes of the 21", "changed": "SHA-256"}[name])
			require.Empty(t, s.files(t))
		})
	}
	s, _ := inProcess(t, sshtest.Options{Commands: true})
	require.NoError(t, s.open(t, sftptarget.Options{VerifyRemote: true, Root: "it's"}).Put(t.Context(), "key", text("x")))
	s, _ = inProcess(t, sshtest.Options{})
	require.ErrorContains(t, s.open(t, sftptarget.Options{VerifyRemote: true}).Put(t.Context(), "key", text("x")), "does not run sha256sum")
}

// Two programs, so that no lock of ours keeps them apart.
func TestTwoTargetsOneKey(t *testing.T) {
	t.Parallel()
	for name, start := range kinds() {
		if name == "whose rename overwrites" {
			continue // documented: only within one Target
		}
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for round := range 5 {
				key := fmt.Sprint("new/", round)
				var wait sync.WaitGroup
				var won atomic.Int64
				for i := range 6 {
					target := s.open(t, sftptarget.Options{})
					wait.Go(func() {
						err := target.Put(t.Context(), key, text(fmt.Sprint("writer ", i)))
						if err == nil {
							won.Add(1)
						} else {
							require.ErrorIs(t, err, fs.ErrExist)
						}
					})
				}
				wait.Wait()
				require.EqualValues(t, 1, won.Load())
			}
			require.Len(t, s.files(t), 5)
		})
	}
}

// A Put that was given up while its name was on the way leaves nothing, and takes nothing away from a later Put of the same key.
func TestCancelWhileItIsNamed(t *testing.T) {
	t.Parallel()
	for _, naming := range []string{"link", "rename"} {
		t.Run(naming, func(t *testing.T) {
			reached, written, goOn := make(chan struct{}), make(chan struct{}, 2), make(chan struct{})
			var once sync.Once
			s, _ := inProcess(t, sshtest.Options{Plain: naming == "rename", Before: func(op, _ string) error {
				switch op {
				case naming:
					once.Do(func() {
						close(reached)
						<-goOn
					})
				case "write":
					written <- struct{}{}
				}
				return nil
			}})
			target := s.open(t, sftptarget.Options{Connections: 2}) // as a held up request holds up its session
			ctx, cancel := context.WithCancel(t.Context())
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { first <- target.Put(ctx, "key", text("first")) }()
			<-reached
			<-written
			cancel()
			select {
			case err := <-first:
				require.ErrorIs(t, err, context.Canceled)
			case <-time.After(5 * time.Second):
				t.Fatal("Put has not returned 5 s after it was cancelled")
			}
			go func() { second <- target.Put(t.Context(), "key", text("second")) }()
			<-written
			close(goOn)
			require.NoError(t, <-second)
			require.NoError(t, target.Close())
			require.Equal(t, map[string]string{"key": "second"}, s.files(t))
		})
	}
}

func TestCancelBeforeItIsNamed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var named atomic.Bool
	s, _ := inProcess(t, sshtest.Options{Before: func(op, path string) error {
		if op == "stat" && strings.Contains(path, ".runbook-tmp/") { // the size check, when everything is written
			cancel()
		}
		if op == "link" {
			named.Store(true)
		}
		return nil
	}})
	target := s.open(t, sftptarget.Options{})
	require.ErrorIs(t, target.Put(ctx, "key", text("x")), context.Canceled)
	require.NoError(t, target.Close())
	require.False(t, named.Load())
	require.Empty(t, s.files(t))
}

// Somebody else puts the key in the last moment, when everything has been looked at.
func TestNameTakenInTheLastMoment(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]sshtest.Options{"link": {}, "rename": {Plain: true}} {
		t.Run(name, func(t *testing.T) {
			var s server
			o.Before = func(op, _ string) error {
				if op == "link" || op == "rename" || op == "posix-rename" {
					return os.WriteFile(filepath.Join(s.dir, "key"), []byte("theirs"), 0o600)
				}
				return nil
			}
			s, _ = inProcess(t, o)
			err := s.open(t, sftptarget.Options{}).Put(t.Context(), "key", text("ours"))
			require.ErrorIs(t, err, fs.ErrExist)
			require.Equal(t, map[string]string{"key": "theirs"}, s.files(t))
		})
	}
}

func TestReaderErrorIsNotTheLinks(t *testing.T) {
	t.Parallel()
	s, fake := inProcess(t, sshtest.Options{})
	target := s.open(t, sftptarget.Options{})
	err := target.Put(t.Context(), "key", io.MultiReader(text("x"), readerFunc(func([]byte) (int, error) {
		return 0, fmt.Errorf("dump ended: %w", io.EOF)
	})))
	require.ErrorContains(t, err, "dump ended")
	_, ok := errors.AsType[*sftptarget.LinkError](err)
	require.False(t, ok)
	require.Equal(t, 1, fake.Connections())
	require.Empty(t, s.files(t))
}

func TestCancelledPutHarmsNoOther(t *testing.T) {
	t.Parallel()
	s, _ := openSSH(t)
	target := s.open(t, sftptarget.Options{})
	data := random(16 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	other := make(chan error, 1)
	go func() { other <- target.Put(t.Context(), "other", pr) }()
	_, err := pw.Write(data[:4<<20])
	require.NoError(t, err)

	endless := make(chan error, 1)
	var passed atomic.Int64
	go func() {
		endless <- target.Put(ctx, "endless", readerFunc(func(p []byte) (int, error) {
			passed.Add(int64(len(p)))
			return len(p), nil
		}))
	}()
	require.Eventually(t, func() bool { return passed.Load() > 8<<20 }, 20*time.Second, time.Millisecond)
	cancel()
	select {
	case err := <-endless:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(5 * time.Second):
		t.Fatal("Put has not returned 5 s after it was cancelled")
	}
	_, err = pw.Write(data[4<<20:])
	require.NoError(t, err)
	require.NoError(t, pw.Close())
	require.NoError(t, <-other)
	require.NoError(t, target.Close())
	require.Equal(t, map[string]string{"other": string(data)}, s.files(t))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestSweep(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sshd", "without extensions"} {
		t.Run(kind, func(t *testing.T) {
			s := kinds()[kind](t)
			target := s.open(t, sftptarget.Options{})
			n, err := target.Sweep(t.Context(), time.Now())
			require.NoError(t, err, "nothing there yet")
			require.Zero(t, n)
			require.NoError(t, target.Put(t.Context(), "key", text("x")))
			old, young := filepath.Join(s.dir, ".runbook-tmp", "old"), filepath.Join(s.dir, ".runbook-tmp", "young")
			require.NoError(t, os.WriteFile(old, []byte("x"), 0o600))
			require.NoError(t, os.WriteFile(young, []byte("x"), 0o600))
			require.NoError(t, os.Chtimes(old, time.Now(), time.Now().Add(-2*time.Hour)))
			n, err = target.Sweep(t.Context(), time.Now().Add(-time.Hour))
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Equal(t, map[string]string{"key": "x", ".runbook-tmp/young": "x"}, s.files(t))
		})
	}
}

func TestDirectoriesRemovedByOthersAreMadeAgain(t *testing.T) {
	t.Parallel()
	s, _ := openSSH(t)
	target := s.open(t, sftptarget.Options{})
	require.NoError(t, target.Put(t.Context(), "a/b/first", text("x")))
	require.NoError(t, os.RemoveAll(filepath.Join(s.dir, "a")))
	require.NoError(t, target.Put(t.Context(), "a/b/second", text("y")))
	require.NoError(t, os.RemoveAll(s.dir))
	require.NoError(t, target.Put(t.Context(), "a/b/third", text("z")))
	require.Equal(t, map[string]string{"a/b/third": "z"}, s.files(t))
}

func TestProbe(t *testing.T) {
	t.Parallel()
	s, _ := openSSH(t)
	require.NoError(t, s.open(t, sftptarget.Options{}).Probe(t.Context()))
	require.Empty(t, s.files(t))
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "file"), nil, 0o600))
	err := s.open(t, sftptarget.Options{Root: s.root + "/file"}).Probe(t.Context())
	require.ErrorContains(t, err, "probe "+s.Addr)
}

func TestMemoryOfAPutIsBounded(t *testing.T) {
	t.Parallel()
	s, _ := openSSH(t)
	target := s.open(t, sftptarget.Options{InFlight: 1 << 20})
	var passed, most atomic.Int64
	var sizes sync.Map // distinct buffers, by address
	err := target.Put(t.Context(), "key", io.LimitReader(readerFunc(func(p []byte) (int, error) {
		if _, seen := sizes.LoadOrStore(&p[0], true); !seen && len(p) > 200<<10 {
			most.Add(int64(len(p)))
		}
		passed.Add(int64(len(p)))
		return len(p), nil
	}), 40<<20))
	require.NoError(t, err)
	require.LessOrEqual(t, most.Load(), int64(1<<20), "bytes of all buffers that the reader was given")
}
