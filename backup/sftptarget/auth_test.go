package sftptarget_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/sftptarget"
	"github.com/runbook-go/runbook/internal/sshtest"
)

func TestHostKeyIsRequired(t *testing.T) {
	t.Parallel()
	s, fake := inProcess(t, sshtest.Options{})
	config := s.ClientConfig()
	config.HostKeyCallback = nil
	_, err := sftptarget.Open(t.Context(), s.Addr, config, sftptarget.Options{})
	require.ErrorContains(t, err, "known_hosts")
	_, err = sftptarget.Open(t.Context(), s.Addr, nil, sftptarget.Options{})
	require.ErrorContains(t, err, "known_hosts")
	require.Zero(t, fake.Connections())
}

func TestKnownHosts(t *testing.T) {
	t.Parallel()
	s, _ := inProcess(t, sshtest.Options{})
	other, _ := inProcess(t, sshtest.Options{})
	open := func(files ...string) error {
		config := s.ClientConfig()
		config.HostKeyCallback = nil
		require.NoError(t, sftptarget.KnownHosts(config, s.Addr, files...))
		target, err := sftptarget.Open(t.Context(), s.Addr, config, sftptarget.Options{})
		if err == nil {
			target.Close()
		}
		return err
	}
	require.NoError(t, open(s.KnownHosts(t)))
	require.NoError(t, open(other.KnownHosts(t), s.KnownHosts(t)))
	require.ErrorContains(t, open(other.KnownHosts(t)), "not in known_hosts")
	require.ErrorContains(t, open(other.KnownHosts(t, s.Addr)), "NOT the recorded one")

	config := &ssh.ClientConfig{}
	require.Error(t, sftptarget.KnownHosts(config, s.Addr))
	require.Error(t, sftptarget.KnownHosts(config, s.Addr, filepath.Join(t.TempDir(), "missing")))
	require.Error(t, sftptarget.KnownHosts(config, "no port", s.KnownHosts(t)))
	require.Nil(t, config.HostKeyCallback)
}

func TestKnownHostsAsksForRecordedKeyTypes(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := ssh.NewPublicKey(&key.PublicKey)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(file, []byte(knownhosts.Line([]string{"nas.example.org"}, public)+"\n"), 0o600))
	config := &ssh.ClientConfig{}
	require.NoError(t, sftptarget.KnownHosts(config, "nas.example.org:22", file))
	require.Equal(t, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}, config.HostKeyAlgorithms)
	require.NoError(t, sftptarget.KnownHosts(config, "else.example.org:22", file))
	require.Empty(t, config.HostKeyAlgorithms)
}

// A refused login is not tried again, and no error or log line holds a secret.
func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	s, _ := inProcess(t, sshtest.Options{})
	var log bytes.Buffer
	config := s.ClientConfig()
	tries := 0
	config.Auth = []ssh.AuthMethod{ssh.PasswordCallback(func() (string, error) {
		tries++
		return "hunter2secret", nil
	})}
	_, err := sftptarget.Open(t.Context(), s.Addr, config, sftptarget.Options{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.ErrorContains(t, err, `log in to `+s.Addr+` as "tester"`)
	require.NotContains(t, err.Error()+log.String(), "hunter2")
	require.LessOrEqual(t, tries, 1)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, err := sftptarget.Open(t.Context(), "host:22", &ssh.ClientConfig{}, sftptarget.Options{
		Connections: -1, Sessions: -1, InFlight: -1, MinFree: -1, Misses: -1, DialAttempts: -1,
		FileMode: os.ModeDir, DirMode: os.ModeDir, Root: "a\nb",
	})
	for _, field := range []string{"Connections", "Sessions", "InFlight", "MinFree", "Misses", "DialAttempts", "FileMode", "DirMode", "Root"} {
		require.ErrorContains(t, err, field)
	}
}

func TestOpenURL(t *testing.T) {
	t.Parallel()
	s, d := openSSH(t)
	var mux runbook.TargetMux
	mux.Handle("sftp", sftptarget.OpenURL, sftptarget.URLKeys()...)
	query := url.Values{"known_hosts": {s.KnownHosts(t)}, "key": {s.KeyFile}}
	u := url.URL{Scheme: "sftp", User: url.User(s.User), Host: s.Addr, Path: s.root, RawQuery: query.Encode()}
	target, err := mux.Open(t.Context(), u.String())
	require.NoError(t, err)
	defer target.(*sftptarget.Target).Close()
	require.NoError(t, target.Put(t.Context(), "key", text("x")))
	require.Equal(t, map[string]string{"key": "x"}, s.files(t))

	encrypted := filepath.Join(d.Dir, "encrypted")
	key, err := ssh.MarshalPrivateKeyWithPassphrase(mustKey(t), "", []byte("passphrase"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(encrypted, pem.EncodeToMemory(key), 0o600))
	for want, change := range map[string]func(*url.URL, url.Values){
		"password":             func(u *url.URL, _ url.Values) { u.User = url.UserPassword("u", "hunter2") },
		"names no host":        func(u *url.URL, _ url.Values) { u.Host = "" },
		"names no user":        func(u *url.URL, _ url.Values) { u.User = nil },
		"known_hosts":          func(_ *url.URL, q url.Values) { q.Del("known_hosts") },
		"has no key":           func(_ *url.URL, q url.Values) { q.Del("key") },
		"unknown query key":    func(_ *url.URL, q url.Values) { q.Set("passwd", "x") },
		"no such file":         func(_ *url.URL, q url.Values) { q.Set("key", "/nowhere") },
		"passphrase":           func(_ *url.URL, q url.Values) { q.Set("key", encrypted) },
		"key " + s.root + "/x": func(_ *url.URL, q url.Values) { q.Set("key", s.root+"/x") },
	} {
		require.NoError(t, os.WriteFile(s.root+"/x", []byte("no key, but a SECRET"), 0o600))
		q := url.Values{"known_hosts": query["known_hosts"], "key": query["key"]}
		u := u
		change(&u, q)
		u.RawQuery = q.Encode()
		_, err := sftptarget.OpenURL(context.Background(), &u)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "SECRET")
	}
}

func mustKey(t *testing.T) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return key
}
