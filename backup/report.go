package backup

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/wording"
)

// Status is what became of one database in a run.
type Status string

const (
	BackedUp Status = "backed up" // a complete, verified snapshot is in the store
	Failed   Status = "failed"    // see Result.Err
	Skipped  Status = "skipped"   // see Result.Reason
	Planned  Status = "planned"   // it would be backed up, were this not a dry run
)

// Result is what became of one database, or of the globals.
type Result struct {
	Database string            `json:"database"` // empty for the globals
	Status   Status            `json:"status"`
	Reason   string            `json:"reason,omitempty"` // why it was skipped
	Err      error             `json:"-"`                // why it failed; a *DatabaseError
	Labels   map[string]string `json:"labels,omitempty"`
	Snapshot string            `json:"snapshot,omitempty"` // identifier
	Level    catalog.Level     `json:"level"`              // of verification, reached so far
	Tables   int               `json:"tables,omitempty"`
	Rows     int64             `json:"rows,omitempty"`
	Bytes    int64             `json:"archive_bytes,omitempty"`
	Stored   int64             `json:"stored_bytes,omitempty"`
	Duration time.Duration     `json:"duration_ns,omitempty"`
}

// MarshalJSON adds the error's text.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result
	var problem string
	if r.Err != nil {
		problem = r.Err.Error()
	}
	return json.Marshal(struct {
		plain
		Error string `json:"error,omitempty"`
	}{plain(r), problem})
}

// Report covers every selected database.
type Report struct {
	Run      string          `json:"run"`
	Cluster  catalog.Cluster `json:"cluster"`
	Tool     string          `json:"tool"`
	Started  time.Time       `json:"started"`
	Finished time.Time       `json:"finished"`
	DryRun   bool            `json:"dry_run,omitempty"`
	Globals  *Result         `json:"globals,omitempty"`
	Results  []Result        `json:"databases"` // by name
	Swept    catalog.Swept   `json:"swept"`     // what dead runs had left and this one removed
	Warnings []string        `json:"warnings,omitempty"`
}

// Count returns how many databases have the status.
func (r *Report) Count(s Status) (n int) {
	for _, result := range r.Results {
		if result.Status == s {
			n++
		}
	}
	return n
}

// Totals returns the bytes of all archives, and what they take in the store.
func (r *Report) Totals() (archives, stored int64) {
	for _, result := range r.Results {
		archives += result.Bytes
		stored += result.Stored
	}
	return archives, stored
}

// String returns the report as text for people, with a line for each database.
func (r *Report) String() string {
	var b strings.Builder
	for _, result := range r.Results {
		fmt.Fprintf(&b, "%-10s %q", result.Status, result.Database)
		switch result.Status {
		case BackedUp:
			fmt.Fprintf(&b, ": %d tables, %d rows, %s as %s in %s, %s", result.Tables, result.Rows,
				wording.Bytes(result.Bytes), wording.Bytes(result.Stored), result.Duration.Round(time.Millisecond), result.Level)
		case Failed:
			fmt.Fprintf(&b, ": %v", result.Err)
		case Skipped:
			fmt.Fprintf(&b, ": %s", result.Reason)
		}
		b.WriteByte('\n')
	}
	if g := r.Globals; g != nil {
		fmt.Fprintf(&b, "%-10s globals", g.Status)
		if g.Err != nil {
			fmt.Fprintf(&b, ": %v", g.Err)
		}
		b.WriteByte('\n')
	}
	archives, stored := r.Totals()
	took := r.Finished.Sub(r.Started)
	fmt.Fprintf(&b, "%d backed up, %d failed, %d skipped", r.Count(BackedUp), r.Count(Failed), r.Count(Skipped))
	if n := r.Count(Planned); n > 0 {
		fmt.Fprintf(&b, ", %d planned", n)
	}
	fmt.Fprintf(&b, "; %s as %s in %s", wording.Bytes(archives), wording.Bytes(stored), took.Round(time.Millisecond))
	if took > 0 {
		fmt.Fprintf(&b, " (%s/s)", wording.Bytes(int64(float64(archives)/took.Seconds())))
	}
	b.WriteByte('\n')
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}
