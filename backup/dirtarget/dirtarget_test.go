package dirtarget_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/targettest"
)

func open(t *testing.T) (*dirtarget.Target, string) {
	t.Helper()
	dir := t.TempDir()
	target, err := dirtarget.Open(dir, dirtarget.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, target.Close()) })
	return target, dir
}

func suite() *targettest.Options {
	return &targettest.Options{PortableKeys: runtime.GOOS == "windows" || runtime.GOOS == "darwin"}
}

func TestContract(t *testing.T) {
	targettest.Run(t, func(t *testing.T) runbook.Target {
		target, dir := open(t)
		t.Cleanup(func() {
			_ = os.Remove(filepath.Join(dir, ".runbook-tmp")) // if it is empty
			requireTree(t, dir)
		})
		return target
	}, suite())
}

func TestContractWithoutHardLinks(t *testing.T) {
	o := suite()
	o.LargeSize = 1 << 20
	targettest.Run(t, func(t *testing.T) runbook.Target {
		target, dir := open(t)
		target.SetLink(func(string, string) error { return errors.ErrUnsupported })
		t.Cleanup(func() {
			_ = os.Remove(filepath.Join(dir, ".runbook-tmp")) // if it is empty
			requireTree(t, dir)
		})
		return target
	}, o)
}

func TestAnObjectIsAPlainFile(t *testing.T) {
	old := umask(0o077)
	defer umask(old)
	dir := t.TempDir()
	target, err := dirtarget.Open(dir, dirtarget.Options{FileMode: 0o644, DirMode: 0o750})
	require.NoError(t, err)
	defer target.Close()
	put(t, target, "a/b/c", "content")
	data, err := os.ReadFile(filepath.Join(dir, "a", "b", "c"))
	require.NoError(t, err)
	require.Equal(t, "content", string(data))
	requireTree(t, dir, ".runbook-tmp/", "a/", "a/b/", "a/b/c")
	requireMode(t, filepath.Join(dir, "a", "b", "c"), 0o644)
	requireMode(t, filepath.Join(dir, "a"), 0o700) // less the umask
}

func TestModesArePrivateByDefault(t *testing.T) {
	old := umask(0)
	defer umask(old)
	target, dir := open(t)
	put(t, target, "a/b", "content")
	requireMode(t, filepath.Join(dir, "a", "b"), 0o600)
	requireMode(t, filepath.Join(dir, "a"), 0o700)
	requireMode(t, filepath.Join(dir, ".runbook-tmp"), 0o700)
}

func TestEveryFolderUpToTheRootIsSynced(t *testing.T) {
	target, dir := open(t)
	var synced []string
	was := target.SetSyncDir(nil)
	target.SetSyncDir(func(root *os.Root, dir string) error {
		synced = append(synced, dir)
		return was(root, dir)
	})
	put(t, target, "a/b/c", "content")
	require.Equal(t, []string{"a/b", "a", "."}, synced)
	synced = nil
	require.NoError(t, target.Delete(t.Context(), "a/b/c"))
	require.Contains(t, synced, ".", "the folders above are removed")
	requireTree(t, dir, ".runbook-tmp/")
	synced = nil
	require.NoError(t, target.Delete(t.Context(), "a/b/c"))
	require.Contains(t, synced, ".", "who deleted it may have been killed before its sync")
}

func TestAnObjectThatCannotBeMadeDurableIsNotSeen(t *testing.T) {
	target, dir := open(t)
	target.SetSyncDir(func(*os.Root, string) error { return syscall.EIO })
	require.ErrorIs(t, target.Put(t.Context(), "a", strings.NewReader("content")), syscall.EIO)
	requireTree(t, dir, ".runbook-tmp/")
}

func TestAFullDiskNamesTheFix(t *testing.T) {
	target, dir := open(t)
	target.SetLink(func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: diskFull} })
	err := target.Put(t.Context(), "a", strings.NewReader("content"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "free space on the disk of "+dir)
	requireTree(t, dir, ".runbook-tmp/")

	err = target.Put(t.Context(), "a", io.MultiReader(strings.NewReader("x"), failing{syscall.ENOSPC}))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NotContains(t, err.Error(), "free space", "the reader's disk is full, not ours")
}

