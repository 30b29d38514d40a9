package pgarchive

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgtest"
)

func TestDataTable(t *testing.T) {
	for defn, want := range map[string][2]string{
		"":                                    {"s", "leaf"},
		"-- load via partition root public.t": {"public", "t"},
		"-- load via partition root \"a.\"\"b\".\"c d\"": {`a."b`, "c d"},
	} {
		schema, name := (&Entry{Namespace: "s", Tag: "leaf", Defn: defn}).DataTable()
		require.Equal(t, want, [2]string{schema, name}, defn)
	}
}

func TestRolesOfPoliciesAreSorted(t *testing.T) {
	for defn, want := range map[string]string{
		`CREATE POLICY p ON s.t TO b, "a "" TO z", c USING ((x > y));`: `CREATE POLICY p ON s.t TO "a "" TO z", b, c USING ((x > y));`,
		`CREATE POLICY "x TO b, a" ON s.t FOR SELECT TO b, a;`:         `CREATE POLICY "x TO b, a" ON s.t FOR SELECT TO a, b;`,
		`CREATE POLICY p ON s.t USING ((x = ' TO b, a'::text));`:       `CREATE POLICY p ON s.t USING ((x = ' TO b, a'::text));`,
		`CREATE POLICY p ON s.t TO `:                                   `CREATE POLICY p ON s.t TO `,
		`CREATE POLICY p ON s.t TO "open`:                              `CREATE POLICY p ON s.t TO "open`,
	} {
		require.Equal(t, want, sortRoles(defn))
	}
}

func TestRowSum(t *testing.T) {
	sum := func(chunks ...string) string {
		var r rowSum
		for _, c := range chunks {
			r.add([]byte(c))
		}
		return r.sum()
	}
	require.Equal(t, sum("a\nb\nb\n"), sum("b\na", "\n", "b\n"), "neither order nor cuts count")
	for _, other := range []string{"a\nb\n", "a\nb\nc\n", "a\na\nb\n", "ab\nb\n\n", "a\nb\nb\n\n"} {
		require.NotEqual(t, sum("a\nb\nb\n"), sum(other), other)
	}
}

// Rows of a table that is partitioned by the hash of an enum end in other partitions when its type is made again.
func TestRowsThatMove(t *testing.T) {
	s := pgtest.Start(t)
	walk := func(sql string) catalog.Content {
		s.CreateDatabase(t, "moving")
		defer s.Exec(t, "", "DROP DATABASE moving")
		s.Exec(t, "moving", sql)
		summary, err := Walk(bytes.NewReader(s.Dump(t, "moving")))
		require.NoError(t, err)
		return summary.Content
	}
	const create = `CREATE TYPE colour AS ENUM ('red', 'blue', 'green'); CREATE TABLE t (c colour, n int) PARTITION BY HASH (c);
		CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1);`
	const fill = `INSERT INTO t SELECT (ARRAY['red', 'blue', 'green']::colour[])[1 + i % 3], i FROM generate_series(1, 30) i;`
	want := walk(create + fill)
	require.Len(t, want.Tables, 1)
	require.Equal(t, "t", want.Tables[0].Name)
	require.EqualValues(t, 30, want.Tables[0].Rows)
	for range 4 { // with other OIDs each time
		got := walk(create + fill)
		require.Empty(t, want.Diff(&got))
	}
	lost := walk(create + fill + `DELETE FROM t WHERE n = 7;`)
	require.NotEmpty(t, want.Diff(&lost))
	changed := walk(create + fill + `UPDATE t SET n = 31 WHERE n = 7;`)
	require.NotEmpty(t, want.Diff(&changed))
}
