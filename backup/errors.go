package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/runbook-go/runbook"
)

// Stage is the part of the work on one database in which something went wrong.
type Stage string

// The stages, in order.
const (
	StageHook    Stage = "hook"    // a BeforeDatabase or AfterDatabase hook
	StageConnect Stage = "connect" // connecting to the database
	StageDump    Stage = "dump"    // pg_dump
	StageWalk    Stage = "walk"    // what pg_dump wrote is not a whole archive
	StageStore   Stage = "store"   // storing, reading back, or publishing
	StageShip    Stage = "ship"    // copying from the staging store to the store
)

// DatabaseError says what went wrong with one database. Find it in the error of [Run] with [errors.As].
type DatabaseError struct {
	Database  string // empty for the globals
	Stage     Stage
	Hint      string // what an operator can do; may be empty
	Retryable bool   // trying again without a change may succeed
	Err       error
}

func (e *DatabaseError) Error() string {
	what := fmt.Sprintf("database %q", e.Database)
	if e.Database == "" {
		what = "globals"
	}
	text := fmt.Sprintf("%s: %s: %v", what, e.Stage, e.Err)
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *DatabaseError) Unwrap() error { return e.Err }

// newDatabaseError adds what can be told from the cause.
func newDatabaseError(database string, stage Stage, err error) *DatabaseError {
	e := &DatabaseError{Database: database, Stage: stage, Err: err}
	if nested, ok := errors.AsType[*stageError](err); ok {
		e.Stage, e.Err = nested.stage, nested.err
	}
	e.Hint, e.Retryable = advise(e.Err)
	return e
}

// stageError carries a stage out of the dump function, through the store.
type stageError struct {
	stage Stage
	err   error
}

func (e *stageError) Error() string { return e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }

// advise classifies a cause by its type or SQLSTATE, and pg_dump's messages, which carry no SQLSTATE, by their English text.
func advise(err error) (hint string, retryable bool) {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return adviseSQL(pg.Code)
	}
	if exit, ok := errors.AsType[*runbook.ExitError](err); ok {
		return adviseDump(exit.Stderr)
	}
	switch _, network := errors.AsType[net.Error](err); {
	case errors.Is(err, context.DeadlineExceeded):
		return "a time-out ended it; look for locks and slow storage, or allow more time", true
	case errors.Is(err, context.Canceled):
		return "", true
	case errors.Is(err, syscall.ENOSPC):
		return "the target is full: apply retention, or add room", false
	case errors.Is(err, fs.ErrPermission):
		return "look at the rights of the user that runs this", false
	case network:
		return "look at the link to the target or the server", true
	}
	return "", false
}

func adviseSQL(code string) (hint string, retryable bool) {
	switch {
	case code == "3D000":
		return "it was dropped while the run went on", false
	case code == "53300":
		return "the server has no free connection: use fewer workers, or raise max_connections or the database's connection limit", true
	case code == "55P03":
		return "a lock was held too long: look for long transactions and DDL, or raise LockTimeout", true
	case code == "28P01", code == "28000":
		return "look at the password (pgpass) and pg_hba.conf", false
	case code == "42501":
		return "the role may not read everything: use a superuser, or grant pg_read_all_data", false
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"):
		return "the server went away or is starting", true
	}
	return "", false
}

func adviseDump(stderr string) (hint string, retryable bool) {
	for _, known := range []struct{ text, code string }{
		{"lock timeout", "55P03"},
		{"statement timeout", "55P03"}, // pg_dump sets it to the lock time-out while it locks
		{"does not exist", "3D000"},
		{"permission denied", "42501"},
		{"too many connections", "53300"},
		{"too many clients", "53300"},
		{"password authentication failed", "28P01"},
		{"no password supplied", "28P01"},
		{"connection to server", "08000"},
		{"server closed the connection", "08006"},
		{"terminating connection", "57P01"},
		{"row-level security", "42501"},
	} {
		if strings.Contains(stderr, known.text) {
			return adviseSQL(known.code)
		}
	}
	return "", false
}
