// Package redact keeps secrets out of texts: those that are known, in every form in which programs print them, and those that can be
// told by their surroundings in URLs and connection strings.
package redact

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mask stands where a secret stood.
const Mask = "xxxxx"

// A secret shorter than this is not looked for: it occurs in ordinary words, and masking those would give it away.
const shortest = 4

// Redactor masks secrets. A nil Redactor masks what [Patterns] masks. It is safe for concurrent use.
type Redactor struct {
	secrets []string
	forms   []string // of all secrets, the longest first
}

// New returns a Redactor of the given secrets. Secrets shorter than 4 bytes are left out.
func New(secrets ...string) *Redactor {
	r := new(Redactor)
	for _, secret := range secrets {
		if len(secret) >= shortest && !slices.Contains(r.secrets, secret) {
			r.secrets = append(r.secrets, secret)
			r.forms = append(r.forms, forms(secret)...)
		}
	}
	slices.SortFunc(r.forms, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	r.forms = slices.Compact(r.forms)
	return r
}

// forms returns a secret as it is and as it stands in a URL, a quoted Go string, an SQL literal and a connection string.
func forms(secret string) []string {
	quoted := strconv.Quote(secret)
	ascii := strconv.QuoteToASCII(secret)
	return []string{
		secret,
		url.QueryEscape(secret), url.PathEscape(secret), strings.TrimPrefix(url.UserPassword("", secret).String(), ":"),
		quoted[1 : len(quoted)-1], ascii[1 : len(ascii)-1],
		strings.ReplaceAll(secret, `'`, `''`),
		strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(secret),
	}
}

// String returns text without the secrets and without what [Patterns] masks.
func (r *Redactor) String(text string) string {
	if r != nil {
		for _, form := range r.forms {
			text = strings.ReplaceAll(text, form, Mask)
		}
	}
	return Patterns(text)
}

// Error returns err with a text that went through [Redactor.String]. What it wraps is still found by errors.Is and errors.As, but
// must not be printed itself. A nil err, and one whose text holds no secret, is returned as it is.
func (r *Redactor) Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := r.String(text); clean != text {
		return &redacted{clean, err}
	}
	return err
}

type redacted struct {
	text string
	err  error
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.err }

// Find returns the secrets that stand in text in any form.
func (r *Redactor) Find(text string) (found []string) {
	for _, secret := range r.secrets {
		if slices.ContainsFunc(forms(secret), func(form string) bool { return strings.Contains(text, form) }) {
			found = append(found, secret)
		}
	}
	return found
}

var (
	inURL      = regexp.MustCompile(`(://[^/\s:@]*:)\S*@`)
	inConninfo = regexp.MustCompile(`(?is)((?:passw(?:or)?d|passphrase)\s*=\s*)('(?:[^'\\]|\\.|'')*'?|"[^"]*"?|[^\s&;]+)`)
)

// Patterns masks what looks like a password whoever set it: "://user:password@" and "password=value", quoted or not, as well as names
// that end in password, passwd or passphrase.
func Patterns(text string) string {
	text = inURL.ReplaceAllString(text, "${1}"+Mask+"@")
	return inConninfo.ReplaceAllString(text, "${1}"+Mask)
}
