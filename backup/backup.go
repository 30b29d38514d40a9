package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/pgtool"
	"github.com/runbook-go/runbook/internal/wording"
)

// Run backs up the selected databases of the server that dsn reaches, and its globals, to store.
//
// The report covers every selected database and comes with the error too. The error collects what failed, each as a [*DatabaseError]; one failure never keeps
// another database from being backed up, unless Options.Staging asks for all or nothing. When ctx ends, what is not stored yet is
// abandoned and nothing partial stays visible.
//
// dsn is a libpq connection string with at least host and user. No environment variable is read. A password comes from dsn, or from the passfile it names, or from ~/.pgpass; it
// reaches pg_dump in its environment only.
func Run(ctx context.Context, dsn string, store catalog.Store, o Options) (*Report, error) {
	o = o.withDefaults()
	report := &Report{Run: catalog.NewID(o.Now()), Started: o.Now().UTC(), DryRun: o.DryRun}
	r := &run{o: o, store: store, report: report}
	err := r.run(ctx, dsn)
	report.Finished = o.Now().UTC()
	if o.MetricsFile != "" && !o.DryRun && report.Results != nil { // without results the figures of the last run stay, and age
		if metricsErr := writeMetrics(o.MetricsFile, report); metricsErr != nil {
			err = errors.Join(err, metricsErr)
		}
	}
	return report, err
}

type run struct {
	o       Options
	server  *pgconn.Server
	tools   pgtool.Tools
	store   catalog.Store
	report  *Report
	tracker *tracker
	slots   chan struct{} // one for each dump that may run at a time
}

// first returns the store that dumps go to.
func (r *run) first() catalog.Store {
	if r.o.Staging != nil {
		return r.o.Staging
	}
	return r.store
}

func (r *run) run(ctx context.Context, dsn string) error {
	if err := r.o.validate(); err != nil {
		return err
	}
	var err error
	if r.server, err = pgconn.Parse(dsn); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if r.o.RunTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.o.RunTimeout,
			fmt.Errorf("the run's time-out of %s passed: %w", r.o.RunTimeout, context.DeadlineExceeded))
		defer cancel()
	}
	choices, workers, err := r.prepare(ctx)
	if err != nil && choices == nil {
		return err
	}
	failures := []error{}
	if err != nil { // what was not found is a failure of its own: the rest is backed up all the same
		failures = append(failures, err)
	}
	var todo []Choice
	for _, c := range choices {
		if c.Skip != "" {
			r.report.Results = append(r.report.Results, Result{Database: c.Database.Name, Status: Skipped, Reason: c.Skip, Labels: c.Labels})
			continue
		}
		todo = append(todo, c)
	}
	r.tracker = newTracker(r.o.Events, r.o.Now, todo)
	if r.o.DryRun {
		for _, c := range todo {
			r.report.Results = append(r.report.Results, Result{Database: c.Database.Name, Status: Planned, Labels: c.Labels, Bytes: 0})
		}
		r.sortResults()
		return errors.Join(failures...)
	}
	err = r.leased(ctx, func(ctx context.Context) error {
		r.sweep(ctx)
		r.tracker.start(StartInfo{Run: r.report.Run, Selected: len(choices), Workers: workers, Tool: r.report.Tool})
		if hook := r.o.Hooks.BeforeRun; hook != nil {
			if err := hook(ctx, choices); err != nil {
				return fmt.Errorf("hook before the run: %w", err)
			}
		}
		failures = append(failures, r.work(ctx, todo, workers)...)
		if r.o.Staging != nil {
			failures = r.ship(ctx, failures)
		}
		if hook := r.o.Hooks.AfterRun; hook != nil {
			if err := hook(ctx, r.report); err != nil {
				failures = append(failures, fmt.Errorf("hook after the run: %w", err))
			}
		}
		return nil
	})
	if err != nil {
		failures = append(failures, err)
	}
	return wording.Failures("parts of the backup", failures)
}

