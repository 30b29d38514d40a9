package restore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/wording"
	"github.com/runbook-go/runbook/restore/scratch"
)

// DrillOptions say what to prove and where. The zero value proves every snapshot of a database that was not yet proven at [catalog.L4], in a throw-away server.
type DrillOptions struct {
	Query catalog.Query

	// Level is what is to be proven: [catalog.L3], L4 or, with Probe, L5. 0 means L4.
	Level catalog.Level

	// Again also takes snapshots whose proof is older than this. 0 means never.
	Again time.Duration

	// Budget is a time after which no further snapshot is begun. 0 is no bound. Timeout bounds the work on one snapshot; 0 is no bound.
	Budget  time.Duration
	Timeout time.Duration

	// Parallel is how many snapshots are restored at a time. 0 means 2.
	Parallel int

	// DSN names a server to use instead of a throw-away one. Databases of our own are created there and dropped again, and so it is not used unless asked for. Roles that
	// are missing are created there only with CreateRoles; without it one role owns everything.
	DSN         string
	CreateRoles bool

	// Scratch configures the throw-away server.
	Scratch scratch.Options

	// Neutralise is SQL that is run in each restored database before Probe; see [Options].
	Neutralise string

	// Probe is the application's own check of a restored database, for level L5. The connection string holds a password.
	Probe func(ctx context.Context, m *catalog.Manifest, dsn string) error

	Events Events
	BinDir string           // where PostgreSQL's programs are; empty looks for the lowest version that fits
	Runner runbook.Runner   // runs them; nil means runbook.Local{}
	Logger *slog.Logger     // nil discards
	Now    func() time.Time // nil means time.Now
}

// DrillReport says what a drill proved.
type DrillReport struct {
	Started  time.Time     `json:"started"`
	Finished time.Time     `json:"finished"`
	Drilled  []DrillResult `json:"drilled"`            // in the order in which they were begun
	Left     []string      `json:"left,omitempty"`     // snapshots for which there was no time
	Warnings []string      `json:"warnings,omitempty"` //
}

// DrillResult is what a drill found out about one snapshot.
type DrillResult struct {
	Snapshot string            `json:"snapshot"`
	Database string            `json:"database"`
	Evidence *catalog.Evidence `json:"evidence,omitempty"` // that was recorded; nil if the drill could not tell: Err then says why
	Err      error             `json:"-"`
}

// MarshalJSON adds the error's text.
func (r DrillResult) MarshalJSON() ([]byte, error) {
	type plain DrillResult
	return json.Marshal(struct {
		plain
		Error string `json:"error,omitempty"`
	}{plain(r), errorText(r.Err)})
}

// Choose returns the snapshots to drill, the most useful first: the newest of each database before the second newest of any, and among those the databases whose
// last proof at level is oldest or missing. A snapshot is due if it was not yet proven at level, or, if again is not 0, longer ago than that. One whose last attempt
// failed comes behind all others.
func Choose(all []*catalog.Snapshot, level catalog.Level, again time.Duration, now time.Time) []*catalog.Snapshot {
	type candidate struct {
		s      *catalog.Snapshot
		failed bool
		rank   int       // 0 is the newest of its database
		proof  time.Time // last of its database
	}
	groups := make(map[series][]*catalog.Snapshot)
	for _, s := range all {
		if s.Kind == catalog.Database {
			groups[seriesOf(s)] = append(groups[seriesOf(s)], s)
		}
	}
	var due []candidate
	for _, group := range groups {
		slices.SortFunc(group, func(a, b *catalog.Snapshot) int { return cmp.Compare(b.ID, a.ID) })
		var proof time.Time
		for _, s := range group {
			if l, at := s.Proven(); l >= level && at.After(proof) {
				proof = at
			}
		}
		for rank, s := range group {
			l, at := s.Proven()
			if l >= level && (again == 0 || now.Sub(at) < again) {
				continue
			}
			failed := len(s.Evidence) > 0 && !s.Evidence[len(s.Evidence)-1].Passed
			due = append(due, candidate{s, failed, rank, proof})
		}
	}
	slices.SortFunc(due, func(a, b candidate) int {
		order := func(failed bool) int { return map[bool]int{true: 1}[failed] }
		return cmp.Or(cmp.Compare(order(a.failed), order(b.failed)), cmp.Compare(a.rank, b.rank), a.proof.Compare(b.proof),
			cmp.Compare(a.s.Database, b.s.Database), cmp.Compare(a.s.ID, b.s.ID))
	})
	list := make([]*catalog.Snapshot, len(due))
	for i, c := range due {
		list[i] = c.s
	}
	return list
}

