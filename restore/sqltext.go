package restore

import (
	"errors"
	"fmt"
	"strings"
)

// token is a piece of SQL text.
type token struct {
	kind tokenKind
	text string // as written, without the quotes of a quoted identifier
	pos  int    // where it begins in the statement
	end  int    // where it ends
}

type tokenKind int

const (
	word   tokenKind = iota // unquoted identifier, keyword or number
	quoted                  // "identifier"
	str                     // string constant of any form
	punct                   // one other byte
)

// is says whether t is one of these keywords, which are given in lower case.
func (t token) is(keywords ...string) bool {
	if t.kind != word {
		return false
	}
	for _, k := range keywords {
		if strings.EqualFold(t.text, k) {
			return true
		}
	}
	return false
}

// name returns the name that t stands for as an identifier.
func (t token) name() (string, bool) {
	switch t.kind {
	case word:
		return strings.ToLower(t.text), t.text[0] > '9'
	case quoted:
		return t.text, true
	}
	return "", false
}

// statement is one SQL statement without its semicolon.
type statement struct {
	text   string
	tokens []token
}

// splitSQL splits a script into statements by PostgreSQL's lexical rules with standard_conforming_strings on. A backslash outside of quotes, with which psql's
// commands begin, is an error, except in lines that are wholly \restrict or \unrestrict and a key.
func splitSQL(script string) (list []statement, err error) {
	var tokens []token
	flush := func(end int) {
		if len(tokens) > 0 {
			base := tokens[0].pos
			for i := range tokens {
				tokens[i].pos -= base
				tokens[i].end -= base
			}
			list = append(list, statement{strings.TrimSpace(script[base:end]), tokens})
		}
		tokens = nil
	}
	if strings.ContainsRune(script, 0) {
		return nil, errors.New("has a zero byte")
	}
	for i := 0; i < len(script); {
		c := script[i]
		n := 0
		t := token{kind: punct, pos: i}
		switch {
		case strings.IndexByte(" \t\r\n\f\v", c) >= 0:
			i++
			continue
		case c == ';':
			flush(i)
			i++
			continue
		case strings.HasPrefix(script[i:], "--"):
			n = strings.IndexAny(script[i:], "\r\n")
			if n < 0 {
				n = len(script) - i
			}
			i += n
			continue
		case strings.HasPrefix(script[i:], "/*"):
			if n = commentLength(script[i:]); n < 0 {
				return nil, unclosed(script, i, "comment")
			}
			i += n
			continue
		case c == '\\':
			if n = restrictLength(script, i); n < 0 || len(tokens) > 0 {
				return nil, fmt.Errorf("line %d has a backslash outside of quotes: it is a command for psql, not SQL", 1+strings.Count(script[:i], "\n"))
			}
			i += n
			continue
		case c == '"':
			t.kind = quoted
			n = quotedLength(script[i:], '"', false)
		case c == '\'':
			t.kind = str
			n = quotedLength(script[i:], '\'', escapes(script, i, tokens))
		case c == '$':
			if n = dollarLength(script[i:]); n != 0 {
				t.kind = str
			} else {
				n = 1
			}
		case isWord(c):
			t.kind = word
			for i+n < len(script) && (isWord(script[i+n]) || script[i+n] == '$') {
				n++
			}
		default:
			n = 1
		}
		if n < 0 {
			return nil, unclosed(script, i, "quote")
		}
		t.text, t.end = script[i:i+n], i+n
		if t.kind == quoted {
			t.text = strings.ReplaceAll(t.text[1:n-1], `""`, `"`)
		}
		tokens = append(tokens, t)
		i += n
	}
	flush(len(script))
	return list, nil
}

func unclosed(script string, at int, what string) error {
	return fmt.Errorf("line %d begins a %s that does not end", 1+strings.Count(script[:at], "\n"), what)
}

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// escapes says whether the constant that begins at i is an E'…' one, in which a backslash quotes.
func escapes(script string, i int, before []token) bool {
	return len(before) > 0 && before[len(before)-1].end == i && before[len(before)-1].is("e")
}

// quotedLength returns the length of what begins with a quote, or -1 if it does not end.
func quotedLength(s string, quote byte, backslash bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return -1
}

// dollarLength returns the length of a $tag$…$tag$ constant, 0 if none begins here, or -1 if it does not end.
func dollarLength(s string) int {
	n := 1
	for n < len(s) && isWord(s[n]) {
		n++
	}
	if n == len(s) || s[n] != '$' || n > 1 && '0' <= s[1] && s[1] <= '9' {
		return 0
	}
	tag := s[:n+1]
	end := strings.Index(s[n+1:], tag)
	if end < 0 {
		return -1
	}
	return len(tag) + end + len(tag)
}

// commentLength returns the length of a comment, which may hold others, or -1 if it does not end.
func commentLength(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return i + 1
		}
	}
	return -1
}

// restrictLength returns the length of the \restrict or \unrestrict line that begins at i, or -1 if it is none.
func restrictLength(script string, i int) int {
	if i > 0 && script[i-1] != '\n' {
		return -1
	}
	line, _, _ := strings.Cut(script[i:], "\n")
	command, key, ok := strings.Cut(strings.TrimSuffix(line, "\r"), " ")
	if !ok || command != `\restrict` && command != `\unrestrict` || key == "" {
		return -1
	}
	for j := range len(key) {
		if !isWord(key[j]) || key[j] >= 0x80 || key[j] == '_' {
			return -1
		}
	}
	return len(line)
}
