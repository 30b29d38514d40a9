package rsynctarget_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// daemon is the real rsync as a daemon on loopback. It serves each connection by a process of its own, as under inetd, so that the kernel
// can choose the port and nothing is left running.
type daemon struct {
	root string // directory of the module "store"
	port int
}

func startDaemon(t *testing.T) *daemon {
	t.Helper()
	program := rsync(t)
	dir := t.TempDir()
	d := &daemon{root: filepath.Join(dir, "store")}
	require.NoError(t, os.Mkdir(d.root, 0o755))
	secrets := filepath.Join(dir, "secrets")
	require.NoError(t, os.WriteFile(secrets, []byte("keeper:s3cret-of-the-keeper\n"), 0o600))
	config := "use chroot = no\nmax verbosity = 0\nlog file = " + filepath.Join(dir, "log") + "\n"
	if os.Getuid() == 0 {
		config += "uid = 0\ngid = 0\n"
	}
	config += fmt.Sprintf("[store]\npath = %[1]s\nread only = no\n[guarded]\npath = %[1]s\nread only = no\nauth users = keeper\nsecrets file = %[2]s\n"+
		"[readonly]\npath = %[1]s\nread only = yes\n[old]\npath = %[1]s\nread only = no\nrefuse options = fsync\n", d.root, secrets)
	configFile := filepath.Join(dir, "rsyncd.conf")
	require.NoError(t, os.WriteFile(configFile, []byte(config), 0o600))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d.port = listener.Addr().(*net.TCPAddr).Port
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			socket, err := conn.(*net.TCPConn).File()
			if err != nil {
				panic(err)
			}
			cmd := exec.CommandContext(t.Context(), program, "--daemon", "--config="+configFile)
			cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = []string{"LC_ALL=C"}, socket, socket, nil
			if err := cmd.Start(); err != nil {
				panic(err)
			}
			conn.Close()
			socket.Close()
			running.Go(func() { _ = cmd.Wait() })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return d
}

func (d *daemon) url(module string) string {
	return fmt.Sprintf("rsync://127.0.0.1:%d/%s", d.port, module)
}

// cutAfter returns the URL of a way to the daemon whose connections go silent after a number of bytes were sent, and break when cut is
// called.
func (d *daemon) cutAfter(t *testing.T, limit int64) (at string, cut func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	broken := make(chan struct{})
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", d.port))
			if err != nil {
				panic(err)
			}
			running.Go(func() {
				_, _ = io.Copy(client, server)
				client.Close()
			})
			running.Go(func() {
				if n, _ := io.CopyN(server, client, limit); n == limit {
					<-broken
				}
				client.Close()
				server.Close()
			})
		}
	})
	cut = sync.OnceFunc(func() { close(broken) })
	t.Cleanup(func() {
		listener.Close()
		cut()
		running.Wait()
	})
	return fmt.Sprintf("rsync://127.0.0.1:%d/store", listener.Addr().(*net.TCPAddr).Port), cut
}

func rsync(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("rsync")
	if err != nil {
		t.Fatal("rsync is not installed; make deps installs it")
	}
	return program
}

// fakeSSH writes a program that takes the arguments of ssh, notes them in a file, and runs the command on this machine.
func fakeSSH(t *testing.T) (program, log string) {
	dir := t.TempDir()
	program, log = filepath.Join(dir, "fake ssh"), filepath.Join(dir, "log")
	script := `#!/bin/sh
for arg; do printf '%s\n' "$arg" >>'` + log + `'; done
while [ "${1#-}" != "$1" ]; do
	[ "$1" = -l ] && shift
	shift
done
shift
exec /bin/sh -c "$*"
`
	require.NoError(t, os.WriteFile(program, []byte(script), 0o700))
	return program, log
}

// tree returns the content of every regular file below a directory by its path, without what belongs to implementations.
func tree(t *testing.T, root string) map[string]string {
	files := make(map[string]string)
	err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		files[filepath.ToSlash(rel)] = string(content)
		return err
	})
	require.NoError(t, err)
	return files
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
