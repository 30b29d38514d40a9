package sshtest_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/runbook-go/runbook/internal/sshtest"
)

func client(t *testing.T, access sshtest.Access) *sftp.Client {
	t.Helper()
	conn, err := ssh.Dial("tcp", access.Addr, access.ClientConfig())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	c, err := sftp.NewClient(conn)
	require.NoError(t, err)
	return c
}

func put(t *testing.T, c *sftp.Client, path, text string) error {
	t.Helper()
	f, err := c.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write([]byte(text))
	return err
}

func TestServer(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	c := client(t, s.Access)
	require.NoError(t, c.Mkdir("/d"))
	require.NoError(t, put(t, c, "/d/a", "text"))
	require.Error(t, put(t, c, "/d/a", "other"), "O_EXCL")
	got, err := os.ReadFile(filepath.Join(s.Dir, "d", "a"))
	require.NoError(t, err)
	require.Equal(t, "text", string(got))
	f, err := c.Open("/d/a")
	require.NoError(t, err)
	got, err = io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "text", string(got))
	require.NoError(t, f.Close())
	require.NoError(t, c.Link("/d/a", "/d/b"))
	require.Error(t, c.Link("/d/a", "/d/b"))
	require.Error(t, c.Rename("/d/a", "/d/b"))
	require.NoError(t, c.PosixRename("/d/a", "/d/c"))
	list, err := c.ReadDir("/d")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.NoError(t, c.Chmod("/d/b", 0o600))
	info, err := c.Stat("/d/b")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	s.SetFree(10)
	require.NoError(t, put(t, c, "/small", "text"))
	require.ErrorContains(t, put(t, c, "/big", "more than ten"), "no space left")
	vfs, err := c.StatVFS("/")
	require.NoError(t, err)
	require.Zero(t, vfs.FreeSpace())

	s.Drop()
	_, err = c.Stat("/d")
	require.Error(t, err)
}

func TestServerOptions(t *testing.T) {
	extensions := func(o sshtest.Options) (names []string) {
		c := client(t, sshtest.Start(t, o).Access)
		for _, name := range []string{"hardlink@openssh.com", "posix-rename@openssh.com", "statvfs@openssh.com"} {
			if _, ok := c.HasExtension(name); ok {
				names = append(names, name)
			}
		}
		_, err := c.ReadDir("/")
		require.NoError(t, err, "the session works after its first packet")
		return names
	}
	require.Len(t, extensions(sshtest.Options{}), 3)
	require.Empty(t, extensions(sshtest.Options{Plain: true}))
	require.Equal(t, []string{"hardlink@openssh.com"}, extensions(sshtest.Options{Extension: "hardlink@openssh.com"}))

	s := sshtest.Start(t, sshtest.Options{Overwrite: true, NoLinks: true, Commands: true, Before: func(op, path string) error {
		if op == "mkdir" {
			return errors.New("no, not " + path)
		}
		return nil
	}})
	c := client(t, s.Access)
	require.ErrorContains(t, c.Mkdir("/d"), "no, not /d")
	require.NoError(t, put(t, c, "/a", "a"))
	require.NoError(t, put(t, c, "/b", "b"))
	require.Error(t, c.Link("/a", "/c"))
	require.NoError(t, c.Rename("/a", "/b"))

	conn, err := ssh.Dial("tcp", s.Addr, s.ClientConfig())
	require.NoError(t, err)
	defer conn.Close()
	session, err := conn.NewSession()
	require.NoError(t, err)
	out, err := session.Output("cat b")
	require.NoError(t, err)
	require.Equal(t, "a", string(out))
}

func TestSshdStopsAndStartsOnTheSamePort(t *testing.T) {
	d := sshtest.LoggingSshd(t)
	c := client(t, d.Access)
	require.NoError(t, put(t, c, filepath.Join(d.Dir, "a"), "text"))
	require.Contains(t, d.Log(t), "open")
	addr := d.Addr
	d.Stop()
	d.Stop()
	_, err := c.Stat(d.Dir)
	require.Error(t, err, "the session died with the server")
	_, err = ssh.Dial("tcp", d.Addr, d.ClientConfig())
	require.Error(t, err)
	d.Start(t)
	require.Equal(t, addr, d.Addr)
	_, err = client(t, d.Access).Stat(filepath.Join(d.Dir, "a"))
	require.NoError(t, err)
}

func TestSSHArgs(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal("there is no ssh here; on Debian: apt-get install openssh-client")
	}
	d := sshtest.Sshd(t)
	out, err := exec.CommandContext(t.Context(), ssh, append(d.SSHArgs(t, d.Addr), "127.0.0.1", "echo", "hello")...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "hello\n", string(out))
}

func TestOnlyTheKeyIsLetIn(t *testing.T) {
	other := sshtest.Start(t, sshtest.Options{}).ClientConfig()
	for _, a := range []sshtest.Access{sshtest.Start(t, sshtest.Options{}).Access, sshtest.Sshd(t).Access} {
		config := a.ClientConfig()
		config.Auth = other.Auth
		_, err := ssh.Dial("tcp", a.Addr, config)
		require.ErrorContains(t, err, "unable to authenticate")
		callback, err := knownhosts.New(a.KnownHosts(t))
		require.NoError(t, err)
		config = a.ClientConfig()
		config.HostKeyCallback = callback
		_, err = ssh.Dial("tcp", a.Addr, config)
		require.NoError(t, err)
	}
}
