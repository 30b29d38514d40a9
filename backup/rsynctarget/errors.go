package rsynctarget

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/runbook-go/runbook"
)

// Error says that rsync failed. It matches [syscall.ENOSPC] if a disk is full, and [os.ErrDeadlineExceeded] if it timed out.
type Error struct {
	Code    int    // exit code of rsync, see EXIT VALUES in rsync(1), or -1 if a signal ended it
	Meaning string // of the code
	Hint    string // what to look at, or empty
	Err     error  // the [*runbook.ExitError]
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %v", e.Meaning, e.Err)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap returns the [*runbook.ExitError].
func (e *Error) Unwrap() error { return e.Err }

// Is tells a full disk and a time-out, which rsync reports as a text and as an exit code.
func (e *Error) Is(target error) bool {
	switch target {
	case syscall.ENOSPC:
		return saysErrno(e.Err, "No space left on device (28)") || saysErrno(e.Err, "Disk quota exceeded")
	case os.ErrDeadlineExceeded:
		return e.Code == 30 || e.Code == 35
	}
	return false
}

type advice struct{ meaning, hint string }

var codes = map[int]advice{
	1:   {"rsync did not take its options", "this side needs rsync 3.2.4; if the server's is older, set NoSync"},
	2:   {"the two rsyncs do not speak the same protocol", "update the older one"},
	3:   {"rsync could not select its files", "see that the directory exists on both sides"},
	4:   {"rsync cannot do that", "the server refuses an option; look for \"refuse options\" in its configuration, or update it"},
	5:   {"the rsync daemon refused", "check the module's name, user and password, that it is not read only, and its \"refuse options\" and \"hosts allow\""},
	6:   {"the rsync daemon cannot write its log", "look at the server"},
	10:  {"the rsync daemon cannot be reached", "check the address, the port (873 unless given) and the firewall"},
	11:  {"rsync could not read or write a file", "check for a full disk and for permissions on both sides"},
	12:  {"the connection broke, or the other side is not rsync", "check that the server has rsync 3.2.4 (else set NoSync), that its login prints nothing, and its disk"},
	13:  {"rsync could not write its messages", ""},
	14:  {"rsync could not talk to its own processes", ""},
	20:  {"rsync was stopped by a signal", ""},
	21:  {"rsync lost a process of its own", ""},
	22:  {"rsync ran out of memory", ""},
	23:  {"some files were not transferred", "the message names them; check for permissions and a full disk on both sides"},
	24:  {"files vanished while they were sent", "something else changes the directory; run it again"},
	25:  {"the limit on deletions was reached", ""},
	30:  {"nothing moved on the connection for too long", "check the network and the server's load, or allow more by Timeout"},
	35:  {"the rsync daemon did not answer", "check the address, the port (873 unless given) and the firewall"},
	127: {"the server has no rsync", "install it there"},
	255: {"ssh could not log in", "check the host key in the known-hosts file, the identity or agent, and the user"},
}

// explain makes an exit code of rsync an Error.
func explain(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w; install rsync 3.2.4 or later, or name it in Program", err)
	}
	exit, ok := errors.AsType[*runbook.ExitError](err)
	if !ok {
		return err
	}
	a, known := codes[exit.Code]
	if !known {
		a.meaning = "rsync failed"
	}
	return &Error{Code: exit.Code, Meaning: a.meaning, Hint: a.hint, Err: err}
}

// notDirectory says whether rsync found that a part of a path is a file. Some releases report such a path as one with too many links.
func notDirectory(err error) bool {
	return saysErrno(err, "Not a directory (20)") || saysErrno(err, "Too many levels of symbolic links")
}

func saysErrno(err error, text string) bool {
	exit, ok := errors.AsType[*runbook.ExitError](err)
	return ok && strings.Contains(exit.Stderr, text)
}
