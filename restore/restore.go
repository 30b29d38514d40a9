package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/pgtool"
)

// Report says what was done to one database.
type Report struct {
	Database  string        `json:"database"`
	Snapshot  string        `json:"snapshot,omitempty"`
	Level     catalog.Level `json:"level"`               // that was reached
	Old       string        `json:"old,omitempty"`       // name under which the replaced database is kept
	KeepUntil time.Time     `json:"keep_until,omitzero"` // when it may be purged
	Rows      int64         `json:"rows"`                // compared, at L4 and above
	Bytes     int64         `json:"bytes"`               // of the archive
	Started   time.Time     `json:"started"`             //
	Finished  time.Time     `json:"finished"`            //
	Restore   time.Duration `json:"restore_ns"`          // from creating the scratch database to the end of pg_restore
	Verify    time.Duration `json:"verify_ns"`           // of the comparison
	Down      time.Duration `json:"down_ns"`             // in which no session could work in the live database
	Ended     int           `json:"sessions_ended"`      // sessions of the live database that were terminated
	NewRoles  []string      `json:"new_roles,omitempty"` //
	Healed    []string      `json:"healed,omitempty"`    // scratch databases of killed runs that were removed first
	Warnings  []string      `json:"warnings,omitempty"`  //
}

// Run restores as plan says. The report comes with an error too, and then says how far it got; the live database is untouched unless the report names
// where it is kept. Of o it uses what the plan does not decide: time-outs, hooks, events, Neutralise, Probe, SpoolDir and the like.
func Run(ctx context.Context, dsn string, store catalog.Store, plan *Plan, o Options) (*Report, error) {
	o = o.withDefaults()
	j, err := newJob(plan, store, lockKey{live: plan.Database}, o)
	if err != nil {
		return nil, err
	}
	err = j.run(ctx, dsn, func(ctx context.Context) error {
		if err := j.fill(ctx); err != nil {
			return err
		}
		return j.take(ctx)
	})
	return j.report, err
}

// job is the work on one database.
type job struct {
	plan    *Plan
	store   catalog.Store
	key     lockKey
	o       Options
	report  *Report
	server  *pgconn.Server
	conn    *pgx.Conn         // to the maintenance database; holds the lock
	scratch string            // name of the scratch database, or empty
	oid     uint32            // of the scratch database
	toc     []pgarchive.Entry // of the archive, once it was restored
	at      Stage
}

func newJob(plan *Plan, store catalog.Store, key lockKey, o Options) (*job, error) {
	if err := plan.Err(); err != nil {
		return nil, err
	}
	m := plan.Manifest
	return &job{plan: plan, store: store, key: key, o: o, report: &Report{Database: plan.Database, Snapshot: m.ID, Bytes: m.Archive.Size, Warnings: plan.Warnings}}, nil
}

func (j *job) stage(s Stage) {
	j.at = s
	j.o.Logger.Debug("restore", "database", j.plan.Database, "stage", s, "scratch", j.scratch)
	if j.o.Events.Stage != nil {
		j.o.Events.Stage(StageInfo{Database: j.plan.Database, Stage: s, Scratch: j.scratch})
	}
}

func (j *job) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	j.report.Warnings = append(j.report.Warnings, text)
	j.o.Logger.Warn("restore: "+text, "database", j.plan.Database)
	if j.o.Events.Warning != nil {
		j.o.Events.Warning(WarningInfo{j.plan.Database, text})
	}
}

func (j *job) tool(program string) string { return pgtool.Tools{Dir: j.plan.BinDir}.Path(program) }

// cleanup returns a context for what must be done although ctx has ended.
func (j *job) cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), j.o.CleanupTimeout)
}

// run takes the lock, heals and does work, and removes the scratch database if work fails.
func (j *job) run(ctx context.Context, dsn string, work func(context.Context) error) (err error) {
	j.report.Started = j.o.Now().UTC()
	if j.o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, j.o.Timeout, fmt.Errorf("not done within %s: %w", j.o.Timeout, context.DeadlineExceeded))
		defer cancel()
	}
	defer func() {
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		if err != nil && j.server != nil {
			err = hide(j.server, err)
		}
		err = fail(j.plan.Database, j.at, err)
		j.report.Finished = j.o.Now().UTC()
	}()
	j.stage(StageConnect)
	if j.server, j.conn, err = connect(ctx, dsn); err != nil {
		return err
	}
	defer func() { closeConn(j.conn) }()
	return j.around(ctx, j.o.Hooks.Before, j.o.Hooks.After, StageBefore, StageAfter, func() error {
		return j.locked(ctx, work)
	})
}

// around calls a pair of hooks around work.
func (j *job) around(ctx context.Context, before func(context.Context, *Plan) error, after func(context.Context, *Plan, error) error,
	stageBefore, stageAfter Stage, work func() error,
) (err error) {
	if after != nil {
		defer func() {
			ctx, cancel := j.cleanup(ctx)
			defer cancel()
			err = fail(j.plan.Database, j.at, err)
			j.stage(stageAfter)
			if e := after(ctx, j.plan, err); e != nil {
				err = errors.Join(err, fail(j.plan.Database, stageAfter, e))
			}
		}()
	}
	if before != nil {
		j.stage(stageBefore)
		if err := before(ctx, j.plan); err != nil {
			return err
		}
	}
	return work()
}

