package atomicfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/atomicfile"
)

func TestWriteFileReplacesAndSetsTheMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, atomicfile.WriteFile(name, []byte("one"), 0))
	mode(t, name, 0o600)
	require.NoError(t, atomicfile.WriteFile(name, []byte("two"), 0o666))
	mode(t, name, 0o666)
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "two", string(data))
	onlyFile(t, name)
}

func TestAnErrorOfTheWriterLeavesTheOldContent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, atomicfile.WriteFile(name, []byte("old"), 0))
	root, err := os.OpenRoot(filepath.Dir(name))
	require.NoError(t, err)
	defer root.Close()
	boom := errors.New("boom")
	err = atomicfile.WriteIn(root, "state.json", 0, func(w io.Writer) error {
		_, _ = io.WriteString(w, "ne")
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.ErrorContains(t, err, "state.json")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
	onlyFile(t, name)
}

func TestConcurrentWritersLeaveOneWholeContent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state.json")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := atomicfile.WriteFile(name, []byte(strings.Repeat(string(rune('a'+i)), 100_000)), 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat(string(data[0]), 100_000), string(data))
	onlyFile(t, name)
}

func TestAMissingDirectoryIsNamed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "missing", "state.json")
	err := atomicfile.WriteFile(name, nil, 0)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, name)
}

func TestASymbolicLinkCannotLeaveTheRoot(t *testing.T) {
	outside, inside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(inside, "link")); err != nil {
		t.Fatalf("cannot make a symbolic link here: %v", err)
	}
	root, err := os.OpenRoot(inside)
	require.NoError(t, err)
	defer root.Close()
	require.Error(t, atomicfile.WriteFileIn(root, "link/file", []byte("x"), 0))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestSyncDir(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	require.NoError(t, err)
	defer root.Close()
	require.NoError(t, root.MkdirAll("a/b", 0o700))
	require.NoError(t, atomicfile.SyncDir(root, "a/b"))
	require.NoError(t, atomicfile.SyncDir(root, "."))
	if runtime.GOOS != "windows" {
		require.ErrorIs(t, atomicfile.SyncDir(root, "missing"), fs.ErrNotExist)
	}
}

func mode(t *testing.T, name string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, want, info.Mode().Perm())
	}
}

func onlyFile(t *testing.T, name string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	require.Len(t, entries, 1, "temporary files are left")
}
