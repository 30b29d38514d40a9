// Package pgname carries names and values that may be hostile into SQL, connection strings, object keys and log texts. Every
// function is injective: two names never become one.
package pgname

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// RestoreMark is how the comment of a database begins that a restore made for itself: one that is being filled, or one that was replaced and is
// kept. Nobody else must take such a database for one of the service's.
const RestoreMark = "runbook restore "

// Ident quotes an SQL identifier.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal quotes an SQL string constant. It is right whatever standard_conforming_strings is.
func Literal(s string) string {
	q := strings.ReplaceAll(s, `'`, `''`)
	if strings.Contains(q, `\`) {
		return ` E'` + strings.ReplaceAll(q, `\`, `\\`) + `'`
	}
	return `'` + q + `'`
}

// Conninfo formats one keyword/value pair of a libpq connection string.
func Conninfo(keyword, value string) string {
	return keyword + `='` + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + `'`
}

// Key makes any non-empty name of at most 63 bytes one element of an object key that every target and file system takes: letters, digits, "_",
// "-" and "." (not at the start) stay, upper-case letters get a "^" in front so that a file system that folds case keeps them apart, every other byte
// becomes "%xx".
func Key(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-' && i > 0, c == '.' && i > 0 && i < len(name)-1:
			b.WriteByte(c)
		case 'A' <= c && c <= 'Z':
			b.WriteByte('^')
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	return b.String()
}

// ParseKey is the inverse of [Key].
func ParseKey(key string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		switch key[i] {
		case '%':
			var c byte
			if i+3 > len(key) {
				return "", fmt.Errorf("%q is not an escaped name", key)
			}
			if _, err := fmt.Sscanf(key[i+1:i+3], "%02x", &c); err != nil {
				return "", fmt.Errorf("%q is not an escaped name", key)
			}
			b.WriteByte(c)
			i += 2
		case '^':
		default:
			b.WriteByte(key[i])
		}
	}
	if Key(b.String()) != key {
		return "", fmt.Errorf("%q is not an escaped name", key)
	}
	return b.String(), nil
}

// Derived returns a database name made of base and suffix that fits into PostgreSQL's 63 bytes. If base must be cut it is cut between two characters and
// the whole result stays recognisable by its suffix; the caller keeps the full name elsewhere.
func Derived(base, suffix string) string {
	keep := min(len(base), 63-len(suffix))
	for keep > 0 && keep < len(base) && !utf8.RuneStart(base[keep]) {
		keep--
	}
	return base[:keep] + suffix
}
