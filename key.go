package runbook

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckKey returns nil if key is a valid key of a [Target], and an error that matches [io/fs.ErrInvalid] if it is not.
// Implementations of Target call it first in every method that takes a key.
func CheckKey(key string) error {
	bad := func(why string) error { return fmt.Errorf("key %q: %s: %w", key, why, fs.ErrInvalid) }
	switch {
	case key == "":
		return bad("is empty")
	case len(key) > 1024:
		return fmt.Errorf("key %.64q…: is longer than 1,024 bytes: %w", key, fs.ErrInvalid)
	case !utf8.ValidString(key):
		return bad("is not UTF-8")
	}
	for _, r := range key {
		if unicode.IsControl(r) {
			return bad("has a control character")
		}
	}
	for element := range strings.SplitSeq(key, "/") {
		switch {
		case element == "", element == ".", element == "..":
			return bad("has an empty, . or .. element")
		case len(element) > 255:
			return bad("has an element longer than 255 bytes")
		case strings.HasPrefix(element, ".runbook-"):
			return bad("has an element that starts with .runbook-")
		}
	}
	return nil
}
