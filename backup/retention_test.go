package backup

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
)

var night = time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)

// nights returns one snapshot a night, oldest first, the last one tonight.
func nights(database string, n int) (list []*catalog.Snapshot) {
	for i := range n {
		at := night.AddDate(0, 0, i-n+1)
		list = append(list, &catalog.Snapshot{Manifest: catalog.Manifest{
			ID: catalog.NewID(at), Kind: catalog.Database, Database: database, Started: at, Finished: at,
			Cluster: catalog.Cluster{SystemID: "1"}, Stored: []catalog.Object{{Size: 10}},
			Verified: map[catalog.Level]time.Time{catalog.L2: at},
		}})
	}
	return list
}

func kept(plan *RetentionPlan) (days []string) {
	for _, line := range plan.Lines {
		if line.Keep {
			days = append(days, line.Started.Format(time.DateOnly))
		}
	}
	return days
}

func TestRetentionRules(t *testing.T) {
	for name, c := range map[string]struct {
		p    Policy
		want []string
	}{
		"last":                          {Policy{Last: 2}, []string{"2026-11-21", "2026-11-20"}},
		"daily":                         {Policy{Daily: 3}, []string{"2026-11-21", "2026-11-20", "2026-11-19"}},
		"weekly":                        {Policy{Weekly: 3}, []string{"2026-11-21", "2026-11-15", "2026-11-08"}},
		"monthly":                       {Policy{Monthly: 3}, []string{"2026-11-21", "2026-10-31", "2026-09-30"}},
		"yearly":                        {Policy{Yearly: 3}, []string{"2026-11-21", "2025-12-31", "2024-12-31"}},
		"within":                        {Policy{Within: 25 * time.Hour}, []string{"2026-11-21", "2026-11-20"}},
		"all too old, the newest stays": {Policy{Within: time.Nanosecond}, []string{"2026-11-21"}},
		"several":                       {Policy{Last: 1, Weekly: 2, Monthly: 2}, []string{"2026-11-21", "2026-11-15", "2026-10-31"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := Retention{Default: c.p}.Plan(nights("db", 800), night.Add(time.Second))
			require.NoError(t, err)
			require.Equal(t, c.want, kept(plan))
		})
	}
}

func TestRetentionCountsDaysWhereTheOperatorLives(t *testing.T) {
	east := time.FixedZone("east", 10*3600)
	list := nights("db", 1)
	late := *list[0]
	late.Started = night.Add(13 * time.Hour) // 15:00 UTC, the next day in the east
	list = append(list, &late)
	plan, err := Retention{Default: Policy{Daily: 2}, Location: east}.Plan(list, night)
	require.NoError(t, err)
	require.Len(t, kept(plan), 2)
	plan, err = Retention{Default: Policy{Daily: 2}}.Plan(list, night)
	require.NoError(t, err)
	require.Len(t, kept(plan), 1)
}

func TestRetentionNeverDeletesTheNewestProven(t *testing.T) {
	list := nights("db", 10)
	list[3].Evidence = []catalog.Evidence{{Passed: true, Level: catalog.L4, At: night}}
	list[2].Evidence = []catalog.Evidence{{Passed: true, Level: catalog.L4, At: night}}
	list[5].Evidence = []catalog.Evidence{{Passed: true, Level: catalog.L4, At: night}, {Passed: false, Level: catalog.L4, At: night.Add(time.Hour)}}
	plan, err := Retention{Default: Policy{Last: 1}}.Plan(list, night)
	require.NoError(t, err)
	require.Equal(t, []string{"2026-11-21", list[3].Started.Format(time.DateOnly)}, kept(plan))
	require.Contains(t, plan.String(), "newest that was proven restorable")
}

func TestRetentionWithoutAPolicyKeepsEverything(t *testing.T) {
	plan, err := Retention{}.Plan(nights("db", 5), night)
	require.NoError(t, err)
	require.Len(t, kept(plan), 5)
}

func TestRetentionByDatabaseAndLabel(t *testing.T) {
	list := append(nights("SpecibikeDupont", 5), nights("Production", 5)...)
	labelled := nights("Other", 5)
	for _, s := range labelled {
		s.Labels = map[string]string{"class": "Stmg1"}
	}
	list = append(list, labelled...)
	plan, err := Retention{
		Default: Policy{Last: 1},
		Rules: []RetentionRule{
			{Include: []string{"Production"}, Policy: Policy{Last: 4}},
			{Labels: map[string]string{"class": "Stmg1"}, Policy: Policy{Last: 2}},
		},
	}.Plan(list, night)
	require.NoError(t, err)
	count := make(map[string]int)
	for _, line := range plan.Lines {
		if line.Keep {
			count[line.Database]++
		}
	}
	require.Equal(t, map[string]int{"SpecibikeDupont": 1, "Production": 4, "Other": 2}, count)
	n, stored := plan.Deletions()
	require.Equal(t, 8, n)
	require.EqualValues(t, 80, stored)
}

func TestRetentionRefusesNonsense(t *testing.T) {
	_, err := Retention{Default: Policy{Last: -1}}.Plan(nights("db", 2), night)
	require.ErrorContains(t, err, "negative")
	_, err = Retention{Rules: []RetentionRule{{Include: []string{"["}, Policy: Policy{Last: 1}}}}.Plan(nights("db", 2), night)
	require.ErrorContains(t, err, "pattern")
}

// Whatever the policy and the snapshots: each has one verdict with a reason, the newest and the newest proven stay, and a wider policy
// never keeps less.
func TestRetentionProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var list []*catalog.Snapshot
		for i := range 1 + random.IntN(40) {
			at := night.Add(-time.Duration(random.IntN(400*24)) * time.Hour)
			s := &catalog.Snapshot{Manifest: catalog.Manifest{
				ID: catalog.NewID(at), Kind: catalog.Database, Database: fmt.Sprint("db", random.IntN(3)), Started: at, Finished: at, Cluster: catalog.Cluster{SystemID: "1"},
			}}
			if i%5 == 0 {
				s.Evidence = []catalog.Evidence{{Passed: random.IntN(2) == 0, Level: catalog.L4, At: at}}
			}
			list = append(list, s)
		}
		p := Policy{Last: random.IntN(3), Daily: random.IntN(3), Weekly: random.IntN(3), Monthly: 1 + random.IntN(3)}
		plan, err := Retention{Default: p}.Plan(list, night)
		require.NoError(t, err)
		require.Len(t, plan.Lines, len(list))
		wide := p
		wide.Daily += 2
		wider, err := Retention{Default: wide}.Plan(list, night)
		require.NoError(t, err)
		newest, proven := make(map[string]string), make(map[string]string)
		for i, line := range plan.Lines {
			require.NotEmpty(t, line.Reasons)
			require.False(t, line.Keep && !wider.Lines[i].Keep)
			if newest[line.Database] == "" {
				newest[line.Database] = line.ID
				require.True(t, line.Keep)
			}
			if line.Level >= catalog.L3 && proven[line.Database] == "" {
				proven[line.Database] = line.ID
				require.True(t, line.Keep)
			}
		}
	}
}
