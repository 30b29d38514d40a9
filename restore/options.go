package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
)

// Options say how to restore. The zero value restores a whole database under its own name, which must be free, and proves it at level [catalog.L4].
//
// [NewPlan] takes from it what is decided before anything is done: the first group. The other functions take the rest.
type Options struct {
	// As is the name that the restored database gets. Empty is the name it had.
	As string

	// Replace allows that a database of that name exists: it is moved aside by a verified swap. Without it that is a problem of the plan.
	Replace bool

	// Level is how far the restored database is proven before it gets its name: [catalog.L3], L4 or, with Probe, L5. 0 means L4.
	Level catalog.Level

	// Walk says when the whole archive is read and verified before anything is created.
	Walk Walk

	// Owner gives every object and the database to one role. Empty keeps the owners of the snapshot if a superuser restores, and is the
	// restoring role otherwise. Privileges on objects are not restored when one role owns everything.
	Owner string

	// Roles maps roles of the snapshot to roles of the server; those not named keep their name.
	Roles map[string]string

	// CreateRoles creates the roles that are missing, without the right to log in.
	CreateRoles bool

	// NoACL leaves all privileges as PostgreSQL gives them to new objects.
	NoACL bool

	// Schemas and Tables restore a part only: what they name, what belongs to it, and the definitions it needs. Only the chosen tables are compared then.
	Schemas []string
	Tables  []Name

	// Locale replaces the collation and character type of the database, for a server that does not know the recorded ones.
	Locale string

	// Tablespaces keeps the tablespaces of the snapshot. Without it everything goes into the server's default one.
	Tablespaces bool

	// Jobs is how many connections pg_restore uses. 0 means 1: a single transaction, fed from the store without touching a disk. More need a
	// file to seek in: the archive is then kept in SpoolDir, in a file that only its owner can read, while the restore runs.
	Jobs     int
	SpoolDir string

	// FreeSpace tells the bytes free where the server keeps its data. Nil means unknown, and the plan warns.
	FreeSpace func(ctx context.Context) (int64, error)

	// Parallel is how many databases [All] restores at a time. 0 means 2.
	Parallel int

	// KeepExisting makes [All] leave databases alone that exist: a second run after a failure restores only what is missing.
	KeepExisting bool

	// UndoWindow is how long a replaced database is kept at least. 0 means 7 days.
	UndoWindow time.Duration

	// Timeout bounds the work on one database; 0 is no bound. SwapTimeout bounds how long the swap waits for sessions to
	// go; 0 means 30 seconds. LockTimeout bounds the wait for another run on the same database; 0 means 10 seconds. CleanupTimeout bounds what
	// is done after a failure or a cancel; 0 means 1 minute.
	Timeout        time.Duration
	SwapTimeout    time.Duration
	LockTimeout    time.Duration
	CleanupTimeout time.Duration

	// Neutralise is SQL, of several statements perhaps, that is run in the restored database after it was verified and before it gets its name: to
	// keep a copy from sending mail or running jobs. It runs in one transaction.
	Neutralise string

	// Probe is the application's own check of the restored database, for level L5. The connection string holds a password.
	Probe func(ctx context.Context, dsn string) error

	Hooks  Hooks
	Events Events
	BinDir string           // where pg_restore and pg_dump are; empty looks for the lowest version that fits
	Runner runbook.Runner   // runs them; nil means runbook.Local{}
	Logger *slog.Logger     // nil discards
	Now    func() time.Time // nil means time.Now
}

// Name is the name of a table, view or other relation.
type Name struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
}

// Walk says when an archive is verified as a whole beforehand. It is verified while it is restored in any case; beforehand costs one more read.
type Walk int

// When to walk.
const (
	WalkReplace Walk = iota // if a live database is to be replaced
	WalkAlways
	WalkNever
)

// Hooks carry a maintenance procedure. An error of a Before hook ends the run. An After hook runs whenever its Before hook was called, even if that
// failed or the context was cancelled; err is what went wrong so far. Nil hooks are not called.
type Hooks struct {
	Before     func(ctx context.Context, p *Plan) error            // before anything is changed
	BeforeSwap func(ctx context.Context, p *Plan) error            // the restored database is verified; the live one is still in use
	AfterSwap  func(ctx context.Context, p *Plan, err error) error // the name is taken, or was not
	After      func(ctx context.Context, p *Plan, err error) error // at the end
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&o.UndoWindow, 7*24*time.Hour)
	set(&o.SwapTimeout, 30*time.Second)
	set(&o.LockTimeout, 10*time.Second)
	set(&o.CleanupTimeout, time.Minute)
	o.Jobs = max(o.Jobs, 1)
	if o.Parallel == 0 {
		o.Parallel = 2
	}
	if o.Level == 0 {
		o.Level = catalog.L4
	}
	if o.Runner == nil {
		o.Runner = runbook.Local{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// validate checks options after withDefaults.
func (o Options) validate() error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	check(o.Level >= catalog.L3 && o.Level <= catalog.L5, "level %s cannot be reached by a restore; choose L3, L4 or L5", o.Level)
	check(o.Level != catalog.L5 || o.Probe != nil, "level L5 needs a Probe")
	check(o.Jobs == 1 || o.SpoolDir != "", "%d jobs need a SpoolDir, as pg_restore must seek in the archive", o.Jobs)
	check(o.Owner == "" || len(o.Roles) == 0, "Owner and Roles exclude each other")
	check(o.Walk >= WalkReplace && o.Walk <= WalkNever, "walk %d is unknown", o.Walk)
	check(len(o.As) <= maxName, "the name %q is longer than %d bytes", o.As, maxName)
	check(o.Parallel > 0, "parallel: %d is negative", o.Parallel)
	for name, d := range map[string]time.Duration{
		"undo window": o.UndoWindow, "time-out": o.Timeout, "swap time-out": o.SwapTimeout, "lock time-out": o.LockTimeout, "clean-up time-out": o.CleanupTimeout,
	} {
		check(d >= 0, "%s: %s is negative", name, d)
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("restore options: %w", err)
	}
	return nil
}

// maxName is PostgreSQL's NAMEDATALEN - 1.
const maxName = 63
