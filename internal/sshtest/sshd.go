package sshtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Daemon is a running OpenSSH server. It listens itself and has sshd serve each connection ("sshd -i"), so that it knows every
// process that must go when the server does.
type Daemon struct {
	Access
	Dir string // an empty directory of the logged-in user, as an absolute path; the server sees the whole file system

	program string
	log     *os.File

	mu       sync.Mutex
	listener net.Listener // nil while stopped
	running  map[*exec.Cmd]struct{}
	wait     sync.WaitGroup
}

// Sshd starts OpenSSH's sshd for the current user, with the SFTP server that is built into it. The test fails where there is
// no sshd.
func Sshd(t testing.TB) *Daemon {
	t.Helper()
	return startSshd(t, "internal-sftp")
}

// LoggingSshd is [Sshd] with the SFTP server as a program of its own, which notes each request where [Daemon.Log] finds it.
func LoggingSshd(t testing.TB) *Daemon {
	t.Helper()
	server := find("sftp-server", "/usr/lib/openssh", "/usr/libexec/openssh", "/usr/libexec", "/usr/lib/ssh")
	if server == "" {
		t.Fatal("there is no sftp-server here; on Debian: apt-get install openssh-sftp-server")
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	t.Cleanup(func() { log.Close() })
	d := startSshd(t, fmt.Sprintf("%s -e -l DEBUG3 2>>%s", server, log.Name()))
	d.log = log
	return d
}

func startSshd(t testing.TB, subsystem string) *Daemon {
	t.Helper()
	program := find("sshd", "/usr/sbin", "/usr/local/sbin", "/usr/bin")
	if program == "" {
		t.Fatal("there is no sshd here; on Debian: apt-get install openssh-server")
	}
	me, err := user.Current()
	must(t, err)
	access, _ := newAccess(t, me.Username)
	d := &Daemon{Access: *access, Dir: t.TempDir(), program: program, running: make(map[*exec.Cmd]struct{})}
	must(t, os.WriteFile(d.path("authorized_keys"), ssh.MarshalAuthorizedKey(access.signer.PublicKey()), 0o600))
	must(t, os.WriteFile(d.path("sshd_config"), fmt.Appendf(nil, `
HostKey %q
AuthorizedKeysFile %q
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
LogLevel ERROR
Subsystem sftp %s
`, d.path("host_key"), d.path("authorized_keys"), subsystem), 0o600))
	if os.Geteuid() == 0 {
		// Where sshd locks its unprivileged half in; usually made by the service manager.
		must(t, os.MkdirAll("/run/sshd", 0o755))
	}
	d.Addr = "127.0.0.1:0"
	d.Start(t)
	t.Cleanup(d.Stop)
	client, err := ssh.Dial("tcp", d.Addr, d.ClientConfig())
	if err != nil {
		said, _ := os.ReadFile(d.path("stderr"))
		t.Fatalf("log in to sshd: %v\n%s", err, said)
	}
	client.Close()
	return d
}

// Start starts a stopped server again, on the same port and with the same keys.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", d.Addr)
	must(t, err)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Addr, d.listener = l.Addr().String(), l
	d.wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if err := d.serve(l, c.(*net.TCPConn)); err != nil {
				t.Logf("start sshd: %v", err)
			}
		}
	})
}

// serve hands a connection to an sshd of its own.
func (d *Daemon) serve(l net.Listener, c *net.TCPConn) error {
	defer c.Close()
	socket, err := c.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	stderr, err := os.OpenFile(d.path("stderr"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer stderr.Close()
	cmd := exec.Command(d.program, "-i", "-e", "-f", d.path("sshd_config"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, stderr
	ownGroup(cmd)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != l {
		return nil // stopped meanwhile
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.running[cmd] = struct{}{}
	d.wait.Go(func() {
		cmd.Process.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.running, cmd)
	})
	return nil
}

// Stop kills the server and the sessions it serves, as a crash would. Stopping twice is harmless.
func (d *Daemon) Stop() {
	d.mu.Lock()
	if d.listener != nil {
		d.listener.Close()
		d.listener = nil
	}
	for cmd := range d.running {
		killGroup(cmd)
	}
	d.mu.Unlock()
	d.wait.Wait()
}

// Log returns the requests served so far by a server that [LoggingSshd] started.
func (d *Daemon) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(d.log.Name())
	must(t, err)
	return string(text)
}

// SSHArgs returns the options that make the programs ssh, sftp and scp log in, without the host, for a server that is reached by way
// of addr.
func (d *Daemon) SSHArgs(t testing.TB, addr string) []string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	args := []string{"-F", "none"}
	for _, option := range []string{
		"Port=" + port, "User=" + d.User, "IdentityFile=" + d.KeyFile, "IdentitiesOnly=yes", "BatchMode=yes",
		"UserKnownHostsFile=" + d.KnownHosts(t, addr), "GlobalKnownHostsFile=none", "StrictHostKeyChecking=yes", "LogLevel=ERROR",
	} {
		args = append(args, "-o", option)
	}
	return args
}

func (d *Daemon) path(name string) string { return filepath.Join(d.dir, name) }

// find returns the absolute path of a program, by which sshd insists on being started, or "".
func find(program string, dirs ...string) string {
	if path, err := exec.LookPath(program); err == nil && filepath.IsAbs(path) {
		return path
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, program)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
