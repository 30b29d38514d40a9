package scratch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/pgconn"
)

// parentDir is an own directory that the account of the server may enter, with a short path.
func parentDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sw")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	dir, err = filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	return dir
}

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	server, err := pgconn.Parse(dsn)
	require.NoError(t, err)
	conn, err := server.Connect(t.Context(), "")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var answer string
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&answer))
	return answer
}

func TestStartAndClose(t *testing.T) {
	parent := parentDir(t)
	before := time.Now()
	s, err := Start(t.Context(), Options{Dir: parent, Settings: map[string]string{"work_mem": "12MB", "application_name": `it's a \ one`}})
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	t.Logf("started in %s", time.Since(before))
	require.Equal(t, "12MB", query(t, s.DSN(), "SHOW work_mem"))
	require.Equal(t, "", query(t, s.DSN(), "SHOW listen_addresses"))
	require.Equal(t, "UTF8", query(t, s.DSN(), "SHOW server_encoding"))
	before = time.Now()
	require.NoError(t, s.Close())
	t.Logf("closed in %s", time.Since(before))
	require.NoError(t, s.Close())
	entries, err := os.ReadDir(parent)
	require.NoError(t, err)
	require.Empty(t, entries)
}
