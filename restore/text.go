package restore

import (
	"fmt"
	"strings"
	"time"

	"github.com/runbook-go/runbook/internal/wording"
)

// String returns the report as text for people.
func (r *Report) String() string {
	var b strings.Builder
	took := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	if r.Restore > 0 {
		fmt.Fprintf(&b, "%q: snapshot %s, %s restored in %s, %d rows compared in %s, proven at %s\n", r.Database, r.Snapshot,
			wording.Bytes(r.Bytes), took(r.Restore), r.Rows, took(r.Verify), r.Level)
	}
	if r.Down > 0 {
		fmt.Fprintf(&b, "%q: swapped in, %s of down time, %d sessions ended\n", r.Database, r.Down.Round(time.Microsecond), r.Ended)
	}
	if r.Old != "" {
		fmt.Fprintf(&b, "%q: what it replaced is kept as %q until %s\n", r.Database, r.Old, r.KeepUntil.UTC().Format(time.DateTime+" UTC"))
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"created role", r.NewRoles}, {"removed what a killed run left:", r.Healed}, {"warning:", r.Warnings}} {
		for _, name := range list.names {
			fmt.Fprintf(&b, "%q: %s %s\n", r.Database, list.what, name)
		}
	}
	return b.String()
}

// String returns the report as text for people, with a line or more for each database.
func (r *AllReport) String() string {
	var b strings.Builder
	if g := r.Globals; g != nil {
		fmt.Fprintf(&b, "roles: %d created, %d were there already\n", len(g.Roles), len(g.Existing))
		for _, skipped := range g.Skipped {
			fmt.Fprintf(&b, "roles: left out: %s\n", skipped)
		}
	}
	restored, kept := 0, 0
	for _, d := range r.Databases {
		switch {
		case d.Err != nil:
			fmt.Fprintf(&b, "%q: FAILED: %v\n", d.Database, d.Err)
		case d.Kept:
			kept++
			fmt.Fprintf(&b, "%q: exists and was left alone\n", d.Database)
		default:
			restored++
			b.WriteString(d.Report.String())
		}
	}
	fmt.Fprintf(&b, "%d databases restored, %d left alone, %d failed\n", restored, kept, len(r.Databases)-restored-kept)
	return b.String()
}

// String returns the report as text for people, with a line for each snapshot.
func (r *DrillReport) String() string {
	var b strings.Builder
	proven := 0
	var slowest time.Duration
	for _, d := range r.Drilled {
		if d.Err != nil || d.Evidence == nil || !d.Evidence.Passed {
			fmt.Fprintf(&b, "NOT PROVEN %q, snapshot %s: %v\n", d.Database, d.Snapshot, d.Err)
			continue
		}
		proven++
		slowest = max(slowest, d.Evidence.Restore)
		fmt.Fprintf(&b, "proven at %s %q, snapshot %s: restored in %s, compared in %s\n", d.Evidence.Level, d.Database, d.Snapshot,
			d.Evidence.Restore.Round(time.Millisecond), d.Evidence.Verify.Round(time.Millisecond))
		for _, warning := range d.Evidence.Warnings {
			fmt.Fprintf(&b, "  warning: %s\n", warning)
		}
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	fmt.Fprintf(&b, "%d of %d snapshots proven restorable in %s, %d left for the next drill; the slowest took %s to restore\n", proven, len(r.Drilled),
		r.Finished.Sub(r.Started).Round(time.Millisecond), len(r.Left), slowest.Round(time.Millisecond))
	return b.String()
}
