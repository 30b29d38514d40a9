package pgtest_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestServer(t *testing.T) {
	s := pgtest.Start(t)
	const name = `host=evil "it's"`
	t.Run("use", func(t *testing.T) {
		s.CreateDatabase(t, name)
		s.Exec(t, name, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
		var n int
		require.NoError(t, s.Connect(t, name).QueryRow(t.Context(), "SELECT n FROM t").Scan(&n))
		require.Equal(t, 7, n)
		require.Equal(t, "PGDMP", string(s.Dump(t, name)[:5]))
		plain := s.PlainDump(t, name)
		require.Contains(t, string(plain), "\n7\n\\.\n")
		require.Equal(t, string(plain), string(s.PlainDump(t, name)))
	})
	var left int
	require.NoError(t, s.Connect(t, "").QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", name).Scan(&left))
	require.Zero(t, left, "the database outlived its test")
}

func TestERP(t *testing.T) {
	s := pgtest.Start(t)
	s.ERP(t, "one", 0.02)
	s.ERP(t, "two", 0.02)
	require.True(t, bytes.Equal(s.PlainDump(t, "one"), s.PlainDump(t, "two")), "the database is not the same every time")

	var tables, largeObjects, views, partitions int
	require.NoError(t, s.Connect(t, "one").QueryRow(t.Context(), `
		SELECT count(*) FILTER (WHERE relkind IN ('r', 'p')), count(*) FILTER (WHERE relkind IN ('v', 'm')),
			count(*) FILTER (WHERE relispartition AND relkind = 'r'),
			(SELECT count(*) FROM pg_largeobject_metadata)
		FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'reporting'::regnamespace)`).Scan(&tables, &views, &partitions, &largeObjects))
	require.Equal(t, 122, tables)
	require.Equal(t, 3, views)
	require.Equal(t, 4, partitions)
	require.Equal(t, 3, largeObjects)
}
