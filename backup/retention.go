package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/wording"
)

// Policy says which snapshots of one database to keep. A snapshot is kept if any rule keeps it. A calendar rule keeps the newest snapshot of each of the
// last so many days, weeks, months or years that have one.
type Policy struct {
	Last    int           // the newest n
	Daily   int           // one a day
	Weekly  int           // one an ISO week
	Monthly int           // one a month
	Yearly  int           // one a year
	Within  time.Duration // everything younger
}

func (p Policy) empty() bool { return p == Policy{} }

func (p Policy) validate() error {
	if p.Last < 0 || p.Daily < 0 || p.Weekly < 0 || p.Monthly < 0 || p.Yearly < 0 || p.Within < 0 {
		return fmt.Errorf("retention policy %+v: a number is negative", p)
	}
	return nil
}

// Retention chooses the policy for each database. The zero value keeps everything.
type Retention struct {
	Default  Policy          // for databases that no rule matches, and for globals
	Rules    []RetentionRule // the first that matches wins
	Location *time.Location  // in which days begin; nil is UTC
}

// RetentionRule is a policy for some databases.
type RetentionRule struct {
	Include []string          // patterns as in [Selection]; empty is every database
	Labels  map[string]string // of the newest snapshot; each must be equal
	Policy  Policy
}

// RetentionPlan is what a [Retention] means for the snapshots of a store. It is a value: print it, marshal it, and apply it.
type RetentionPlan struct {
	Lines []RetentionLine `json:"lines"` // by cluster, kind and database, newest first
}

// RetentionLine is the verdict on one snapshot.
type RetentionLine struct {
	Snapshot *catalog.Manifest `json:"-"`
	ID       string            `json:"id"`
	Cluster  string            `json:"cluster"`
	Kind     catalog.Kind      `json:"kind"`
	Database string            `json:"database,omitempty"`
	Started  time.Time         `json:"started"`
	Stored   int64             `json:"stored_bytes"`
	Level    catalog.Level     `json:"level"`
	Keep     bool              `json:"keep"`
	Reasons  []string          `json:"reasons"` // never empty
}

// PlanRetention applies the rules to everything in the store and changes nothing. Only complete snapshots are listed, so only they count. A
// snapshot whose manifest cannot be read is in the error, is not in the plan, and is not deleted.
func PlanRetention(ctx context.Context, store catalog.Store, r Retention, now time.Time) (*RetentionPlan, error) {
	var snapshots []*catalog.Snapshot
	var problems []error
	for s, err := range store.List(ctx, catalog.Query{}) {
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s.Content = nil // not needed here, and large
		snapshots = append(snapshots, s)
	}
	plan, err := r.Plan(snapshots, now)
	if err != nil {
		return nil, err
	}
	return plan, errors.Join(problems...)
}

// Plan decides on snapshots. It is pure. Whatever the policy says, it keeps of each database the newest snapshot, the newest that was proven
// restorable, and everything if the policy is empty.
func (r Retention) Plan(snapshots []*catalog.Snapshot, now time.Time) (*RetentionPlan, error) {
	type subject struct {
		cluster  string
		kind     catalog.Kind
		database string
	}
	compare := func(a, b subject) int {
		return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.kind, b.kind), cmp.Compare(a.database, b.database))
	}
	of := func(s *catalog.Snapshot) subject { return subject{s.Cluster.SystemID, s.Kind, s.Database} }
	sorted := slices.Clone(snapshots)
	slices.SortStableFunc(sorted, func(a, b *catalog.Snapshot) int {
		return cmp.Or(compare(of(a), of(b)), b.Started.Compare(a.Started), cmp.Compare(b.ID, a.ID))
	})
	plan := &RetentionPlan{}
	for len(sorted) > 0 {
		n := slices.IndexFunc(sorted, func(s *catalog.Snapshot) bool { return of(s) != of(sorted[0]) })
		if n < 0 {
			n = len(sorted)
		}
		policy, err := r.policy(sorted[0])
		if err != nil {
			return nil, err
		}
		plan.Lines = append(plan.Lines, policy.decide(sorted[:n], now, cmp.Or(r.Location, time.UTC))...)
		sorted = sorted[n:]
	}
	return plan, nil
}

func (r Retention) policy(newest *catalog.Snapshot) (Policy, error) {
	for _, rule := range r.Rules {
		if err := rule.Policy.validate(); err != nil {
			return Policy{}, err
		}
		labels := catalog.Query{Labels: rule.Labels}
		named := len(rule.Include) == 0
		for _, pattern := range rule.Include {
			re, err := globRegexp(pattern, false)
			if err != nil {
				return Policy{}, fmt.Errorf("retention rule: %w", err)
			}
			named = named || newest.Kind == catalog.Database && re.MatchString(newest.Database)
		}
		if named && labels.Match(&newest.Manifest) {
			return rule.Policy, nil
		}
	}
	return r.Default, r.Default.validate()
}

