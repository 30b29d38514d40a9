package rsynctarget

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// login is how a server is named: no part can be taken for an option, and there is no place for a password.
const login = `(?:\w[\w.-]*@)?(?:\w[\w.-]+|\[[0-9A-Fa-f:.]+(?:%\w+)?\])`

// Each form has the place on the server as its group.
var (
	daemonForm = regexp.MustCompile(`^` + login + `::([^-./:@][^/:@]*(?:/.*)?)$`)
	urlForm    = regexp.MustCompile(`^rsync://` + login + `(?::\d{1,5})?/([^-./:@][^/:@]*(?:/.*)?)$`)
	sshForm    = regexp.MustCompile(`^` + login + `:(/(?:[^/].*)?|[^-/:@][^/:@]*(?:/.*)?)$`)
)

// parseDestination returns a destination with a slash at its end. It refuses what rsync could take for something else than it seems to be. No
// error repeats the destination, as somebody may have put a password into it.
func parseDestination(destination string) (at string, overSSH bool, err error) {
	match := daemonForm.FindStringSubmatch(destination)
	if match == nil {
		match = urlForm.FindStringSubmatch(destination)
	}
	if match == nil && !strings.HasPrefix(destination, "rsync://") {
		match = sshForm.FindStringSubmatch(destination)
		overSSH = true
	}
	switch {
	case match == nil:
		return "", false, errors.New("the destination is not of the form [user@]host::module[/directory], rsync://[user@]host[:port]/module[/directory] " +
			"or [user@]host:directory, and it must not hold a password")
	case strings.ContainsFunc(destination, unicode.IsControl):
		return "", false, errors.New("the destination has a control character")
	case strings.ContainsAny(match[1], `*?[\`):
		return "", false, errors.New(`the destination has a *, ?, [ or \, which rsync would expand on the server`)
	case slices.Contains(strings.Split(match[1], "/"), ".."):
		return "", false, errors.New("the destination has a .. in it; name the directory itself")
	}
	return strings.TrimRight(destination, "/") + "/", overSSH, nil
}
