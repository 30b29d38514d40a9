package rsynctarget_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/rsynctarget"
	"github.com/runbook-go/runbook/backup/targettest"
	"github.com/runbook-go/runbook/internal/redact/redacttest"
)

func TestConformance(t *testing.T) {
	d := startDaemon(t)
	spool := t.TempDir()
	target := newTarget(t, d.url("store"), rsynctarget.Options{Spool: spool})
	targettest.Run(t, func(*testing.T) runbook.Target { return target }, &targettest.Options{LargeSize: 8<<20 + 1})
	left, err := os.ReadDir(spool)
	require.NoError(t, err)
	require.Empty(t, left, "the spool is empty again")
	for name := range tree(t, d.root) {
		t.Errorf("%s was left on the server", name)
	}
}

func newTarget(t *testing.T, destination string, o rsynctarget.Options) *rsynctarget.Target {
	t.Helper()
	if o.Spool == "" {
		o.Spool = t.TempDir()
	}
	target, err := rsynctarget.New(destination, o)
	require.NoError(t, err)
	return target
}

func keys(t *testing.T, target runbook.Target, prefix string) (keys []string) {
	for o, err := range target.List(t.Context(), prefix) {
		require.NoError(t, err)
		keys = append(keys, o.Key)
	}
	return keys
}

// hostile are keys that rsync, a shell or a pattern could take for something else.
var hostile = []string{
	"#comment", ";comment", "--delete", "*", "[x]", `a\#012b`, "  two spaces ", "host::module", "$(touch x)", "+ x", "- x", "d/-x/ y/#z", "d/*/b", "🐘",
}

func TestHostileKeys(t *testing.T) {
	d := startDaemon(t)
	target := newTarget(t, d.url("store"), rsynctarget.Options{})
	want := make(map[string]string)
	for _, key := range hostile {
		require.NoError(t, target.Put(t.Context(), key, strings.NewReader("content of "+key)), key)
		want[key] = "content of " + key
	}
	require.Equal(t, want, tree(t, d.root))
	listed := keys(t, target, "")
	require.Len(t, listed, len(want))
	for _, key := range listed {
		o, err := target.Stat(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, runbook.Object{Key: key, Size: int64(len(want[key])), Modified: o.Modified}, o)
		require.WithinDuration(t, time.Now(), o.Modified, time.Hour)
		r, err := target.Open(t.Context(), key)
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, want[key], string(content))

		require.NoError(t, target.Delete(t.Context(), key))
		delete(want, key)
		require.Equal(t, want, tree(t, d.root), "deleting %q took something else", key)
	}
}

func TestAFileAndAFolderOfOneName(t *testing.T) {
	d := startDaemon(t)
	target := newTarget(t, d.url("store"), rsynctarget.Options{})
	require.NoError(t, target.Put(t.Context(), "file", strings.NewReader("1")))
	require.NoError(t, target.Put(t.Context(), "folder/x", strings.NewReader("2")))
	want := tree(t, d.root)

	require.ErrorIs(t, target.Put(t.Context(), "file/x", strings.NewReader("3")), errors.ErrUnsupported)
	require.ErrorIs(t, target.Put(t.Context(), "folder", strings.NewReader("4")), errors.ErrUnsupported)
	require.NoError(t, target.Delete(t.Context(), "file/x"))
	require.NoError(t, target.Delete(t.Context(), "folder"))
	for _, key := range []string{"file/x", "folder"} {
		_, err := target.Stat(t.Context(), key)
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = target.Open(t.Context(), key)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	require.Empty(t, keys(t, target, "file/"))
	require.Equal(t, want, tree(t, d.root))
}

func TestLinksOnTheServerAreNoObjects(t *testing.T) {
	d := startDaemon(t)
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(d.root, "link")))
	target := newTarget(t, d.url("store"), rsynctarget.Options{})
	require.Empty(t, keys(t, target, ""))
	_, err := target.Stat(t.Context(), "link")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = target.Open(t.Context(), "link")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, target.Put(t.Context(), "link", strings.NewReader("x")), errors.ErrUnsupported)
}

