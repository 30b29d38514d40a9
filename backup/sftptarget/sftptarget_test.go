package sftptarget_test

import (
	"bytes"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/sftptarget"
	"github.com/runbook-go/runbook/backup/targettest"
	"github.com/runbook-go/runbook/internal/sshtest"
)

// server is a place for a target, whatever serves it.
type server struct {
	sshtest.Access
	root string // as the server knows it
	dir  string // the same place, as the test sees it
}

func inProcess(t testing.TB, o sshtest.Options) (server, *sshtest.Server) {
	t.Helper()
	s := sshtest.Start(t, o)
	return server{s.Access, "/backup", filepath.Join(s.Dir, "backup")}, s
}

func openSSH(t testing.TB) (server, *sshtest.Daemon) {
	t.Helper()
	d := sshtest.Sshd(t)
	dir := filepath.Join(d.Dir, "backup")
	return server{d.Access, filepath.ToSlash(dir), dir}, d
}

func (s server) open(t testing.TB, o sftptarget.Options) *sftptarget.Target {
	t.Helper()
	if o.Root == "" {
		o.Root = s.root
	}
	target, err := sftptarget.Open(t.Context(), s.Addr, s.ClientConfig(), o)
	require.NoError(t, err)
	t.Cleanup(func() { target.Close() })
	return target
}

// files returns every file below the server's directory with its content, whether or not a target would list it.
func (s server) files(t testing.TB) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(s.dir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	require.NoError(t, err)
	return files
}

// unsized hides everything of a reader but Read, as a pipe does.
type unsized struct{ io.Reader }

func text(s string) io.Reader { return unsized{bytes.NewReader([]byte(s))} }

func random(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

// kinds are servers that differ in what they can do.
func kinds() map[string]func(testing.TB) server {
	all := map[string]func(testing.TB) server{
		"sshd": func(t testing.TB) server {
			s, _ := openSSH(t)
			return s
		},
	}
	for name, o := range map[string]sshtest.Options{
		"in process":                {},
		"without extensions":        {Plain: true},
		"whose rename overwrites":   {Plain: true, Overwrite: true},
		"without hard links":        {NoLinks: true},
		"with one session":          {Banner: "SSH-2.0-OpenSSH_test", Sessions: 1},
		"that looks like OpenSSH's": {Banner: "SSH-2.0-OpenSSH_test"},
	} {
		all[name] = func(t testing.TB) server {
			s, _ := inProcess(t, o)
			return s
		}
	}
	return all
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, start := range kinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			target := s.open(t, sftptarget.Options{})
			targettest.Run(t, func(*testing.T) runbook.Target { return target }, &targettest.Options{LargeSize: 5<<20 + 1})
			require.NoError(t, target.Close())
			require.Empty(t, s.files(t), "every temporary file is gone")
		})
	}
}