func (j *job) locked(ctx context.Context, work func(context.Context) error) (err error) {
	j.stage(StageLock)
	got, err := lock(ctx, j.conn, j.key.hash(), j.o.LockTimeout)
	if err != nil {
		return err
	}
	if !got {
		return &DatabaseError{
			Database: j.plan.Database, Stage: StageLock, Retryable: true, Hint: "wait for it, or end it",
			Err: errors.New("another run works on this database"),
		}
	}
	j.stage(StageHeal)
	if j.report.Healed, err = healLocked(ctx, j.server, j.conn, j.key.hash()); err != nil {
		return err
	}
	for _, dir := range []string{os.TempDir(), j.o.SpoolDir} {
		if dir != "" {
			if err := sweepFiles(dir, j.key.hash()); err != nil {
				return err
			}
		}
	}
	defer func() {
		if e := j.dropScratch(ctx); e != nil {
			err = errors.Join(err, e)
		}
	}()
	return work(ctx)
}

// dropScratch removes the scratch database if there is one. If our connection was lost, what it did may not be over: the lock tells when it is.
func (j *job) dropScratch(ctx context.Context) error {
	if j.scratch == "" {
		return nil
	}
	failed := j.at
	ctx, cancel := j.cleanup(ctx)
	defer cancel()
	j.stage(StageDrop)
	j.at = failed // which is what an error is about
	if j.conn.IsClosed() {
		conn, err := j.server.Connect(ctx, "")
		if err != nil {
			return fmt.Errorf("remove scratch database %q: %w", j.scratch, err)
		}
		j.conn = conn
		if got, err := lock(ctx, conn, j.key.hash(), j.o.CleanupTimeout); err != nil || !got {
			return fmt.Errorf("remove scratch database %q: another run holds it, or the server is still busy with ours: %w", j.scratch, errors.Join(err, ctx.Err()))
		}
	}
	_, err := healLocked(ctx, j.server, j.conn, j.key.hash())
	if err == nil {
		j.scratch = ""
	}
	return err
}

// fill makes a scratch database, restores into it and proves it.
func (j *job) fill(ctx context.Context) error {
	p, begin := j.plan, j.o.Now()
	if err := j.create(ctx); err != nil {
		return err
	}
	if err := j.restore(ctx); err != nil {
		return err
	}
	if err := j.dress(ctx); err != nil {
		return err
	}
	j.report.Restore, j.report.Level = j.o.Now().Sub(begin), catalog.L3
	if p.Level >= catalog.L4 {
		j.stage(StageVerify)
		begin = j.o.Now()
		if err := j.verify(ctx); err != nil {
			return err
		}
		j.report.Verify, j.report.Level = j.o.Now().Sub(begin), catalog.L4
	}
	if j.o.Neutralise != "" {
		j.stage(StageNeutralise)
		if err := j.neutralise(ctx); err != nil {
			return err
		}
	}
	if j.o.Probe != nil {
		j.stage(StageProbe)
		if err := j.o.Probe(ctx, j.probeDSN()); err != nil {
			return err
		}
		if j.report.Level == catalog.L4 {
			j.report.Level = catalog.L5
		}
	}
	return nil
}

func (j *job) create(ctx context.Context) error {
	j.stage(StageRoles)
	for _, r := range j.plan.NewRoles {
		_, err := j.conn.Exec(ctx, "CREATE ROLE "+pgname.Ident(r)+" NOLOGIN")
		switch {
		case sqlState(err) == "42710" || sqlState(err) == "23505": // a run beside us made it
		case err != nil:
			return fmt.Errorf("create role %q: %w", r, err)
		default:
			j.report.NewRoles = append(j.report.NewRoles, r)
		}
	}
	j.scratch = j.key.scratchName()
	j.stage(StageCreate)
	name := pgname.Ident(j.scratch)
	if _, err := j.conn.Exec(ctx, strings.Replace(j.plan.Create, pgname.Ident(scratchPlaceholder), name, 1)); err != nil {
		return fmt.Errorf("create scratch database %q: %w", j.scratch, err)
	}
	j.stage(StageMark)
	d, err := readDatabase(ctx, j.conn, j.scratch)
	if err != nil {
		return err
	}
	if d == nil {
		return fmt.Errorf("scratch database %q vanished", j.scratch)
	}
	j.oid = d.oid
	m := mark{Kind: kindScratch, Live: j.plan.Database, OID: d.oid, Snapshot: j.plan.Manifest.ID, At: j.o.Now().UTC()}
	return j.transaction(ctx,
		"COMMENT ON DATABASE "+name+" IS "+pgname.Literal(m.comment()),
		"REVOKE CONNECT ON DATABASE "+name+" FROM PUBLIC")
}

// transaction runs statements in one transaction and one message.
func (j *job) transaction(ctx context.Context, statements ...string) error {
	_, err := j.conn.PgConn().Exec(ctx, "BEGIN;\n"+strings.Join(statements, ";\n")+";\nCOMMIT").ReadAll()
	if err != nil && !j.conn.IsClosed() {
		_, e := j.conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
		err = errors.Join(err, e)
	}
	return err
}
