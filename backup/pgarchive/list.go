package pgarchive

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// List returns a list file for pg_restore -L that names the entries that keep wants, in the order of the archive; a nil keep wants
// all. pg_restore reads the dump ID that begins a line; the rest is for people, and what could end the line is replaced. It restores what is
// listed and nothing else, so keep must also want the data of a table and what a kept entry depends on.
func List(entries []Entry, keep func(Entry) bool) []byte {
	var b []byte
	for _, e := range entries {
		if keep == nil || keep(e) {
			line := fmt.Sprintf("%d; %s %s %s %s %s %s", e.DumpID, e.TableOID, e.OID, e.Desc, orDash(e.Namespace), e.Tag, e.Owner)
			b = append(b, strings.TrimRight(strings.Map(printable, line), " ")...)
			b = append(b, '\n')
		}
	}
	return b
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// Roles returns the roles that own something in the archive, sorted. Roles that only hold privileges are not among them: GRANT
// statements are not parsed.
func Roles(entries []Entry) []string {
	return names(entries, func(e *Entry) string { return e.Owner })
}

// Extensions returns the names of the extensions that a restore of the archive creates, sorted.
func Extensions(entries []Entry) []string {
	return names(entries, func(e *Entry) string {
		if e.Desc == "EXTENSION" {
			return e.Tag
		}
		return ""
	})
}

// names returns what name gives, sorted and without duplicates and empty strings.
func names(entries []Entry, name func(*Entry) string) []string {
	var all []string
	for i := range entries {
		if n := name(&entries[i]); n != "" {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