// decide judges the snapshots of one database, newest first.
func (p Policy) decide(snapshots []*catalog.Snapshot, now time.Time, where *time.Location) []RetentionLine {
	lines := make([]RetentionLine, len(snapshots))
	for i, s := range snapshots {
		level, _ := s.Proven()
		lines[i] = RetentionLine{
			Snapshot: &s.Manifest, ID: s.ID, Cluster: s.Cluster.SystemID, Kind: s.Kind, Database: s.Database, Started: s.Started, Level: level,
		}
		for _, o := range s.Stored {
			lines[i].Stored += o.Size
		}
	}
	keep := func(i int, reason string) {
		lines[i].Keep = true
		lines[i].Reasons = append(lines[i].Reasons, reason)
	}
	keep(0, "newest of its database")
	if i := slices.IndexFunc(snapshots, (*catalog.Snapshot).Restorable); i >= 0 {
		keep(i, "newest that was proven restorable")
	}
	for i, s := range snapshots {
		if p.empty() {
			keep(i, "no policy")
		}
		if i < p.Last {
			keep(i, fmt.Sprintf("last %d of %d", i+1, p.Last))
		}
		if p.Within > 0 && now.Sub(s.Started) <= p.Within {
			keep(i, "within "+p.Within.String())
		}
	}
	for _, rule := range []struct {
		name   string
		n      int
		bucket func(time.Time) string
	}{
		{"daily", p.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{"weekly", p.Weekly, func(t time.Time) string { year, week := t.ISOWeek(); return fmt.Sprintf("%d-W%02d", year, week) }},
		{"monthly", p.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{"yearly", p.Yearly, func(t time.Time) string { return t.Format("2006") }},
	} {
		taken := make(map[string]bool)
		for i, s := range snapshots {
			bucket := rule.bucket(s.Started.In(where))
			if taken[bucket] || len(taken) == rule.n {
				continue
			}
			taken[bucket] = true
			keep(i, fmt.Sprintf("%s %d of %d (%s)", rule.name, len(taken), rule.n, bucket))
		}
	}
	for i := range lines {
		if !lines[i].Keep {
			lines[i].Reasons = []string{"no rule keeps it"}
		}
	}
	return lines
}

// Deletions returns how many snapshots the plan deletes and the bytes that gives back.
func (p *RetentionPlan) Deletions() (n int, stored int64) {
	for _, line := range p.Lines {
		if !line.Keep {
			n++
			stored += line.Stored
		}
	}
	return n, stored
}

// String returns the plan as text, a line for each snapshot.
func (p *RetentionPlan) String() string {
	var b strings.Builder
	for _, line := range p.Lines {
		verdict, subject := "delete", fmt.Sprintf("%q", line.Database)
		if line.Keep {
			verdict = "keep"
		}
		if line.Kind == catalog.Globals {
			subject = "globals"
		}
		fmt.Fprintf(&b, "%-6s %s %s %s: %s\n", verdict, line.ID, subject, line.Level, strings.Join(line.Reasons, ", "))
	}
	n, stored := p.Deletions()
	fmt.Fprintf(&b, "%d snapshots: keep %d, delete %d and %s\n", len(p.Lines), len(p.Lines)-n, n, wording.Bytes(stored))
	return b.String()
}

// ApplyRetention deletes what the plan says. For each database it first looks again at what is in the store: a snapshot that has since become the newest, or the newest proven
// restorable, is left alone and is part of the error. One that cannot be deleted keeps no other from being deleted. It returns the lines that
// were carried out.
func ApplyRetention(ctx context.Context, store catalog.Store, plan *RetentionPlan) (done []RetentionLine, err error) {
	var problems []error
	var looked *RetentionLine       // the database whose snapshots were looked at again
	var protected map[string]string // nil if they could not be
	for i, line := range plan.Lines {
		if line.Keep {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return done, errors.Join(append(problems, err)...)
		}
		if looked == nil || !line.sameDatabase(*looked) {
			looked = &plan.Lines[i]
			if protected, err = mustStay(ctx, store, line); err != nil {
				problems = append(problems, fmt.Errorf("database %q: nothing of it is deleted: %w", line.Database, err))
			}
		}
		if protected == nil {
			continue
		}
		if why, ok := protected[line.ID]; ok {
			problems = append(problems, fmt.Errorf("snapshot %s of database %q stays: it is now the %s", line.ID, line.Database, why))
			continue
		}
		if err := store.Delete(ctx, line.Snapshot, "retention: "+strings.Join(line.Reasons, ", ")); err != nil {
			problems = append(problems, fmt.Errorf("database %q: %w", line.Database, err))
			continue
		}
		done = append(done, line)
	}
	return done, errors.Join(problems...)
}

func (l RetentionLine) sameDatabase(other RetentionLine) bool {
	return l.Cluster == other.Cluster && l.Kind == other.Kind && l.Database == other.Database
}

// mustStay lists the snapshots of a line's database anew and returns those that no policy may delete.
func mustStay(ctx context.Context, store catalog.Store, line RetentionLine) (map[string]string, error) {
	var newest, proven *catalog.Snapshot
	for s, err := range store.List(ctx, catalog.Query{SystemID: line.Cluster, Kind: line.Kind, Database: line.Database}) {
		if err != nil {
			return nil, err
		}
		s.Content = nil
		if newest == nil || !s.Started.Before(newest.Started) {
			newest = s
		}
		if s.Restorable() && (proven == nil || !s.Started.Before(proven.Started)) {
			proven = s
		}
	}
	stay := make(map[string]string)
	if newest != nil {
		stay[newest.ID] = "newest of its database"
	}
	if proven != nil {
		stay[proven.ID] = "newest that was proven restorable"
	}
	return stay, nil
}
