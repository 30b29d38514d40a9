package redact_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/redact"
)

func TestString(t *testing.T) {
	r := redact.New("hunter22", "", "abc", "hunter22&more", `q"uo'te\d`, "é:/@ ü")
	for text, want := range map[string]string{
		"":                             "",
		"nothing here, abc":            "nothing here, abc",
		"x hunter22 y hunter22":        "x xxxxx y xxxxx",
		"hunter22&more":                "xxxxx",
		"q=hunter22%26more":            "q=xxxxx",
		`is q"uo'te\d`:                 "is xxxxx",
		fmt.Sprintf("%q", `q"uo'te\d`): `"xxxxx"`,
		`SET x = 'q"uo''te\d'`:         `SET x = 'xxxxx'`,
		`pw='q"uo\'te\\d' x`:           `pw='xxxxx' x`,
		url.UserPassword("u", "é:/@ ü").String(): "u:xxxxx",
		fmt.Sprintf("%+q", "é:/@ ü"):             `"xxxxx"`,
	} {
		require.Equal(t, want, r.String(text))
	}
}

func TestPatterns(t *testing.T) {
	for text, want := range map[string]string{
		"connect postgres://u:s3cret@h:5432/db":   "connect postgres://u:xxxxx@h:5432/db",
		"sftp://:s3cret@h":                        "sftp://:xxxxx@h",
		"sftp://u:s3/cr#et@h/x":                   "sftp://u:xxxxx@h/x",
		"sftp://u:s3@cret@h/x":                    "sftp://u:xxxxx@h/x",
		"host=h password=s3cret user=u":           "host=h password=xxxxx user=u",
		`password='s3\'cret x' user=u`:            `password=xxxxx user=u`,
		`password='s3''cret x' user=u`:            `password=xxxxx user=u`,
		`password = 's3cret with no end`:          `password = xxxxx`,
		"PGPASSWORD=s3cret":                       "PGPASSWORD=xxxxx",
		"RSYNC_PASSWORD=s3cret x":                 "RSYNC_PASSWORD=xxxxx x",
		"?sslpassword=s3cret&sslmode=x":           "?sslpassword=xxxxx&sslmode=x",
		`passphrase="s3cret y" z`:                 `passphrase=xxxxx z`,
		"password authentication failed for user": "password authentication failed for user",
		"https://h:80/path":                       "https://h:80/path",
		"sftp://user@h/path passfile=/x":          "sftp://user@h/path passfile=/x",
	} {
		require.Equal(t, want, redact.Patterns(text))
		require.Equal(t, want, (*redact.Redactor)(nil).String(text))
	}
}

func TestError(t *testing.T) {
	r := redact.New("hunter22")
	require.NoError(t, r.Error(nil))

	harmless := errors.New("harmless")
	require.Same(t, harmless, r.Error(harmless))

	err := r.Error(fmt.Errorf("log in with hunter22: %w", &fs.PathError{Op: "open", Path: "p", Err: fs.ErrNotExist}))
	require.EqualError(t, err, "log in with xxxxx: open p: file does not exist")
	require.ErrorIs(t, err, fs.ErrNotExist)
	pathErr, ok := errors.AsType[*fs.PathError](err)
	require.True(t, ok)
	require.Equal(t, "p", pathErr.Path)
}

func TestFind(t *testing.T) {
	r := redact.New("hunter22", "p&q=r", "abc")
	require.Empty(t, r.Find("harmless, abc"))
	require.Equal(t, []string{"hunter22", "p&q=r"}, r.Find("x hunter22 p%26q%3Dr"))
}

func FuzzString(f *testing.F) {
	f.Add("secret", "a ", " b")
	f.Add(`a'b\c"`, "password='", "' x")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		// A secret may occur in the mask, or be put together by what is left and right of it.
		if len(secret) < 4 || strings.Contains(before+redact.Mask+after, secret) || strings.Contains(secret, "x") {
			return
		}
		r := redact.New(secret)
		for _, text := range []string{before + secret + after, fmt.Sprintf("%s%q%s", before, secret, after), before + url.QueryEscape(secret) + after} {
			if got := r.String(text); strings.Contains(got, secret) && !strings.Contains(before+" "+after, "x") {
				t.Fatalf("%q is left in %q", secret, got)
			}
		}
	})
}