func TestACutConnectionLeavesNothing(t *testing.T) {
	d := startDaemon(t)
	at, cut := d.cutAfter(t, 1<<20)
	target := newTarget(t, at, rsynctarget.Options{})
	whole := newTarget(t, d.url("store"), rsynctarget.Options{})
	put := make(chan error, 1)
	go func() { put <- target.Put(t.Context(), "a/big", io.LimitReader(zeros{}, 8<<20)) }()
	require.Eventually(t, func() bool { return len(tree(t, d.root)) > 0 }, time.Minute, time.Millisecond, "the server has received a part")
	for name := range tree(t, d.root) {
		require.True(t, strings.HasPrefix(name, ".runbook-tmp/"), "an unfinished object lies at %s", name)
	}
	require.Empty(t, keys(t, whole, ""))
	cut()
	err := <-put
	failed, ok := errors.AsType[*rsynctarget.Error](err)
	require.True(t, ok, err)
	require.NotEmpty(t, failed.Hint)
	require.Empty(t, keys(t, whole, ""))

	require.NoError(t, whole.Put(t.Context(), "a/big", strings.NewReader("now it works")))
	require.Equal(t, []string{"a/big"}, keys(t, whole, ""))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestSweepAndProbe(t *testing.T) {
	d := startDaemon(t)
	target := newTarget(t, d.url("store"), rsynctarget.Options{})
	n, err := target.Sweep(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err, "there is no folder to sweep yet")
	require.Zero(t, n)

	require.NoError(t, target.Probe(t.Context()))
	require.NoError(t, target.Put(t.Context(), "keep", strings.NewReader("x")))
	dead := filepath.Join(d.root, ".runbook-tmp", "big.Ab3dEf")
	young := filepath.Join(d.root, ".runbook-tmp", "small.Gh1jKl")
	for _, name := range []string{dead, young} {
		require.NoError(t, os.WriteFile(name, nil, 0o600))
	}
	old := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(dead, old, old))
	require.Equal(t, []string{"keep"}, keys(t, target, ""))
	n, err = target.Sweep(t.Context(), time.Now().Add(-24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoFileExists(t, dead)
	require.FileExists(t, young)
	require.FileExists(t, filepath.Join(d.root, "keep"))

	require.Error(t, newTarget(t, d.url("readonly"), rsynctarget.Options{}).Probe(t.Context()))
}

func TestPasswords(t *testing.T) {
	d := startDaemon(t)
	guarded := strings.Replace(d.url("guarded"), "rsync://", "rsync://keeper@", 1)
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("s3cret-of-the-keeper\n"), 0o600))
	recorder := &redacttest.Recorder{Runner: runbook.Local{}}
	stop := redacttest.Watch("s3cret-of-the-keeper", "s3cret-but-wrong")
	for name, tc := range map[string]struct {
		o    rsynctarget.Options
		good bool
	}{
		"password": {rsynctarget.Options{Password: "s3cret-of-the-keeper"}, true},
		"file":     {rsynctarget.Options{PasswordFile: file}, true},
		"wrong":    {rsynctarget.Options{Password: "s3cret-but-wrong"}, false},
		"none":     {rsynctarget.Options{}, false},
	} {
		tc.o.Runner = recorder
		err := newTarget(t, guarded, tc.o).Put(t.Context(), name, strings.NewReader("x"))
		if tc.good {
			require.NoError(t, err)
			continue
		}
		failed, ok := errors.AsType[*rsynctarget.Error](err)
		require.True(t, ok, err)
		require.Equal(t, 5, failed.Code)
		require.ErrorContains(t, err, "check the module's name, user and password")
		require.NotContains(t, err.Error(), "s3cret")
	}
	leaks, _ := stop()
	require.Empty(t, leaks)
	require.Empty(t, recorder.Leaks("s3cret-of-the-keeper", "s3cret-but-wrong"))
	require.NotEmpty(t, recorder.Commands())
}

func TestOverSSH(t *testing.T) {
	rsync(t)
	ssh, log := fakeSSH(t)
	dir := filepath.Join(t.TempDir(), "a store; touch x $(touch y)")
	require.NoError(t, os.Mkdir(dir, 0o700))
	known := filepath.Join(t.TempDir(), "known hosts")
	require.NoError(t, os.WriteFile(known, nil, 0o600))
	o := rsynctarget.Options{SSH: rsynctarget.SSH{Program: ssh, KnownHosts: known, Identity: known, Port: 2222}}
	target := newTarget(t, "keeper@store.example:"+dir, o)
	require.NoError(t, target.Put(t.Context(), "a/b c", strings.NewReader("over ssh")))
	require.Equal(t, []string{"a/b c"}, keys(t, target, ""))
	require.Equal(t, map[string]string{"a/b c": "over ssh"}, tree(t, dir))
	noted, err := os.ReadFile(log)
	require.NoError(t, err)
	for _, want := range []string{
		"-oBatchMode=yes", "-oStrictHostKeyChecking=yes", `-oUserKnownHostsFile="` + known + `"`, `-oIdentityFile="` + known + `"`, "-p2222", "store.example", "keeper",
	} {
		require.Contains(t, lines(string(noted)), want)
	}
}

