package backup

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/runbook-go/runbook/internal/pgname"
)

// Selection says which databases to back up. The zero value selects every database. A database is selected if a pattern of
// Include, a name of Names or Regexp matches it and no pattern of Exclude does. Templates and databases that allow no connections are selected and then
// skipped, with the reason in the report.
type Selection struct {
	// Include and Exclude are patterns over the whole name: * is any run of characters, ? one character, [a-z] one of a class and
	// [!a-z] one outside it, and a backslash takes away the meaning of the next character.
	Include []string
	Exclude []string

	// Names are exact. One that does not exist is an error unless AllowMissing is set.
	Names []string

	// Regexp must match the whole name. Its named groups become labels of the snapshot: with
	// ^Specibike(?P<class>Stmg[0-9])?(?P<group>Groupe[0-9])?$ a school can keep or find snapshots by class.
	Regexp *regexp.Regexp

	FoldCase     bool // patterns and Regexp ignore case; Names stay exact
	AllowNone    bool // a pattern or Regexp that matches nothing is no error
	AllowMissing bool // a name that does not exist is no error
}

// Choice is the outcome of a [Selection] for one database.
type Choice struct {
	Database Database
	Skip     string            // why it cannot be backed up; empty if it can
	Labels   map[string]string // of Regexp's named groups that took part in the match
}

// Choose applies the selection to the databases of a cluster. It is pure. It returns the selected ones in the order given; the error names every
// pattern and name that found nothing, and comes together with the choices.
func (s Selection) Choose(databases []Database) ([]Choice, error) {
	include, err := s.compile(s.Include)
	if err != nil {
		return nil, err
	}
	exclude, err := s.compile(s.Exclude)
	if err != nil {
		return nil, err
	}
	whole, err := s.wholeRegexp()
	if err != nil {
		return nil, err
	}
	all := len(s.Include) == 0 && len(s.Names) == 0 && whole == nil
	used := make([]bool, len(include))
	found := make(map[string]bool)
	regexpUsed := false
	var choices []Choice
	for _, db := range databases {
		selected := all
		for i, re := range include {
			if re.MatchString(db.Name) {
				selected, used[i] = true, true
			}
		}
		if slices.Contains(s.Names, db.Name) {
			selected, found[db.Name] = true, true
		}
		var labels map[string]string
		if whole != nil {
			if match := whole.FindStringSubmatch(db.Name); match != nil {
				selected, regexpUsed = true, true
				labels = namedGroups(whole, match)
			}
		}
		if !selected || slices.ContainsFunc(exclude, func(re *regexp.Regexp) bool { return re.MatchString(db.Name) }) {
			continue
		}
		choices = append(choices, Choice{db, db.skip(), labels})
	}
	var problems []error
	if !s.AllowNone {
		for i, pattern := range s.Include {
			if !used[i] {
				problems = append(problems, fmt.Errorf("pattern %q matches no database", pattern))
			}
		}
		if whole != nil && !regexpUsed {
			problems = append(problems, fmt.Errorf("regexp %q matches no database", s.Regexp))
		}
	}
	if !s.AllowMissing {
		for _, name := range s.Names {
			if !found[name] {
				problems = append(problems, fmt.Errorf("database %q does not exist", name))
			}
		}
	}
	return choices, errors.Join(problems...)
}

// skip tells why a database cannot be backed up, or nothing.
func (db Database) skip() string {
	switch {
	case db.IsTemplate:
		return "is a template"
	case strings.HasPrefix(db.Properties.Comment, pgname.RestoreMark):
		return "belongs to a restore: it is being filled, or was replaced and is kept for an undo"
	case !db.AllowsConnections:
		return "allows no connections (datallowconn is false)"
	}
	return ""
}

func (s Selection) wholeRegexp() (*regexp.Regexp, error) {
	if s.Regexp == nil {
		return nil, nil
	}
	flags := "(?s)"
	if s.FoldCase {
		flags = "(?is)"
	}
	re, err := regexp.Compile(flags + `\A(?:` + s.Regexp.String() + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("regexp %q: %w", s.Regexp, err)
	}
	return re, nil
}

func namedGroups(re *regexp.Regexp, match []string) map[string]string {
	labels := make(map[string]string)
	for i, name := range re.SubexpNames() {
		if name != "" && match[i] != "" {
			labels[name] = match[i]
		}
	}
	return labels
}

func (s Selection) compile(patterns []string) ([]*regexp.Regexp, error) {
	var compiled []*regexp.Regexp
	for _, pattern := range patterns {
		re, err := globRegexp(pattern, s.FoldCase)
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, re)
	}
	return compiled, nil
}

// globRegexp translates a pattern. path.Match would not do: a database's name may hold a slash.
func globRegexp(pattern string, fold bool) (*regexp.Regexp, error) {
	bad := func(why string) (*regexp.Regexp, error) { return nil, fmt.Errorf("pattern %q: %s", pattern, why) }
	if pattern == "" {
		return bad("is empty")
	}
	var b strings.Builder
	b.WriteString("(?s")
	if fold {
		b.WriteString("i")
	}
	b.WriteString(`)\A`)
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; c {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteString(`.`)
		case '\\':
			if i++; i == len(runes) {
				return bad("ends with a backslash")
			}
			b.WriteString(regexp.QuoteMeta(string(runes[i])))
		case '[':
			end := i + 1
			for end < len(runes) && (runes[end] != ']' || end == i+1 || end == i+2 && (runes[i+1] == '!' || runes[i+1] == '^')) {
				end++
			}
			if end == len(runes) {
				return bad("has a [ without its ]")
			}
			class := string(runes[i+1 : end])
			b.WriteByte('[')
			if class[0] == '!' || class[0] == '^' {
				b.WriteByte('^')
				class = class[1:]
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `&`, `\&`, `~`, `\~`).Replace(class))
			b.WriteByte(']')
			i = end
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return bad("has a malformed class")
	}
	return re, nil
}
