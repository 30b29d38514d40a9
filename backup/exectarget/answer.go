package exectarget

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/runbook-go/runbook"
)

// lines is what a plug-in writes to standard output: lines of a word, a space and the rest. A line with an unknown word is ignored, so
// that plug-ins can say more in a later version.
type lines struct {
	each func(word, rest string) error
	part []byte
	err  error
}

// maxLine is above what the longest key needs.
const maxLine = 8 << 10

// Write never fails, as the plug-in is to exit by itself; end tells what was wrong.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for l.err == nil {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), maxLine+1)]...)
		if len(l.part) > maxLine {
			l.err = fmt.Errorf("the plug-in wrote a line of more than %d bytes", maxLine)
		}
		if !whole || l.err != nil {
			break
		}
		l.line()
		p = rest
	}
	return n, nil
}

func (l *lines) line() {
	word, rest, _ := strings.Cut(strings.TrimSuffix(string(l.part), "\r"), " ")
	l.part = l.part[:0]
	if err := l.each(word, rest); err != nil {
		l.err = fmt.Errorf("the plug-in wrote a malformed line %q: %w", word+" "+rest, err)
	}
}

// end takes a last line without a line end.
func (l *lines) end() error {
	if l.err == nil && len(l.part) > 0 {
		l.line()
	}
	return l.err
}

// number takes the last line "WORD NUMBER".
func number(word string, n *int64) *lines {
	return &lines{each: func(w, rest string) (err error) {
		if w == word {
			*n, err = natural(rest)
		}
		return err
	}}
}

// objects takes lines "object SIZE TIME /KEY". The time is in seconds since 1970, and may have a fraction.
func objects(found *[]runbook.Object) *lines {
	return &lines{each: func(word, rest string) error {
		if word != "object" {
			return nil
		}
		size, rest, _ := strings.Cut(rest, " ")
		modified, key, _ := strings.Cut(rest, " ")
		o := runbook.Object{}
		var err error
		if o.Size, err = natural(size); err != nil {
			return fmt.Errorf("size: %w", err)
		}
		if o.Modified, err = unixTime(modified); err != nil {
			return fmt.Errorf("time: %w", err)
		}
		var slash bool
		if o.Key, slash = strings.CutPrefix(key, "/"); !slash {
			return fmt.Errorf("the key %q does not begin with a slash", key)
		}
		*found = append(*found, o)
		return nil
	}}
}

func natural(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil && n < 0 {
		err = fmt.Errorf("%d is negative", n)
	}
	return n, err
}

func unixTime(s string) (time.Time, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	nano, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 32)
	return time.Unix(seconds, int64(nano)), err
}