// Drill restores snapshots that are due, see [Choose], proves them, records the evidence in the store and drops the copies. It touches no live database. A snapshot that
// does not restore gets evidence that says so, and harms no other. What says nothing about a snapshot, such as a missing extension or a link that broke, is an
// error of the drill and gives no evidence. The report comes with an error too; that joins one for each snapshot that was not proven.
func Drill(ctx context.Context, store catalog.Store, o DrillOptions) (*DrillReport, error) {
	ro := o.restoreOptions()
	if err := ro.validate(); err != nil {
		return nil, err
	}
	report := &DrillReport{Started: ro.Now().UTC()}
	defer func() { report.Finished = ro.Now().UTC() }()
	all, listErr := listSnapshots(ctx, store, o.Query)
	chosen := Choose(all, ro.Level, o.Again, ro.Now())
	var failures []error
	if listErr != nil {
		failures = append(failures, listErr)
	}
	if len(chosen) == 0 {
		return report, wording.Failures("parts of the drill", failures)
	}
	if o.DSN == "" {
		server, err := o.startScratch(ctx, chosen)
		if err != nil {
			return report, errors.Join(err, listErr)
		}
		defer func() {
			if err := server.Close(); err != nil {
				report.Warnings = append(report.Warnings, err.Error())
			}
		}()
		o.DSN, o.CreateRoles = server.DSN(), true
	}
	results := make([]*DrillResult, len(chosen))
	each(len(chosen), ro.Parallel, func(i int) {
		if ctx.Err() == nil && (o.Budget == 0 || ro.Now().Sub(report.Started) < o.Budget) {
			results[i] = drillOne(ctx, store, chosen[i], o, ro)
		}
	})
	for i, r := range results {
		if r == nil {
			report.Left = append(report.Left, chosen[i].ID)
			continue
		}
		report.Drilled = append(report.Drilled, *r)
		if r.Err != nil {
			failures = append(failures, r.Err)
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		failures = append(failures, cause)
	}
	return report, wording.Failures("parts of the drill", failures)
}

func (o DrillOptions) restoreOptions() Options {
	ro := Options{
		Level: o.Level, Walk: WalkNever, Timeout: o.Timeout, Parallel: o.Parallel, Neutralise: o.Neutralise,
		Events: o.Events, BinDir: o.BinDir, Runner: o.Runner, Logger: o.Logger, Now: o.Now, CreateRoles: true,
	}
	if o.Probe != nil {
		ro.Probe = func(context.Context, string) error { return nil } // each snapshot gets its own
	}
	return ro.withDefaults()
}

// startScratch starts a server that is new enough for all of the snapshots.
func (o DrillOptions) startScratch(ctx context.Context, chosen []*catalog.Snapshot) (*scratch.Server, error) {
	so := o.Scratch
	for _, s := range chosen {
		so.MinMajor = max(so.MinMajor, s.Cluster.Version/10000)
	}
	so.BinDir, so.Logger = cmp.Or(so.BinDir, o.BinDir), cmp.Or(so.Logger, o.Logger)
	return scratch.Start(ctx, so)
}

// drillOne proves one snapshot and records what came out.
func drillOne(ctx context.Context, store catalog.Store, s *catalog.Snapshot, o DrillOptions, ro Options) *DrillResult {
	result := &DrillResult{Snapshot: s.ID, Database: s.Database}
	m := &s.Manifest
	if o.Probe != nil {
		ro.Probe = func(ctx context.Context, dsn string) error { return o.Probe(ctx, m, dsn) }
	}
	report, server, err := prove(ctx, store, s, o, ro)
	if err != nil && !accuses(ctx, o.DSN, err) {
		result.Err = err
		return result
	}
	e := &catalog.Evidence{Version: catalog.FormatVersion, Snapshot: s.ID, At: ro.Now().UTC(), Passed: err == nil, Level: ro.Level, Server: server}
	if report != nil {
		e.Restore, e.Verify, e.Warnings = report.Restore, report.Verify, report.Warnings
	}
	if err != nil {
		e.Problem = err.Error()
		result.Err = err
	}
	if recordErr := store.Record(ctx, m, *e); recordErr != nil {
		result.Err = errors.Join(err, &DatabaseError{Database: s.Database, Stage: StageDrop, Err: fmt.Errorf("record evidence: %w", recordErr), Retryable: true})
		return result
	}
	result.Evidence = e
	return result
}

// prove restores a snapshot into a scratch database and drops that.
func prove(ctx context.Context, store catalog.Store, s *catalog.Snapshot, o DrillOptions, ro Options) (report *Report, server int, err error) {
	// The name is never taken; it must be free for the plan, and short enough to be told from others.
	ro.As = drillName(s)
	defer func() {
		if d, ok := errors.AsType[*DatabaseError](err); ok {
			d.Database = s.Database // and not the name that the copy would have had
		}
	}()
	if !o.CreateRoles {
		ro.CreateRoles, ro.NoACL = false, true
		if ro.Owner, err = userOf(o.DSN); err != nil {
			return nil, 0, fail(s.Database, StageConnect, err)
		}
	}
	plan, err := NewPlan(ctx, o.DSN, store, s, ro)
	if err != nil {
		return nil, 0, err
	}
	j, err := newJob(plan, store, lockKey{live: plan.Database, drill: s.ID}, ro)
	if err != nil {
		return nil, plan.Server, err
	}
	err = j.run(ctx, o.DSN, func(ctx context.Context) error {
		if err := j.fill(ctx); err != nil {
			return err
		}
		return j.dropScratch(ctx)
	})
	return j.report, plan.Server, err
}

// accuses says whether an error speaks against the snapshot, and not against the server, the link or the caller.
func accuses(ctx context.Context, dsn string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if archive, ok := errors.AsType[*ArchiveError](err); ok {
		return errors.Is(archive, fs.ErrNotExist) || !isTransient(archive)
	}
	d, ok := errors.AsType[*DatabaseError](err)
	if !ok || d.Retryable {
		return false
	}
	switch d.Stage {
	case StageRestore, StageOwners, StageVerify, StageProbe:
	default:
		return false
	}
	_, conn, err := connect(ctx, dsn) // a server that went away explains everything
	if err != nil {
		return false
	}
	closeConn(conn)
	return true
}

func drillName(s *catalog.Snapshot) string {
	return pgname.Derived(s.Database, "__drill_"+s.ID[len(s.ID)-8:])
}

func userOf(dsn string) (string, error) {
	server, err := pgconn.Parse(dsn)
	if err != nil {
		return "", err
	}
	return server.User(), nil
}