func TestNothingOutsideIsReached(t *testing.T) {
	ctx := t.Context()
	target, dir := open(t)
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	put(t, target, "inside/object", "content")
	for link, to := range map[string]string{
		"folder": outside, "file": secret, "up": "..", "inner": "inside", "innerfile": "inside/object", "dangling": filepath.Join(outside, "new"),
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatalf("cannot make a symbolic link here: %v", err)
		}
	}
	for _, key := range []string{"folder/secret", "file", "up/x", "inner/object", "innerfile", "dangling", "folder/new", "inner/new"} {
		_, err := target.Stat(ctx, key)
		require.ErrorIs(t, err, fs.ErrNotExist, key)
		_, err = target.Open(ctx, key)
		require.ErrorIs(t, err, fs.ErrNotExist, key)
		require.NoError(t, target.Delete(ctx, key), key)
		err = target.Put(ctx, key, strings.NewReader("x"))
		require.ErrorIs(t, err, errors.ErrUnsupported, key)
		require.NotErrorIs(t, err, fs.ErrExist, key)
	}
	for _, prefix := range []string{"", "folder/", "folder/se", "up/", "inner/", "../", "inside/../"} {
		for o, err := range target.List(ctx, prefix) {
			require.NoError(t, err)
			require.Equal(t, "inside/object", o.Key)
			require.Equal(t, "", prefix)
		}
	}
	requireTree(t, outside, "secret")
	requireTree(t, dir, ".runbook-tmp/", "dangling", "file", "folder", "inner", "innerfile", "inside/", "inside/object", "up")
}

// Somebody who can write to the directory replaces a folder by a link while objects are put.
func TestAFolderThatBecomesALinkDoesNotLeadOut(t *testing.T) {
	ctx := t.Context()
	target, dir := open(t)
	outside := t.TempDir()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.RemoveAll(filepath.Join(dir, "folder"))
				_ = os.Symlink(outside, filepath.Join(dir, "folder"))
				_ = os.Remove(filepath.Join(dir, "folder"))
			}
		}
	})
	for range 300 {
		_ = target.Put(ctx, "folder/key", strings.NewReader("x"))
		_ = target.Delete(ctx, "folder/key")
	}
	close(stop)
	wg.Wait()
	requireTree(t, outside)
}

func TestOnlyRegularFilesWithValidNamesAreListed(t *testing.T) {
	target, dir := open(t)
	put(t, target, "object", "content")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "empty", "folder"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub", ".runbook-x"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", ".runbook-x", "y"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".runbook-tmp", "put-x"), nil, 0o600))
	if runtime.GOOS != "windows" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "line\nbreak"), nil, 0o600))
		makeFIFO(t, filepath.Join(dir, "fifo"))
		_, err := target.Open(t.Context(), "fifo")
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.Equal(t, []string{"object"}, keys(t, target, ""))
	put(t, target, "empty", "content") // nothing but empty folders was in the way
	require.Equal(t, []string{"empty", "object"}, keys(t, target, ""))
}

func TestAFileCannotBeAFolder(t *testing.T) {
	ctx := t.Context()
	target, _ := open(t)
	put(t, target, "a/b", "content")
	err := target.Put(ctx, "a", strings.NewReader("x"))
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, `put "a": a folder has that name`)
	err = target.Put(ctx, "a/b/c/d", strings.NewReader("x"))
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, `"a/b" is not a folder`)
}

// Deletes remove the folder that Puts need.
func TestPutsSurviveDeletesOfTheirFolder(t *testing.T) {
	ctx := t.Context()
	target, dir := open(t)
	target.SetSyncDir(func(*os.Root, string) error { return nil })
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			key := "deep/down/here/" + string(rune('a'+i))
			for range 300 {
				if err := errors.Join(target.Put(ctx, key, strings.NewReader(key)), target.Delete(ctx, key)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, target.Delete(ctx, "deep/down/here/a"))
	requireTree(t, dir, ".runbook-tmp/")
}

func TestSweepRemovesOldTemporaryFilesOnly(t *testing.T) {
	ctx := t.Context()
	target, dir := open(t)
	n, err := target.Sweep(ctx, time.Now())
	require.NoError(t, err, "there is no folder of temporary files yet")
	require.Zero(t, n)
	put(t, target, "object", "content")
	old, young := filepath.Join(dir, ".runbook-tmp", "put-old"), filepath.Join(dir, ".runbook-tmp", "put-young")
	for _, name := range []string{old, young} {
		require.NoError(t, os.WriteFile(name, []byte("cut"), 0o600))
	}
	hour := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(old, hour, hour))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "object"), hour, hour))
	n, err = target.Sweep(ctx, time.Now().Add(-time.Minute))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	requireTree(t, dir, ".runbook-tmp/", ".runbook-tmp/put-young", "object")
}

