package sftptarget

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/runbook-go/runbook"
)

// URLKeys are the query keys of [OpenURL].
func URLKeys() []string { return []string{"known_hosts", "key"} }

// OpenURL opens a target for a [runbook.TargetMux]:
//
//	mux.Handle("sftp", sftptarget.OpenURL, sftptarget.URLKeys()...)
//	target, err := mux.Open(ctx, "sftp://backup@nas.example.org/srv/backup?known_hosts=/etc/runbook/known_hosts&key=/etc/runbook/id_ed25519")
//
// The path is absolute on the server; what follows "/~/" is relative to the login directory. The port is 22 unless given. Both query
// keys are required: known_hosts, a file that records the server's key, and key, a file with the private key, without a passphrase. Use
// [Open] for an agent, a passphrase, or [Options]. A password is refused.
func OpenURL(ctx context.Context, u *url.URL) (runbook.Target, error) {
	addr, config, o, err := parseURL(u)
	if err != nil {
		return nil, fmt.Errorf("SFTP target: %w", err)
	}
	t, err := Open(ctx, addr, config, o)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func parseURL(u *url.URL) (addr string, config *ssh.ClientConfig, o Options, err error) {
	fail := func(format string, args ...any) (string, *ssh.ClientConfig, Options, error) {
		return "", nil, Options{}, fmt.Errorf(format, args...)
	}
	query := u.Query()
	for key := range query {
		if !slices.Contains(URLKeys(), key) {
			return fail("unknown query key %q; known: %s", key, strings.Join(URLKeys(), ", "))
		}
	}
	_, password := u.User.Password()
	switch {
	case password:
		return fail("the URL must not hold a password; use a key")
	case u.Hostname() == "":
		return fail("the URL names no host")
	case u.User.Username() == "":
		return fail("the URL names no user; write sftp://user@%s", u.Host)
	case query.Get("known_hosts") == "":
		return fail("the URL has no known_hosts; add the file that records the server's host key")
	case query.Get("key") == "":
		return fail("the URL has no key; add the file of the private key")
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	addr = net.JoinHostPort(u.Hostname(), port)
	pem, err := os.ReadFile(query.Get("key"))
	if err != nil {
		return fail("key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		return fail("key %s has a passphrase; open the target from Go with a signer of your own", query.Get("key"))
	}
	if err != nil {
		return fail("key %s: %w", query.Get("key"), err)
	}
	config = &ssh.ClientConfig{User: u.User.Username(), Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}}
	if err := KnownHosts(config, addr, query.Get("known_hosts")); err != nil {
		return fail("%w", err)
	}
	root := u.Path
	if relative, ok := strings.CutPrefix(root, "/~/"); ok {
		root = relative
	} else if root == "/~" || root == "" {
		root = "."
	}
	return addr, config, Options{Root: root}, nil
}
