package stage

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Create makes a database on the shared server with a table of n rows, which is dropped after the test.
func Create(t *testing.T, name string, n int) {
	t.Helper()
	dsn, ident := Server(t).DSN(), pgx.Identifier{name}.Sanitize()
	Execute(t, dsn, "postgres", "CREATE DATABASE "+ident)
	t.Cleanup(func() { Execute(t, dsn, "postgres", "DROP DATABASE IF EXISTS "+ident+" WITH (FORCE)") })
	Execute(t, dsn, name, "CREATE TABLE invoice (id int PRIMARY KEY, label text)")
	Execute(t, dsn, name, fmt.Sprintf("INSERT INTO invoice SELECT i, 'é' || i FROM generate_series(1, %d) i", n))
}

// DropOlds drops, after the test, what replacements of the test left on the shared server.
func DropOlds(t *testing.T) {
	dsn := Server(t).DSN()
	t.Cleanup(func() {
		const sql = `SELECT coalesce(array_agg(datname::text), '{}') FROM pg_database WHERE datname LIKE '%\_\_old\_%'`
		for _, old := range Ask[[]string](t, dsn, "postgres", sql) {
			Execute(t, dsn, "postgres", "DROP DATABASE "+pgx.Identifier{old}.Sanitize())
		}
	})
}

// Execute runs statements in a database.
func Execute(t *testing.T, dsn, database, sql string) {
	t.Helper()
	conn := connect(t, dsn, database)
	defer conn.Close(context.Background())
	_, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
	OK(t, err)
}

// Ask returns the one value that a query gives.
func Ask[T any](t *testing.T, dsn, database, sql string) (value T) {
	t.Helper()
	conn := connect(t, dsn, database)
	defer conn.Close(context.Background())
	OK(t, conn.QueryRow(context.Background(), sql).Scan(&value))
	return value
}

func connect(t *testing.T, dsn, database string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	OK(t, err)
	config.Database = database
	conn, err := pgx.ConnectConfig(context.Background(), config) // not t.Context(), which ends before the cleanup
	OK(t, err)
	return conn
}
