package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/wording"
)

// AllReport says what became of many databases.
type AllReport struct {
	Globals   *GlobalsReport `json:"globals,omitempty"`
	Databases []Result       `json:"databases"` // in the order of the snapshots
}

// Result is what became of one database: Err is nil if it was restored.
type Result struct {
	Report
	Kept bool  `json:"kept,omitempty"` // it existed and was left alone, see Options.KeepExisting
	Err  error `json:"-"`
}

// MarshalJSON adds the error's text.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result
	return json.Marshal(struct {
		plain
		Error string `json:"error,omitempty"`
	}{plain(r), errorText(r.Err)})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Latest returns the newest snapshot of the globals and of every database that q selects. A manifest that cannot be read is an error, and what could be read
// is returned beside it.
func Latest(ctx context.Context, store catalog.Store, q catalog.Query) ([]*catalog.Snapshot, error) {
	all, err := listSnapshots(ctx, store, q)
	return newest(all), err
}

func listSnapshots(ctx context.Context, store catalog.Store, q catalog.Query) (list []*catalog.Snapshot, err error) {
	var failures []error
	for s, err := range store.List(ctx, q) {
		if err != nil {
			failures = append(failures, err)
			continue
		}
		list = append(list, s)
	}
	return list, wording.Failures("manifests could not be read, or the listing", failures)
}

// series is what a snapshot is one of many of.
type series struct{ system, kind, database string }

func seriesOf(s *catalog.Snapshot) series {
	return series{s.Cluster.SystemID, string(s.Kind), s.Database}
}

// newest returns the last snapshot of each series, globals first, then by database.
func newest(all []*catalog.Snapshot) (list []*catalog.Snapshot) {
	last := make(map[series]*catalog.Snapshot)
	for _, s := range all {
		if have := last[seriesOf(s)]; have == nil || have.ID < s.ID {
			last[seriesOf(s)] = s
		}
	}
	for _, s := range all {
		if last[seriesOf(s)] == s {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *catalog.Snapshot) int {
		switch {
		case a.Kind == b.Kind:
			return 0
		case a.Kind == catalog.Globals:
			return -1
		}
		return 1
	})
	return list
}

// All restores snapshots onto one server, such as a new one after the old was lost: first the roles of the globals, if they are among the snapshots, then the
// databases, several at a time. A failure harms nobody else. The report comes with an error too; that joins a [*DatabaseError] for each failure. Hooks
// are called for each database. [Latest] chooses the snapshots.
func All(ctx context.Context, dsn string, store catalog.Store, snapshots []*catalog.Snapshot, o Options) (*AllReport, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.As != "" {
		return nil, errors.New("restore options: As names one database and cannot be used for all")
	}
	report := &AllReport{}
	var failures []error
	var databases []*catalog.Snapshot
	seen := make(map[string]string)
	for _, s := range snapshots {
		if s.Kind == catalog.Globals {
			if report.Globals != nil {
				return nil, fmt.Errorf("restore all: there are globals of more than one cluster, %s among them; choose one", s.Cluster.SystemID)
			}
			var err error
			if report.Globals, err = restoreGlobals(ctx, dsn, store, &s.Manifest, o); err != nil {
				failures = append(failures, fail("", StageGlobals, err))
			}
			continue
		}
		if twice, ok := seen[s.Database]; ok {
			return nil, fmt.Errorf("restore all: snapshots %s and %s are both of database %q; choose one", twice, s.ID, s.Database)
		}
		seen[s.Database] = s.ID
		databases = append(databases, s)
	}
	report.Databases = make([]Result, len(databases))
	each(len(databases), o.Parallel, func(i int) {
		report.Databases[i] = restoreOne(ctx, dsn, store, databases[i], o)
	})
	for _, r := range report.Databases {
		if r.Err != nil {
			failures = append(failures, r.Err)
		}
	}
	return report, wording.Failures("restores", failures)
}

func restoreOne(ctx context.Context, dsn string, store catalog.Store, s *catalog.Snapshot, o Options) Result {
	failed := func(stage Stage, err error) Result {
		return Result{Report: Report{Database: s.Database, Snapshot: s.ID}, Err: fail(s.Database, stage, err)}
	}
	if cause := context.Cause(ctx); cause != nil {
		return failed(StagePlan, cause)
	}
	if o.KeepExisting {
		switch exists, err := databaseExists(ctx, dsn, s.Database); {
		case err != nil:
			return failed(StageConnect, err)
		case exists:
			return Result{Report: Report{Database: s.Database}, Kept: true}
		}
	}
	plan, err := NewPlan(ctx, dsn, store, s, o)
	if err != nil {
		return failed(StagePlan, err)
	}
	r, err := Run(ctx, dsn, store, plan, o)
	if r == nil {
		return failed(StagePlan, err)
	}
	return Result{Report: *r, Err: err}
}

func databaseExists(ctx context.Context, dsn, name string) (bool, error) {
	_, conn, err := connect(ctx, dsn)
	if err != nil {
		return false, err
	}
	defer closeConn(conn)
	d, err := readDatabase(ctx, conn, name)
	return d != nil, err
}

// each calls do for 0 to n-1, parallel calls at a time, in order.
func each(n, parallel int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(parallel, n) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
