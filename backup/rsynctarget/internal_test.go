package rsynctarget

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
)

func TestParseDestination(t *testing.T) {
	for destination, want := range map[string]string{
		"172.31.0.2::Backup":             "172.31.0.2::Backup/",
		"host::m/":                       "host::m/",
		"me@host::m/a b/c":               "me@host::m/a b/c/",
		"[::1]::m":                       "[::1]::m/",
		"[fe80::1%eth0]::m":              "[fe80::1%eth0]::m/",
		"rsync://host/m":                 "rsync://host/m/",
		"rsync://me@host:8730/m/x":       "rsync://me@host:8730/m/x/",
		"rsync://[::1]:8730/m":           "rsync://[::1]:8730/m/",
		"host:dir":                       "ssh host:dir/",
		"me@host.example:/srv/backup///": "ssh me@host.example:/srv/backup/",
		"host:/":                         "ssh host:/",
		"host:/a@b/c:d":                  "ssh host:/a@b/c:d/",
		"[::1]:/srv":                     "ssh [::1]:/srv/",
	} {
		at, overSSH, err := parseDestination(destination)
		require.NoError(t, err, destination)
		if overSSH {
			at = "ssh " + at
		}
		require.Equal(t, want, at)
	}
	for _, destination := range []string{
		"", "/srv/backup", "backup", "./a:b", "host", "host:", "host::", ":x", "::m", "-host::m", "-oProxyCommand=s3cret:x", "me@-host:x", "-me@host:x", "host::-m",
		"host:-x", "host::.m", "host::/m", "host:::m", "a b::m", "host;x::m", "$(x)::m", "host::m/../x", "host:../x", "host:/a/..", "host::m*", "host:/a?", "host:/a[b]",
		`host:/a\b`, `C:\dir`, "C:dir", "C:/dir", "host::m\nx", "host:/x\x00", "rsync://host", "rsync://host/", "rsync://host/-m", "rsync://host:x/m",
		"rsync://me:s3cret@host/m", "me:s3cret@host::m", "me:s3cret@host:x", "rsync://host/m:s3cret", "http://host/m", "host::m:s3cret/x", "host::m@s3cret",
	} {
		_, _, err := parseDestination(destination)
		require.Error(t, err, destination)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

func FuzzParseDestination(f *testing.F) {
	for _, seed := range []string{"me@host::m/x", "rsync://[::1]:1/m", "host:/srv", "-x::m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, destination string) {
		at, _, err := parseDestination(destination)
		if err == nil && (strings.HasPrefix(at, "-") || strings.Contains(at, "@-") || strings.ContainsAny(at, "*?\n\x00") || strings.Contains(at, "/../") || !strings.Contains(at, ":")) {
			t.Fatalf("%q was taken for a destination", destination)
		}
	})
}

func TestParseLine(t *testing.T) {
	at := time.Date(2026, 11, 21, 7, 48, 5, 0, time.UTC)
	for line, want := range map[string]runbook.Object{
		`-rw-r--r--           6 2026/11/21 07:48:05 a/b/c`:               {Key: "a/b/c", Size: 6, Modified: at},
		`-rwsr-xr-x.     123456789012 2026/11/21 07:48:05  two  spaces `: {Key: " two  spaces ", Size: 123456789012, Modified: at},
		`-rw-r--r--           0 2026/11/21 07:48:05 \#303\#251 \#012`:    {Key: "é \n", Modified: at},
		`-rw-r--r--           0 2026/11/21 07:48:05 \#134#012 \ \#1 \#`:  {Key: `\#012 \ \#1 \#`, Modified: at},
		`-rw-r--r--           0 2026/11/21 07:48:05 \#999`:               {Key: `\#999`, Modified: at},
		`-rw-r--r--           0 2026/11/21 07:48:05 a -> b`:              {Key: `a -> b`, Modified: at},
	} {
		got, err := parseLine(line)
		require.NoError(t, err, line)
		require.Equal(t, entry{want, regular}, got)
	}
	for _, line := range []string{"drwxr-xr-x        4096 2026/11/21 07:48:05 .", "lrwxrwxrwx          11 2026/11/21 07:48:05 a -> b"} {
		got, err := parseLine(line)
		require.NoError(t, err)
		require.Equal(t, line[0], got.kind)
	}
	for _, line := range []string{
		"", "Welcome to this server", "-rw-r--r--", "-rw-r--r-- x 2026/11/21 07:48:05 a", "-rw-r--r-- -1 2026/11/21 07:48:05 a", "-rw-r--r-- 1 2026/11/21 07:48:05",
		"-rw-r--r-- 1 2026/11/21 07:48:05 ", "-rw-r--r-- 1 2026-11-21 07:48:05 a", "-rw-r--r-- 99999999999999999999 2026/11/21 07:48:05 a",
	} {
		_, err := parseLine(line)
		require.Error(t, err, line)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(`-rw-r--r--           6 2026/11/21 07:48:05 a/b\#012`)
	f.Fuzz(func(t *testing.T, line string) {
		if e, err := parseLine(line); err == nil && (e.Size < 0 || e.Key == "") {
			t.Fatalf("%q gives %+v", line, e)
		}
	})
}

func TestExplain(t *testing.T) {
	require.NoError(t, explain(nil))
	full := explain(&runbook.ExitError{Path: "rsync", Code: 11, Stderr: "rsync: write failed on \"x\": No space left on device (28)"})
	require.ErrorIs(t, full, syscall.ENOSPC)
	require.NotErrorIs(t, full, os.ErrDeadlineExceeded)
	require.EqualError(t, full, `rsync could not read or write a file: rsync: exit status 11: rsync: write failed on "x": No space left on device (28); `+
		`check for a full disk and for permissions on both sides`)
	require.ErrorIs(t, explain(&runbook.ExitError{Code: 30}), os.ErrDeadlineExceeded)
	require.ErrorContains(t, explain(&runbook.ExitError{Code: 99}), "rsync failed")
	other := errors.New("other")
	require.Same(t, other, explain(other))
	for code, a := range codes {
		e, ok := errors.AsType[*Error](explain(fmt.Errorf("wrapped: %w", &runbook.ExitError{Code: code})))
		require.True(t, ok)
		require.Equal(t, a.meaning, e.Meaning)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"nothing that rsync knows":            {Chmod: "u+x --delete"},
		"password and password file are both": {Password: "x", PasswordFile: "y"},
	} {
		_, err := New("host::m", o)
		require.ErrorContains(t, err, want)
	}
	for want, ssh := range map[string]SSH{
		"needs SSH.KnownHosts":     {},
		"would not take that name": {KnownHosts: `/a"b`},
		"UserKnownHostsFile: ":     {KnownHosts: "/nowhere/at/all"},
		"find ssh":                 {KnownHosts: "/dev/null", Program: "runbook-no-such-ssh"},
	} {
		if ssh.Program == "" {
			ssh.Program = os.Args[0]
		}
		_, err := New("host:dir", Options{SSH: ssh})
		require.ErrorContains(t, err, want)
	}
}
