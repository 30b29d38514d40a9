package rsynctarget_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/rsynctarget"
)

func TestMirror(t *testing.T) {
	d := startDaemon(t)
	parent := t.TempDir()
	source := filepath.Join(parent, "-rf host:*") // a name that rsync must not see
	for name, content := range map[string]string{
		"Specibike.dump": "one", "sub/-x": "two", "#c": "three", "été/🐘": "four", ".runbook-tmp/put-1": "unfinished",
	} {
		name = filepath.Join(source, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(d.root, "stays"), nil, 0o600))
	want := map[string]string{"stays": "", "Backup/Specibike.dump": "one", "Backup/sub/-x": "two", "Backup/#c": "three", "Backup/été/🐘": "four"}
	o := rsynctarget.Options{Chmod: "ugo=rwX"}
	for range 2 {
		require.NoError(t, rsynctarget.Mirror(t.Context(), source, d.url("store/Backup"), o))
		require.Equal(t, want, tree(t, d.root))
	}
	info, err := os.Stat(filepath.Join(d.root, "Backup", "Specibike.dump"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o666), info.Mode().Perm())
	info, err = os.Stat(filepath.Join(d.root, "Backup", "sub"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o777), info.Mode().Perm())

	require.NoError(t, os.WriteFile(filepath.Join(source, "Specibike.dump"), []byte("changed"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(source, "#c")))
	want["Backup/Specibike.dump"] = "changed"
	require.NoError(t, rsynctarget.Mirror(t.Context(), source, d.url("store/Backup"), o))
	require.Equal(t, want, tree(t, d.root))
}

func TestMirrorRefuses(t *testing.T) {
	d := startDaemon(t)
	err := rsynctarget.Mirror(t.Context(), filepath.Join(t.TempDir(), "absent"), d.url("store"), rsynctarget.Options{})
	require.ErrorIs(t, err, fs.ErrNotExist)

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, rsynctarget.Mirror(t.Context(), file, d.url("store"), rsynctarget.Options{}), "is not a directory")

	err = rsynctarget.Mirror(t.Context(), t.TempDir(), d.url("readonly"), rsynctarget.Options{})
	_, ok := errors.AsType[*rsynctarget.Error](err)
	require.True(t, ok, err)
	require.Empty(t, tree(t, d.root))
}
