package pgtest_test

import (
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
