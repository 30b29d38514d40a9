package backup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
)

// Options of [Run]. The zero value backs up every database of the server and its globals, without role passwords.
type Options struct {
	Select Selection

	// Labels are kept with every snapshot, beside those of the selecting regexp, which win.
	Labels map[string]string

	// Workers is how many databases are dumped at a time; as many more may be waiting for the target to finish. 0 means one a core, but at most a quarter of the
	// connections that are free at the start.
	Workers int

	// NoGlobals leaves out roles and tablespaces. RolePasswords stores the password verifiers of roles with them, which only a superuser can read;
	// encrypt the store then.
	NoGlobals     bool
	RolePasswords bool

	// LockTimeout bounds how long a dump waits for a table lock. 0 means 1 minute.
	LockTimeout time.Duration

	// DatabaseTimeout bounds the work on one database, RunTimeout the whole run. 0 is no bound.
	DatabaseTimeout time.Duration
	RunTimeout      time.Duration

	// Staging, if set, makes the run all or nothing: everything is dumped into Staging first and copied to the store only if every database
	// succeeded. What was copied is then deleted from Staging; what was not stays there until a later run copies a newer snapshot of its database.
	Staging catalog.Store

	// DryRun tells in the report what would be backed up and changes nothing.
	DryRun bool

	// SweepAfter is the age at which an unfinished upload is taken for a dead run's and removed. 0 means a day, -1 leaves everything.
	SweepAfter time.Duration

	// MetricsFile, if set, is replaced after the run by figures in Prometheus' text format, for node_exporter's textfile collector. It must end
	// in ".prom".
	MetricsFile string

	// BinDir is where pg_dump and pg_dumpall are. Empty looks for the lowest version that is not older than the server. Programs older than the server are
	// refused, and so are those with a published hole through which a user of the server could run commands here.
	BinDir string

	Hooks  Hooks
	Events Events
	Runner runbook.Runner   // runs pg_dump; nil means runbook.Local{}
	Logger *slog.Logger     // nil discards
	Now    func() time.Time // nil means time.Now
}

// Hooks are called around the work. An error of a Before hook keeps the work from being done and counts as its failure; an error of an After hook
// makes work that was done count as failed, but the snapshot stays. Nil hooks are not called. Hooks for databases are called from several goroutines.
type Hooks struct {
	BeforeRun      func(ctx context.Context, choices []Choice) error
	AfterRun       func(ctx context.Context, report *Report) error
	BeforeDatabase func(ctx context.Context, database string) error
	AfterDatabase  func(ctx context.Context, result Result) error
}

func (o Options) withDefaults() Options {
	if o.LockTimeout == 0 {
		o.LockTimeout = time.Minute
	}
	if o.SweepAfter == 0 {
		o.SweepAfter = 24 * time.Hour
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

func (o Options) validate() error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	check(o.Workers >= 0, "workers: %d is negative", o.Workers)
	check(o.LockTimeout >= 0, "lock time-out: %s is negative", o.LockTimeout)
	check(o.DatabaseTimeout >= 0, "database time-out: %s is negative", o.DatabaseTimeout)
	check(o.RunTimeout >= 0, "run time-out: %s is negative", o.RunTimeout)
	check(o.MetricsFile == "" || len(o.MetricsFile) > 5 && o.MetricsFile[len(o.MetricsFile)-5:] == ".prom",
		"metrics file %q: its name must end in .prom, or node_exporter will not read it", o.MetricsFile)
	check(!o.RolePasswords || !o.NoGlobals, "role passwords are part of the globals, which are left out")
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("backup options: %w", err)
	}
	return nil
}
