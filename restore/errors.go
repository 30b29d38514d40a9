package restore

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
	rbconn "github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/redact"
)

// Stage is a part of the work on one database.
type Stage string

// The stages of a restore, in order. Not every restore has every stage.
const (
	StagePlan       Stage = "plan"       // looking at the snapshot and the server
	StageConnect    Stage = "connect"    // connecting to the server, finding its programs
	StageBefore     Stage = "before"     // the Before hook
	StageLock       Stage = "lock"       // keeping other runs out
	StageHeal       Stage = "heal"       // removing what a killed run left
	StageRoles      Stage = "roles"      // creating missing roles
	StageCreate     Stage = "create"     // creating the scratch database
	StageMark       Stage = "mark"       // marking it
	StageSpool      Stage = "spool"      // keeping the archive for parallel jobs
	StageRestore    Stage = "restore"    // pg_restore
	StageOwners     Stage = "owners"     // mapping owners and privileges
	StageSettings   Stage = "settings"   // ALTER DATABASE … SET and the like
	StageVerify     Stage = "verify"     // comparing with what was recorded
	StageNeutralise Stage = "neutralise" // the caller's SQL
	StageProbe      Stage = "probe"      // the caller's probe
	StageProperties Stage = "properties" // owner and privileges of the database
	StageBeforeSwap Stage = "beforeswap" // the BeforeSwap hook
	StageSwap       Stage = "swap"       // taking the name
	StageSwapped    Stage = "swapped"    // the name is taken
	StageAfterSwap  Stage = "afterswap"  // the AfterSwap hook
	StageDrop       Stage = "drop"       // removing a database
	StageAfter      Stage = "after"      // the After hook
	StageGlobals    Stage = "globals"    // roles and tablespaces
)

// DatabaseError says what went wrong with one database. Find it with [errors.As].
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
	text := fmt.Sprintf("restore %s: %s: %v", what, e.Stage, e.Err)
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *DatabaseError) Unwrap() error { return e.Err }

// MismatchError says that what was restored is not what was recorded when the snapshot was made.
type MismatchError struct {
	Differences []string // one object a line
}

func (e *MismatchError) Error() string {
	const shown = 10
	list := e.Differences
	more := ""
	if len(list) > shown {
		more = fmt.Sprintf("; and %d more", len(list)-shown)
		list = list[:shown]
	}
	return "differs from the snapshot: " + strings.Join(list, "; ") + more
}

// ArchiveError says that the archive of a snapshot could not be read as it was stored.
type ArchiveError struct {
	Snapshot string
	Err      error
}

func (e *ArchiveError) Error() string {
	return fmt.Sprintf("read archive of snapshot %s: %v", e.Snapshot, e.Err)
}

// Unwrap returns the cause.
func (e *ArchiveError) Unwrap() error { return e.Err }

// fail makes err a DatabaseError unless it is one.
func fail(database string, stage Stage, err error) error {
	if err == nil {
		return nil
	}
	if _, done := errors.AsType[*DatabaseError](err); done {
		return err
	}
	e := &DatabaseError{Database: database, Stage: stage, Err: err}
	e.Hint, e.Retryable = advise(err)
	return e
}

// hide hides the server's password in the text of an error, where the caller's own functions may have put it.
func hide(server *rbconn.Server, err error) error {
	return redact.New(server.Secrets()...).Error(err)
}

func advise(err error) (hint string, retryable bool) {
	if _, ok := errors.AsType[*MismatchError](err); ok {
		return "the live database was not touched; look at the snapshot with a drill, or restore an older one", false
	}
	if _, ok := errors.AsType[*ArchiveError](err); ok && !isTransient(err) {
		return "the stored archive is damaged or missing; the live database was not touched; restore another snapshot", false
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return adviseSQL(pg.Code)
	}
	if _, ok := errors.AsType[*runbook.ExitError](err); ok {
		return "the message of the program says why; the scratch database was removed", false
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "a time-out ended it; look for locks and slow storage, or allow more time", true
	case errors.Is(err, context.Canceled):
		return "", true
	case errors.Is(err, syscall.ENOSPC):
		return "make room where the archive is spooled", false
	case errors.Is(err, fs.ErrPermission):
		return "look at the rights of the user that runs this", false
	case isNetwork(err):
		return "look at the link to the server or the store", true
	}
	return "", false
}

// isTransient says that err tells nothing about what was read.
func isTransient(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || isNetwork(err)
}

func isNetwork(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network
}

func adviseSQL(code string) (hint string, retryable bool) {
	switch {
	case code == "42501":
		return "the role may not do that: CREATEDB is needed, ownership of what is replaced, and membership in the roles that get something", false
	case code == "53300":
		return "the server has no free connection: restore fewer at a time, or raise max_connections", true
	case code == "53100":
		return "the server's disk is full", false
	case code == "55P03", code == "55006":
		return "something holds the database; look at pg_stat_activity and pg_prepared_xacts", true
	case code == "28P01", code == "28000":
		return "look at the password (pgpass) and pg_hba.conf", false
	case code == "22023", code == "42704":
		return "the server does not know something that the snapshot needs, such as a locale; see Options.Locale", false
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"):
		return "the server went away or is starting", true
	}
	return "", false
}