func TestALockOfAKilledWriterIsNamedAndSwept(t *testing.T) {
	ctx := t.Context()
	target, dir := open(t)
	target.SetLink(func(string, string) error { return errors.ErrUnsupported })
	target.SetSyncDir(func(*os.Root, string) error { return nil })
	put(t, target, "first", "x")
	lock := filepath.Join(dir, ".runbook-tmp", dirtarget.LockName("key"))
	require.NoError(t, os.WriteFile(lock, nil, 0o600))
	target.SetPatience(30 * time.Millisecond)
	err := target.Put(ctx, "key", strings.NewReader("x"))
	require.ErrorContains(t, err, lock)
	require.NotErrorIs(t, err, fs.ErrExist, "the key does not exist")
	put(t, target, "other", "x")
	n, err := target.Sweep(ctx, time.Now().Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	put(t, target, "key", "x")
}

func TestProbeAndFreeSpace(t *testing.T) {
	target, dir := open(t)
	require.NoError(t, target.Probe(t.Context()))
	requireTree(t, dir, ".runbook-tmp/")
	free, err := target.FreeSpace(t.Context())
	if !errors.Is(err, errors.ErrUnsupported) {
		require.NoError(t, err)
		require.Positive(t, free)
	}
}

func TestOpenAMissingDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	_, err := dirtarget.Open(dir, dirtarget.Options{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, dir)
	target, err := dirtarget.Open(dir, dirtarget.Options{Create: true})
	require.NoError(t, err)
	require.NoError(t, target.Close())
	requireMode(t, dir, 0o700)
}

func TestOpenURL(t *testing.T) {
	ctx := t.Context()
	var mux runbook.TargetMux
	mux.Handle("file", dirtarget.OpenURL, dirtarget.URLKeys()...)
	temp := t.TempDir()
	dir := "/" + strings.TrimPrefix(filepath.ToSlash(temp), "/")
	target, err := mux.Open(ctx, "file://"+dir+"/with%20space?create=true")
	require.NoError(t, err)
	put(t, target, "a", "x")
	require.NoError(t, target.(io.Closer).Close())
	requireTree(t, filepath.Join(temp, "with space"), ".runbook-tmp/", "a")
	for url, want := range map[string]string{
		"file://" + dir + "/missing":            "make it",
		"file://server" + dir:                   "three slashes",
		"file:relative":                         "not absolute",
		"file://" + dir + "/x?create=perhaps":   "neither true nor false",
		"file://" + dir + "/x?color=blue":       "unknown query key",
		"file://" + dir + "/missing?create=":    "make it",
		"file://localhost" + dir + "/not-there": "make it",
	} {
		target, err := mux.Open(ctx, url)
		require.ErrorContains(t, err, want, url)
		require.Nil(t, target)
	}
}

func put(t *testing.T, target runbook.Target, key, content string) {
	t.Helper()
	require.NoError(t, target.Put(t.Context(), key, strings.NewReader(content)))
}

func keys(t *testing.T, target runbook.Target, prefix string) (keys []string) {
	t.Helper()
	for o, err := range target.List(t.Context(), prefix) {
		require.NoError(t, err)
		keys = append(keys, o.Key)
	}
	return keys
}

// requireTree checks everything that is on the disk below dir. Names of folders end with a slash.
func requireTree(t *testing.T, dir string, want ...string) {
	t.Helper()
	got := []string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		name, err = filepath.Rel(dir, name)
		if name = filepath.ToSlash(name); d.IsDir() {
			name += "/"
		}
		got = append(got, name)
		return err
	}))
	slices.Sort(got)
	require.Equal(t, append([]string{}, want...), got)
}

func requireMode(t *testing.T, name string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, want, info.Mode().Perm(), name)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