func TestFailuresAreExplained(t *testing.T) {
	d := startDaemon(t)
	for name, tc := range map[string]struct {
		destination string
		o           rsynctarget.Options
		code        int
		want        string
	}{
		"no such module":  {d.url("nowhere"), rsynctarget.Options{}, 5, "Unknown module"},
		"nobody listens":  {"rsync://127.0.0.1:1/store", rsynctarget.Options{}, 10, "check the address, the port"},
		"an old server":   {d.url("old"), rsynctarget.Options{}, 0, "fsync"},
		"NoSync helps it": {d.url("old"), rsynctarget.Options{NoSync: true}, -1, ""},
	} {
		err := newTarget(t, tc.destination, tc.o).Put(t.Context(), "key "+name, strings.NewReader("x"))
		if tc.code < 0 {
			require.NoError(t, err, name)
			continue
		}
		failed, ok := errors.AsType[*rsynctarget.Error](err)
		require.True(t, ok, "%s: %v", name, err)
		require.ErrorContains(t, err, tc.want)
		require.ErrorContains(t, err, "key "+name)
		if tc.code > 0 {
			require.Equal(t, tc.code, failed.Code, err)
		}
	}
	err := newTarget(t, d.url("store"), rsynctarget.Options{Program: "runbook-no-such-rsync"}).Put(t.Context(), "k", strings.NewReader("x"))
	require.ErrorContains(t, err, "install rsync")
}

func TestNothingRunsUnderACancelledContext(t *testing.T) {
	recorder := new(redacttest.Recorder)
	target := newTarget(t, "store.example::m", rsynctarget.Options{Runner: recorder})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		require.ErrorIs(t, target.Put(ctx, "k", strings.NewReader("x")), context.Canceled)
		require.ErrorIs(t, target.Delete(ctx, "k"), context.Canceled)
	}
	require.ErrorIs(t, target.Probe(ctx), context.Canceled)
	_, err := target.Sweep(ctx, time.Now())
	require.ErrorIs(t, err, context.Canceled)
	_, err = target.Stat(ctx, "k")
	require.ErrorIs(t, err, context.Canceled)
	_, err = target.Open(ctx, "k")
	require.ErrorIs(t, err, context.Canceled)
	for _, err := range target.List(ctx, "") {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.ErrorIs(t, rsynctarget.Mirror(ctx, t.TempDir(), "store.example::m", rsynctarget.Options{Runner: recorder}), context.Canceled)
	require.Empty(t, recorder.Commands())
}

func TestOpenURL(t *testing.T) {
	d := startDaemon(t)
	known := filepath.Join(t.TempDir(), "known")
	require.NoError(t, os.WriteFile(known, nil, 0o600))
	var mux runbook.TargetMux
	mux.Handle("rsync", rsynctarget.OpenURL, rsynctarget.URLKeys()...)
	mux.Handle("rsync+ssh", rsynctarget.OpenURL, rsynctarget.URLKeys()...)
	target, err := mux.Open(t.Context(), d.url("store")+"?spool="+url.QueryEscape(t.TempDir()))
	require.NoError(t, err)
	require.NoError(t, target.Put(t.Context(), "k", strings.NewReader("x")))
	require.FileExists(t, filepath.Join(d.root, "k"))

	ssh := "rsync+ssh://keeper@store.example:2222/srv/backup"
	_, err = mux.Open(t.Context(), ssh)
	require.ErrorContains(t, err, "needs SSH.KnownHosts")
	_, err = mux.Open(t.Context(), ssh+"?known_hosts="+url.QueryEscape(known)+"&key="+url.QueryEscape(known))
	require.NoError(t, err)

	// What belongs to the other way to log in is refused, and not silently left out.
	_, err = mux.Open(t.Context(), ssh+"?known_hosts="+url.QueryEscape(known)+"&password_file=x")
	require.ErrorContains(t, err, `"password_file" does not go with rsync+ssh`)
	_, err = mux.Open(t.Context(), d.url("store")+"?key=x")
	require.ErrorContains(t, err, `"key" does not go with rsync;`)
}
