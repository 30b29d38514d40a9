package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/runbook-go/runbook/backup/catalog"
)

// errNotShipped is the reason of what all-or-nothing held back.
var errNotShipped = errors.New("it was dumped, but not shipped, because not every database succeeded")

// ship copies what this run staged to the store, if nothing failed. A staged snapshot is deleted once its database has a newer or equal one
// in the store; what could not be shipped stays. It returns the failures, its own included.
func (r *run) ship(ctx context.Context, failures []error) []error {
	staged := make(map[string]*catalog.Manifest)
	for s, err := range r.o.Staging.List(ctx, catalog.Query{SystemID: r.report.Cluster.SystemID}) {
		if err != nil {
			failures = append(failures, fmt.Errorf("list the staging store: %w", err))
			continue
		}
		staged[s.ID] = &s.Manifest
	}
	held := len(failures) > 0
	type subject struct {
		kind     catalog.Kind
		database string
	}
	shipped := make(map[subject]bool)
	for _, result := range r.results() {
		if result.Status != BackedUp {
			continue
		}
		m, err := staged[result.Snapshot], errNotShipped
		switch {
		case held:
		case m == nil:
			err = fmt.Errorf("snapshot %s is not in the staging store", result.Snapshot)
		default:
			_, err = catalog.Copy(ctx, r.store, r.o.Staging, m)
		}
		if err != nil {
			result.Status, result.Err = Failed, newDatabaseError(result.Database, StageShip, err)
			if !held {
				failures = append(failures, result.Err)
			}
			continue
		}
		shipped[subject{m.Kind, m.Database}] = true
	}
	for _, m := range staged {
		if !shipped[subject{m.Kind, m.Database}] {
			continue
		}
		if err := r.o.Staging.Delete(ctx, m, "shipped by run "+r.report.Run); err != nil {
			r.warn(m.Database, "empty the staging store: "+err.Error())
		}
	}
	return failures
}

// results returns everything that the run worked on, the globals first.
func (r *run) results() []*Result {
	var results []*Result
	if r.report.Globals != nil {
		results = append(results, r.report.Globals)
	}
	for i := range r.report.Results {
		results = append(results, &r.report.Results[i])
	}
	return results
}
