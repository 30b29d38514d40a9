// Package pgtest gives tests a real PostgreSQL server: one for a test binary, started when a test first asks for it. A test fails, and is not skipped,
// if PostgreSQL is not installed.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/pgtool"
	"github.com/runbook-go/runbook/restore/scratch"
)

// Server is the server that the tests of one binary share. Its databases do not disturb each other, but its roles are common to all.
type Server struct {
	scratch *scratch.Server
	conn    *pgconn.Server
	tools   pgtool.Tools
}

// shared starts the server once.
var shared = sync.OnceValues(func() (*Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := scratch.Start(ctx, scratch.Options{})
	if err != nil {
		return nil, err
	}
	started.mu.Lock()
	started.server = s
	started.mu.Unlock()
	conn, err := pgconn.Parse(s.DSN())
	if err != nil {
		return nil, err
	}
	tools, err := pgtool.Find(ctx, s.BinDir(), 0, "pg_dump", "pg_dumpall", "pg_restore", "psql")
	return &Server{scratch: s, conn: conn, tools: tools}, err
})

// started is what Main has to close.
var started struct {
	mu     sync.Mutex
	server *scratch.Server
}

// Main runs the tests, stops the server and exits.
func Main(m *testing.M) {
	code := m.Run()
	started.mu.Lock()
	defer started.mu.Unlock()
	if started.server != nil {
		if err := started.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// Start returns the server of this test binary.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("this test needs a PostgreSQL server and its client programs: %s", err)
	}
	return s
}

// DSN returns a connection string for the database postgres, as superuser and with its password.
func (s *Server) DSN() string { return s.scratch.DSN() }

// Conn returns the server as the code under test sees it.
func (s *Server) Conn() *pgconn.Server { return s.conn }

// Tools returns the client programs of the server's own version.
func (s *Server) Tools() pgtool.Tools { return s.tools }

// Version returns the server's server_version_num.
func (s *Server) Version() int { return s.scratch.Version() }

// Connect opens a connection that is closed at the end of the test; the empty name is the database postgres.
func (s *Server) Connect(t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := s.conn.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Exec runs statements, several in one simple query and so in one transaction unless they say otherwise.
func (s *Server) Exec(t testing.TB, database, sql string) {
	t.Helper()
	if err := s.exec(t.Context(), database, sql); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) exec(ctx context.Context, database, sql string) error {
	conn, err := s.conn.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
		return fmt.Errorf("in database %q: %w", database, err)
	}
	return nil
}

// CreateDatabase makes an empty database that is dropped at the end of the test. Options such as "TEMPLATE template0" follow the name.
func (s *Server) CreateDatabase(t testing.TB, name string, options ...string) {
	t.Helper()
	s.Exec(t, "", "CREATE DATABASE "+pgname.Ident(name)+" "+strings.Join(options, " "))
	s.DropLater(t, "DATABASE", name)
}

// DropLater drops a database or a role at the end of the test, if it is there. kind is "DATABASE" or "ROLE".
func (s *Server) DropLater(t testing.TB, kind, name string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		sql := "DROP " + kind + " IF EXISTS " + pgname.Ident(name)
		if kind == "DATABASE" {
			sql += " WITH (FORCE)"
			if err := s.dropSubscriptions(ctx, name); err != nil {
				t.Error(err)
			}
		}
		if err := s.exec(ctx, "", sql); err != nil {
			t.Error(err)
		}
	})
}

// dropSubscriptions removes what keeps a database from being dropped.
func (s *Server) dropSubscriptions(ctx context.Context, database string) error {
	conn, err := s.conn.Connect(ctx, "")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1", database)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		quoted := pgname.Ident(name)
		sql := fmt.Sprintf("ALTER SUBSCRIPTION %[1]s DISABLE; ALTER SUBSCRIPTION %[1]s SET (slot_name = NONE); DROP SUBSCRIPTION %[1]s", quoted)
		err = errors.Join(err, s.exec(ctx, database, sql))
	}
	return err
}

// Run runs a client program of the server's version against a database and returns its standard output.
func (s *Server) Run(t testing.TB, program, database string, args ...string) []byte {
	t.Helper()
	return s.run(t, program, slices.Concat(s.conn.Args(database), args))
}

func (s *Server) run(t testing.TB, program string, args []string) []byte {
	t.Helper()
	var out bytes.Buffer
	err := runbook.Local{}.Run(t.Context(), runbook.Cmd{Path: s.tools.Path(program), Args: args, Env: s.conn.Env(), Stdout: &out})
	if err != nil {
		t.Fatalf("%s %q: %s", program, args, err)
	}
	return out.Bytes()
}

// Dump returns what pg_dump -Fc -Z0 writes.
func (s *Server) Dump(t testing.TB, database string) []byte {
	t.Helper()
	return s.Run(t, "pg_dump", database, "--format=custom", "--compress=0")
}

// PlainDump returns a dump in SQL, the same bytes for the same content.
func (s *Server) PlainDump(t testing.TB, database string) []byte {
	t.Helper()
	args := []string{"--format=plain"}
	if bytes.Contains(s.run(t, "pg_dump", []string{"--help"}), []byte("--restrict-key")) {
		args = append(args, "--restrict-key=fixed")
	}
	return s.Run(t, "pg_dump", database, args...)
}

// ERP makes a database like that of an ERP from examples/quickstart/erp.sql; scale 1 is about 30 MB of dump. It is dropped at the end of the test.
func (s *Server) ERP(t testing.TB, name string, scale float64) {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	sql, err := os.ReadFile(filepath.Join(filepath.Dir(file), "..", "..", "examples", "quickstart", "erp.sql"))
	if err != nil {
		t.Fatal(err)
	}
	s.CreateDatabase(t, name)
	s.Exec(t, name, fmt.Sprintf("SET erp.scale = '%g';\n%s", scale, sql))
}
