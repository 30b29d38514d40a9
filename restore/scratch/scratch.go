// Package scratch starts throw-away PostgreSQL servers from the programs found on the machine: for restore drills, for tests, for a
// demonstration. A server has a data directory of its own, is reached through a socket in that directory with a random password, and is
// gone without trace after [Server.Close].
//
// # Guarantees
//
// A scratch server never touches another server's files: everything is below one new directory. On Unix it does not listen on the network
// unless asked to. It trades durability for speed (no fsync), so it must not hold anything that is not elsewhere.
//
// A process that dies without closing its servers leaves nothing behind for good: on Linux the server ends with its owner, and wherever it runs the next
// [Start] or [Sweep] in the same parent directory ends the server if it still runs and removes its files. A lock that the kernel drops when the owner
// dies tells a dead owner's directory from a living one's, which is never touched.
//
// PostgreSQL refuses to run as root. If we are root, the server runs as the account "postgres", or "nobody" if there is none.
//
// # Concurrency
//
// Everything may be used from several goroutines, and several processes may share a parent directory.
//
// # Errors
//
// An error of [Start] ends with the last lines that PostgreSQL logged.
//
// # Stability
//
// Before v1.0.0 names may still change between minor versions. The example of the package is the whole of normal use.
package scratch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/pgtool"
)

// Options say how to start a server. The zero value works.
type Options struct {
	// BinDir holds initdb and postgres. Empty: they are searched for, see the errors of [Start] for where.
	BinDir string
	// Dir is the existing directory in which the server's own directory is made; empty is [os.TempDir]. Its path must be short (Unix allows
	// about 100 bytes for a socket), and the account that runs the server must be able to enter it.
	Dir string
	// MinMajor is the lowest acceptable major version of PostgreSQL, for instance that of the server whose dump is to be restored. The lowest
	// one found that is not below it is taken. 0 accepts any.
	MinMajor int
	// Locale is the default locale of the cluster; empty is "C", which every system has. The encoding is UTF8. A database created from template0 may have
	// others.
	Locale string
	// TCP makes the server listen on 127.0.0.1, on a port that the kernel chose, instead of on a socket. Always so on Windows.
	TCP bool
	// Settings are put into postgresql.conf after our own and so override them, for instance "autovacuum": "on".
	Settings map[string]string
	// Keep, if set, is a name that does not exist yet: Close moves the stopped server's directory there instead of removing it.
	Keep string
	// Logger receives what is swept and what goes wrong while closing; nil discards it.
	Logger *slog.Logger

	outlive bool // tests only: the server outlives a killed owner on Linux as it does elsewhere
}

// Server is a running PostgreSQL server. It must be closed.
type Server struct {
	dir     string
	dsn     string
	tools   pgtool.Tools
	process *process
	lock    io.Closer
	keep    string
	log     *slog.Logger
	close   func() error
}

// DSN returns a libpq connection string for the database "postgres" as superuser. It includes the password.
func (s *Server) DSN() string { return s.dsn }

// Dir returns the server's own directory. Its file "log" has what PostgreSQL logged.
func (s *Server) Dir() string { return s.dir }

// BinDir returns the directory of the programs that run the server.
func (s *Server) BinDir() string { return s.tools.Dir }

// Version returns the server's version in the style of server_version_num: 150018 is 15.18.
func (s *Server) Version() int { return s.tools.Version }

// Close stops the server, whatever its clients do, and removes its directory, or moves it to Options.Keep. Closing again returns the same result.
func (s *Server) Close() error { return s.close() }

const superuser = "postgres"

// Start makes a new cluster, starts a server on it and returns when it accepts connections, which takes a second or two. Before, it sweeps
// what dead owners left in the same parent directory. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start scratch server: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	parent, err := realDir(o.Dir)
	if err != nil {
		return nil, err
	}
	tools, err := pgtool.Find(ctx, o.BinDir, o.MinMajor, "initdb", "postgres")
	if err != nil {
		return nil, err
	}
	who, err := serverAccount()
	if err != nil {
		return nil, err
	}
	if err := who.mayEnter(parent); err != nil {
		return nil, err
	}
	if n, err := Sweep(ctx, parent); err != nil {
		o.Logger.Warn("cannot sweep what dead owners of scratch servers left", "dir", parent, "error", err)
	} else if n > 0 {
		o.Logger.Info("swept what dead owners of scratch servers left", "dir", parent, "servers", n)
	}

	dir, lock, err := makeLocked(parent)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, tools: tools, lock: lock, log: o.Logger}
	s.close = sync.OnceValue(s.closeOnce)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := who.own(dir); err != nil {
		return nil, err
	}
	password := rand.Text()
	if err := s.initialise(ctx, o, who, password); err != nil {
		return nil, err
	}
	if err := s.launch(ctx, o, who, password); err != nil {
		return nil, err
	}
	s.keep = o.Keep
	return s, nil
}

func (s *Server) closeOnce() error {
	var problems []error
	if s.process != nil {
		problems = append(problems, s.process.end())
	}
	moved := s.keep != "" && os.Rename(s.dir, s.keep) == nil
	if s.keep != "" && !moved { // to another file system
		problems = append(problems, os.CopyFS(s.keep, os.DirFS(s.dir)))
	}
	if moved {
		problems = append(problems, s.lock.Close())
	} else {
		problems = append(problems, removeLocked(s.dir, s.lock))
	}
	if err := errors.Join(problems...); err != nil {
		s.log.Warn("cannot close scratch server", "dir", s.dir, "error", err)
		return fmt.Errorf("close scratch server in %s: %w", s.dir, err)
	}
	return nil
}

func realDir(dir string) (string, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// removeLocked removes a locked directory and gives up the lock.
func removeLocked(dir string, lock io.Closer) error {
	if !removableWhileLocked {
		return errors.Join(lock.Close(), removeAll(dir))
	}
	return errors.Join(removeAll(dir), lock.Close())
}

// removeAll retries, as a process that is just ending may still add a file to a directory that was just emptied.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	for wait := 10 * time.Millisecond; err != nil && wait < time.Second; wait *= 2 {
		time.Sleep(wait)
		err = os.RemoveAll(dir)
	}
	return err
}

// reach returns the connection string; host is a directory or an address.
func reach(host, port, password string) string {
	return pgname.Conninfo("host", host) + " " + pgname.Conninfo("port", port) + " " + pgname.Conninfo("user", superuser) + " " +
		pgname.Conninfo("password", password) + " dbname='postgres' sslmode='disable'"
}

// ping connects once.
func ping(ctx context.Context, dsn string) error {
	server, err := pgconn.Parse(dsn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := server.Connect(ctx, "")
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
