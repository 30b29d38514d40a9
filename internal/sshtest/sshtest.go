// Package sshtest gives tests SSH servers on loopback: [Start], an SFTP server inside the test whose abilities and faults can be
// chosen, and [Sshd], the real one of OpenSSH.
//
// # Guarantees
//
// Servers listen on loopback only, on a port that the kernel chooses, with a host key of their own, let in one key only, and are
// gone when the test ends. Files stand in a directory that the test can look at.
//
// # Concurrency
//
// Every method is safe for concurrent use.
//
// # Errors
//
// What cannot be set up ends the test.
//
// # Stability
//
// Internal: for the tests and benchmarks of this module.
package sshtest

import (
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Access is what a client needs to log in.
type Access struct {
	Addr    string // host:port
	User    string
	KeyFile string // private key in OpenSSH format, 0600
	HostKey ssh.PublicKey

	signer ssh.Signer
	dir    string
}

// ClientConfig returns a configuration that logs in and accepts the server's host key alone.
func (a *Access) ClientConfig() *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User:            a.User,
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(a.signer)},
		HostKeyCallback: ssh.FixedHostKey(a.HostKey),
		Timeout:         10 * time.Second,
	}
}

// KnownHosts writes a known_hosts file that records the host key for the given addresses, or for Addr if there are none, and
// returns its path.
func (a *Access) KnownHosts(t testing.TB, addrs ...string) string {
	t.Helper()
	if len(addrs) == 0 {
		addrs = []string{a.Addr}
	}
	var text []byte
	for _, addr := range addrs {
		text = append(text, knownhosts.Line([]string{knownhosts.Normalize(addr)}, a.HostKey)+"\n"...)
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	must(t, os.WriteFile(file, text, 0o600))
	return file
}

// newAccess makes a host key and a client key. The host's private key is in the file host_key of a new directory.
func newAccess(t testing.TB, user string) (a *Access, host ssh.Signer) {
	t.Helper()
	a = &Access{User: user, dir: t.TempDir()}
	host = newKey(t, filepath.Join(a.dir, "host_key"))
	a.KeyFile = filepath.Join(a.dir, "client_key")
	a.signer = newKey(t, a.KeyFile)
	a.HostKey = host.PublicKey()
	return a, host
}

func newKey(t testing.TB, file string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	must(t, err)
	must(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	return signer
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
