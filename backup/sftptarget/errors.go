package sftptarget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/pkg/sftp"
)

// LinkError says that the connection to the server could not be made or has broken. The next call connects again.
type LinkError struct {
	Addr string // host:port
	Err  error
}

func (e *LinkError) Error() string { return fmt.Sprintf("connection to %s: %v", e.Addr, e.Err) }

// Unwrap returns the cause.
func (e *LinkError) Unwrap() error { return e.Err }

// Timeout tells whether the server fell silent, as opposed to having hung up.
func (e *LinkError) Timeout() bool { return errors.Is(e.Err, os.ErrDeadlineExceeded) }

// Temporary is always true: the next operation dials again. With it a LinkError is a [net.Error], by which others tell that the link is to blame.
func (e *LinkError) Temporary() bool { return true }

var _ net.Error = (*LinkError)(nil)

func isLinkError(err error) bool {
	_, ok := errors.AsType[*LinkError](err)
	return ok
}

// Codes of later versions of the protocol, which some servers use in version 3 too: draft-ietf-secsh-filexfer-13, section 9.1.
const (
	statusFailure       = 4
	statusOpUnsupported = 8
	statusFileExists    = 11
	statusNoSpace       = 14
	statusQuotaExceeded = 15
)

// sourceError is what the reader given to Put returned. Whatever it matches, it says nothing about the connection.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read what is to be put: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// translate turns what pkg/sftp returns into the vocabulary of this package.
func (c *conn) translate(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*sourceError](err); ok || err == nil || isLinkError(err) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		return err
	}
	// A request that cannot be sent gives whatever the layer below returned, often io.EOF.
	if _, network := errors.AsType[net.Error](err); network || c.isDead() ||
		errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, io.EOF) {
		c.fail(err)
		return &LinkError{c.t.addr, c.err}
	}
	status, ok := errors.AsType[*sftp.StatusError](err)
	if !ok {
		return err
	}
	switch status.Code {
	case statusOpUnsupported:
		return fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	case statusFileExists:
		return fmt.Errorf("%w: %w", os.ErrExist, err)
	case statusNoSpace, statusQuotaExceeded:
		return diskFull(err)
	}
	// Servers written in Go or C send the system's text with SSH_FX_FAILURE.
	if strings.Contains(strings.ToLower(err.Error()), "no space left") {
		return diskFull(err)
	}
	return err
}

func diskFull(err error) error {
	return fmt.Errorf("%w: the server's disk is full; free space there, by retention or by hand (%w)", syscall.ENOSPC, err)
}

// isFailure tells whether the server answered with the code that means anything.
func isFailure(err error) bool {
	status, ok := errors.AsType[*sftp.StatusError](err)
	return ok && status.Code == statusFailure
}
