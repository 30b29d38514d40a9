package runbook_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
)

func newMux(opened *[]string) *runbook.TargetMux {
	var mux runbook.TargetMux
	mux.Handle("mem", func(_ context.Context, u *url.URL) (runbook.Target, error) {
		*opened = append(*opened, u.String())
		return memory{}, nil
	}, "user", "key")
	mux.Handle("broken", func(context.Context, *url.URL) (runbook.Target, error) { return nil, errStopped })
	return &mux
}

func TestTargetMuxOpens(t *testing.T) {
	var opened []string
	target, err := newMux(&opened).Open(t.Context(), "mem://me@host:22/a%40b?key=k%40&user=x")
	require.NoError(t, err)
	require.Equal(t, memory{}, target)
	require.Equal(t, []string{"mem://me@host:22/a%40b?key=k%40&user=x"}, opened)

	_, err = newMux(&opened).Open(t.Context(), "broken:/x")
	require.ErrorIs(t, err, errStopped)
	require.ErrorContains(t, err, "open target broken:/x: ")

	_, err = new(runbook.TargetMux).Open(t.Context(), "mem:/x")
	require.ErrorContains(t, err, `unknown scheme "mem"`)
}

func TestTargetMuxRefuses(t *testing.T) {
	for rawURL, want := range map[string]string{
		"ftp://h/x":               `open target ftp://h/x: unknown scheme "ftp"; known: broken, mem`,
		"/srv/backup":             `unknown scheme ""; known: broken, mem`,
		"mem:/x?colour=1":         `open target mem:/x: unknown query key "colour"; known: user, key`,
		"mem:/x?key=1&key=2":      `query key "key" is given 2 times`,
		"mem:/x?key=%zz":          "query does not parse",
		"mem:/x?key=1;user=2":     "query does not parse",
		"mem:/x#y":                "write it as %23",
		"mem://u:s3cret@h/":       `on host "h": a URL must not hold a password`,
		"mem://:s3cret@h/":        "a URL must not hold a password",
		"mem://u:s3cret@h/?x=1":   "a URL must not hold a password",
		"ftp://u:s3cret@h/":       "a URL must not hold a password",
		"mem:/x?password=s3cret":  `unknown query key "password"`,
		"mem:/x?key=s3cret&key=1": `query key "key" is given 2 times`,
		// Passwords that were not escaped, or not as they should be.
		"mem://u:s3cret%zz@h/":  "does not parse",
		"mem://u:s3cret@h:x/":   "does not parse",
		"mem://u:s3cret":        "does not parse",
		"mem://u:s3cret/x@h/":   "does not parse",
		"mem://u:12/s3cret@h/":  "write it as %40",
		"mem://u:12#s3cret@h/":  "write it as %40",
		"mem://u:12?s3cret@h/":  "write it as %40",
		"mem://u:a@s3cret#b@h/": "write it as %40",
		"mem:u:s3cret@h":        "write it as %40",
		"u:s3cret@h":            "write it as %40",
		"mem://u: s3cret@h/":    "does not parse",
		"mem://u:s3cret\x7f@h/": "does not parse",
	} {
		var opened []string
		_, err := newMux(&opened).Open(t.Context(), rawURL)
		require.ErrorContains(t, err, want, rawURL)
		require.NotContains(t, err.Error(), "s3cret", rawURL)
		require.Empty(t, opened, rawURL)
	}
}

func TestTargetMuxRefusesASchemeTwice(t *testing.T) {
	var opened []string
	require.PanicsWithValue(t, `runbook: scheme "mem" is registered twice`, func() {
		newMux(&opened).Handle("mem", nil)
	})
}

func FuzzTargetMuxHidesPasswords(f *testing.F) {
	f.Add("u", "#")
	f.Add("", "%zz")
	f.Add("u:1/", "?&")
	f.Fuzz(func(t *testing.T, user, noise string) {
		if strings.ContainsAny(user, "@") || len(user) > 100 || len(noise) > 100 {
			return
		}
		var opened []string
		_, err := newMux(&opened).Open(t.Context(), "mem://"+user+":"+noise+"s3cret"+noise+"@host/path")
		if err == nil {
			t.Fatalf("a URL with a password was opened: %q", opened)
		}
		if strings.Contains(err.Error(), "s3cret") && !strings.ContainsAny(user+noise, "@") {
			t.Fatalf("the password stands in %q", err)
		}
	})
}

func TestTargetMuxPassesTheContext(t *testing.T) {
	var mux runbook.TargetMux
	mux.Handle("mem", func(ctx context.Context, _ *url.URL) (runbook.Target, error) { return nil, context.Cause(ctx) })
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStopped)
	_, err := mux.Open(ctx, "mem:/")
	require.True(t, errors.Is(err, errStopped))
}
