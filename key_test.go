package runbook_test

import (
	"io/fs"
	"path"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
)

func TestCheckKey(t *testing.T) {
	for _, key := range []string{
		"a", "a/b", "a/b/c.dump", "-", "-rf", "--", " ", "a b", ".a", "..a", "a..", "...", "été/déjà", "数据库", "🐘", "a\\b", `"`, "'", "*", "%00",
		".runbook", "x.runbook-y", "runbook-x/a", "a=b;c|d&e", strings.Repeat("x", 255),
		strings.Repeat("x", 255) + "/" + strings.Repeat("y", 255), strings.Repeat("é", 127), strings.Repeat("a/", 511) + "bc",
	} {
		require.NoError(t, runbook.CheckKey(key))
	}
	for key, why := range map[string]string{
		"":                                "is empty",
		"/":                               "empty, . or .. element",
		"/a":                              "empty, . or .. element",
		"a/":                              "empty, . or .. element",
		"a//b":                            "empty, . or .. element",
		".":                               "empty, . or .. element",
		"..":                              "empty, . or .. element",
		"a/..":                            "empty, . or .. element",
		"../a":                            "empty, . or .. element",
		"a/./b":                           "empty, . or .. element",
		"a\x00b":                          "control character",
		"a\nb":                            "control character",
		"\x7f":                            "control character",
		"a\u0085b":                        "control character",
		"\xff":                            "not UTF-8",
		"a/\xc3":                          "not UTF-8",
		".runbook-tmp":                    "starts with .runbook-",
		"a/.runbook-":                     "starts with .runbook-",
		strings.Repeat("x", 256):          "longer than 255",
		"a/" + strings.Repeat("é", 128):   "longer than 255",
		strings.Repeat("a/", 512) + "b":   "longer than 1,024",
		strings.Repeat("x/", 1<<20) + "x": "longer than 1,024",
	} {
		err := runbook.CheckKey(key)
		require.ErrorIs(t, err, fs.ErrInvalid, "%.40q", key)
		require.ErrorContains(t, err, why)
		require.Less(t, len(err.Error()), 5000)
	}
}

func FuzzCheckKey(f *testing.F) {
	for _, seed := range []string{"a/b", "../a", "a//b", "\xff", "a\x00", ".runbook-x", strings.Repeat("é/", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if runbook.CheckKey(key) != nil {
			return
		}
		switch {
		case !fs.ValidPath(key) || key == "." || path.Clean("/srv/"+key) != "/srv/"+key:
			t.Fatalf("%q can leave the folder it is put in", key)
		case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
			t.Fatalf("%q cannot be shown", key)
		case len(key) > 1024:
			t.Fatalf("%q has %d bytes", key, len(key))
		}
		for element := range strings.SplitSeq(key, "/") {
			if len(element) > 255 || strings.HasPrefix(element, ".runbook-") {
				t.Fatalf("%q has the element %q", key, element)
			}
		}
	})
}
