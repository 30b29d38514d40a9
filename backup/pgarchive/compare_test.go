package pgarchive

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/pgtest"
)

func TestCompareDefinitions(t *testing.T) {
	want := []Entry{
		{Desc: "VIEW", Namespace: "s", Tag: "v", Defn: "CREATE VIEW 1"},
		{Desc: "FUNCTION", Namespace: "s", Tag: "f()", Defn: "one"},
		{Desc: "INDEX", Namespace: "s", Tag: "i", Defn: "gone"},
		{Desc: "BLOB", Tag: "17"},
		{Desc: "ACL", Tag: "x", Defn: "GRANT"},
		{Desc: "SEQUENCE SET", Namespace: "s", Tag: "q", Defn: "1"},
	}
	got := []Entry{
		{Desc: "VIEW", Namespace: "s", Tag: "v", Defn: "CREATE VIEW 2"},
		{Desc: "FUNCTION", Namespace: "s", Tag: "f()", Defn: "two"},
		{Desc: "TABLE", Namespace: "s", Tag: "t"},
		{Desc: "SEQUENCE SET", Namespace: "s", Tag: "q", Defn: "2"},
	}
	require.Equal(t, Differences{
		Missing: []string{"BLOB 17", `INDEX "s"."i"`}, Extra: []string{`TABLE "s"."t"`}, Changed: []string{`FUNCTION "s"."f()"`}, Rewritten: []string{`VIEW "s"."v"`},
	}, CompareDefinitions(want, got))
	require.Zero(t, CompareDefinitions(want, want))
}

// What PostgreSQL writes in another way after a restore is told from what was changed.
func TestRewrittenExpressionsAreNoChange(t *testing.T) {
	s := pgtest.Start(t)
	s.CreateDatabase(t, "rewritten")
	s.Exec(t, "rewritten", `CREATE TABLE t (c varchar(10) CHECK (c IN ('a', 'b')), d text DEFAULT 'x' CHECK (d IN ('x', 'y')))`)
	dump := s.Dump(t, "rewritten")
	file := filepath.Join(t.TempDir(), "archive")
	require.NoError(t, os.WriteFile(file, dump, 0o600))
	s.CreateDatabase(t, "rewritten copy")
	s.Run(t, "pg_restore", "rewritten copy", "--exit-on-error", file)
	_, want, err := ReadTOC(bytes.NewReader(dump))
	require.NoError(t, err)
	_, got, err := ReadTOC(bytes.NewReader(s.Dump(t, "rewritten copy")))
	require.NoError(t, err)
	require.Equal(t, Differences{Rewritten: []string{`TABLE "public"."t"`}}, CompareDefinitions(want, got))
}