// prepare finds out what there is and what to do. The error may come together with choices, see [Selection.Choose].
func (r *run) prepare(ctx context.Context) ([]Choice, int, error) {
	conn, err := r.server.Connect(ctx, "")
	if err != nil {
		return nil, 0, fmt.Errorf("backup: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if r.report.Cluster, err = identify(ctx, conn); err != nil {
		return nil, 0, fmt.Errorf("backup: %w", err)
	}
	major := r.report.Cluster.Version / 10000
	if r.tools, err = pgtool.Find(ctx, r.o.BinDir, major, "pg_dump", "pg_dumpall"); err != nil {
		return nil, 0, fmt.Errorf("backup: %w", err)
	}
	refusal, warnings := pgtool.Advise(r.tools, r.report.Cluster.Version)
	if refusal != nil {
		return nil, 0, fmt.Errorf("backup: %w", refusal)
	}
	r.report.Warnings = append(r.report.Warnings, warnings...)
	r.report.Tool = fmt.Sprintf("pg_dump (PostgreSQL) %d.%d", r.tools.Version/10000, r.tools.Version%10000)
	databases, err := discover(ctx, conn)
	if err != nil {
		return nil, 0, fmt.Errorf("backup: %w", err)
	}
	n := r.o.Workers
	if n == 0 {
		if n, err = workers(ctx, conn); err != nil {
			return nil, 0, fmt.Errorf("backup: %w", err)
		}
	}
	choices, err := r.o.Select.Choose(databases)
	if choices == nil {
		choices = []Choice{}
	}
	if err != nil {
		err = fmt.Errorf("select databases of %s: %w", r.server, err)
	}
	return choices, n, err
}

// leased runs f while the lease of (store, cluster) is held, if the store has leases.
func (r *run) leased(ctx context.Context, f func(context.Context) error) error {
	leaser, ok := r.store.(catalog.Leaser)
	if !ok {
		return f(ctx)
	}
	leased, release, err := leaser.Lease(ctx, r.report.Cluster.SystemID)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	err = f(leased)
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if releaseErr := release(after); releaseErr != nil {
		r.warn("", releaseErr.Error())
	}
	return err
}

func (r *run) warn(database, text string) {
	r.o.Logger.Warn("backup", "database", database, "warning", text)
	r.tracker.mu.Lock()
	r.report.Warnings = append(r.report.Warnings, text)
	r.tracker.mu.Unlock()
	r.tracker.warn(database, text)
}

// sweep removes what dead runs left. That it cannot is no reason not to back up.
func (r *run) sweep(ctx context.Context) {
	if r.o.SweepAfter < 0 {
		return
	}
	stores := []catalog.Store{r.store}
	if r.o.Staging != nil {
		stores = append(stores, r.o.Staging)
	}
	for _, store := range stores {
		sweeper, ok := store.(catalog.Sweeper)
		if !ok {
			continue
		}
		swept, err := sweeper.Sweep(ctx, r.o.Now().Add(-r.o.SweepAfter))
		r.report.Swept.Objects += swept.Objects
		r.report.Swept.Bytes += swept.Bytes
		if err != nil {
			r.warn("", "sweep what dead runs left: "+err.Error())
		}
	}
}

// work backs up the globals and then every database, and returns what failed. n dumps run at a time; while the target is still busy with the end of one
// (syncing, reading back), the next begins, so there are twice as many goroutines. Large databases come first, so that the run does not end with one
// dump of a large one.
func (r *run) work(ctx context.Context, todo []Choice, n int) (failures []error) {
	r.slots = make(chan struct{}, max(1, n))
	if !r.o.NoGlobals {
		result := r.one(ctx, Choice{}, r.backUpGlobals)
		r.report.Globals = &result
		if result.Err != nil {
			failures = append(failures, result.Err)
		}
	}
	queue := slices.Clone(todo)
	slices.SortStableFunc(queue, func(a, b Choice) int {
		return cmp.Compare(b.Database.Properties.SizeOnServer, a.Database.Properties.SizeOnServer)
	})
	next := make(chan Choice)
	var mu sync.Mutex // guards failures and the report
	var wg sync.WaitGroup
	for range max(1, min(2*n, len(queue))) {
		wg.Go(func() {
			for c := range next {
				result := r.one(ctx, c, func(ctx context.Context, dumped func()) (*catalog.Manifest, error) { return r.backUp(ctx, c, dumped) })
				mu.Lock()
				r.report.Results = append(r.report.Results, result)
				if result.Err != nil {
					failures = append(failures, result.Err)
				}
				mu.Unlock()
			}
		})
	}
	for _, c := range queue {
		next <- c
	}
	close(next)
	wg.Wait()
	r.sortResults()
	return failures
}

func (r *run) sortResults() {
	slices.SortFunc(r.report.Results, func(a, b Result) int { return cmp.Compare(a.Database, b.Database) })
}

// backUpFunc makes and stores a snapshot, and calls dumped as soon as the program that dumps has ended.
type backUpFunc func(ctx context.Context, dumped func()) (*catalog.Manifest, error)

// one does the work on one database, or on the globals, with hooks, time-out and events.
func (r *run) one(ctx context.Context, c Choice, backUp backUpFunc) Result {
	name, started := c.Database.Name, r.o.Now()
	result := Result{Database: name, Labels: c.Labels}
	m, err := r.attempt(ctx, name, backUp)
	result.Duration = r.o.Now().Sub(started)
	switch {
	case err == nil:
		result.Status, result.Snapshot = BackedUp, m.ID
		result.Bytes, result.Labels = m.Archive.Size, m.Labels
		result.Level, _ = (&catalog.Snapshot{Manifest: *m}).Proven()
		for _, o := range m.Stored {
			result.Stored += o.Size
		}
		if m.Content != nil {
			result.Tables, result.Rows = len(m.Content.Tables), m.Content.Rows()
		}
	case name != "" && r.dropped(ctx, name):
		result.Status, result.Reason = Skipped, "was dropped while the run went on"
	default:
		result.Status, result.Err = Failed, newDatabaseError(name, StageStore, err)
	}
	if hook := r.o.Hooks.AfterDatabase; hook != nil && name != "" {
		if err := hook(ctx, result); err != nil && result.Err == nil {
			result.Status, result.Err = Failed, newDatabaseError(name, StageHook, err)
		}
	}
	r.tracker.finish(result, c.Database.Properties.SizeOnServer)
	return result
}

// attempt waits for a slot and does the work. The slot is given back when the dump has ended, before the target has finished.
func (r *run) attempt(ctx context.Context, name string, backUp backUpFunc) (*catalog.Manifest, error) {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	dumped := sync.OnceFunc(func() { <-r.slots })
	defer dumped()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if d := r.o.DatabaseTimeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, fmt.Errorf("the database's time-out of %s passed: %w", d, context.DeadlineExceeded))
		defer cancel()
	}
	if hook := r.o.Hooks.BeforeDatabase; hook != nil && name != "" {
		if err := hook(ctx, name); err != nil {
			return nil, &stageError{StageHook, err}
		}
	}
	return backUp(ctx, dumped)
}

// dropped says whether a database that could not be backed up is gone, which is no failure. When in doubt it is not.
func (r *run) dropped(ctx context.Context, name string) bool {
	conn, err := r.server.Connect(ctx, "")
	if err != nil {
		return false
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var there bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&there)
	return err == nil && !there
}
