package scratch

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/pgconn"
)

// parentDir is an own directory that the account of the server may enter, with a short path. It must be empty in the end.
func parentDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sw")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { require.NoError(t, os.Remove(dir), "something is left in it") })
	dir, err = filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	return dir
}

func startIn(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func ask(t *testing.T, dsn, sql string) string {
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

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

func password(t *testing.T, dsn string) string {
	t.Helper()
	server, err := pgconn.Parse(dsn)
	require.NoError(t, err)
	require.Len(t, server.Secrets(), 1)
	return server.Secrets()[0]
}

func TestServerIsPrivateAndLeavesNothing(t *testing.T) {
	parent := parentDir(t)
	s := startIn(t, Options{Dir: parent, Settings: map[string]string{"work_mem": "12MB", "log_line_prefix": `it's "a" \ `}})
	require.Equal(t, "12MB", ask(t, s.DSN(), "SHOW work_mem"))
	require.Equal(t, `it's "a" \ `, ask(t, s.DSN(), "SHOW log_line_prefix"))
	require.Equal(t, "UTF8", ask(t, s.DSN(), "SHOW server_encoding"))
	require.Equal(t, "on", ask(t, s.DSN(), "SHOW is_superuser"))
	require.Equal(t, s.Version()/10000, atoi(t, ask(t, s.DSN(), "SHOW server_version_num"))/10000)
	require.Equal(t, parent, filepath.Dir(s.Dir()))

	secret := password(t, s.DSN())
	require.Error(t, ping(t.Context(), strings.ReplaceAll(s.DSN(), secret, "wrong")), "it takes any password")
	require.Error(t, ping(t.Context(), strings.ReplaceAll(s.DSN(), secret, "")), "it takes no password")
	require.NoError(t, filepath.WalkDir(s.Dir(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(secret)) {
			return errors.New("the password is in " + path)
		}
		return err
	}))

	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "second Close")
	require.NoDirExists(t, s.Dir())
	require.Error(t, ping(t.Context(), s.DSN()))
}

func TestCloseEndsSessions(t *testing.T) {
	s := startIn(t, Options{Dir: parentDir(t)})
	server, err := pgconn.Parse(s.DSN())
	require.NoError(t, err)
	conn, err := server.Connect(t.Context(), "")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	asleep := make(chan error)
	go func() {
		_, err := conn.Exec(context.Background(), "BEGIN; SELECT pg_sleep(600)")
		asleep <- err
	}()
	require.NoError(t, s.Close())
	require.Error(t, <-asleep)
}

func TestTCP(t *testing.T) {
	s := startIn(t, Options{Dir: parentDir(t), TCP: true})
	require.Equal(t, "127.0.0.1", ask(t, s.DSN(), "SHOW listen_addresses"))
	conn, err := net.Dial("tcp", "127.0.0.1:"+ask(t, s.DSN(), "SHOW port"))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

func TestPortTakenMeanwhile(t *testing.T) {
	s := startIn(t, Options{Dir: parentDir(t)})
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)

	// The server is started a second time on the taken port, as launch would.
	require.NoError(t, s.process.end())
	require.NoError(t, s.configure(nil, map[string]string{"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": port}))
	who, err := serverAccount()
	require.NoError(t, err)
	s.process, err = s.spawn(s.command(who, "postgres", "-D", filepath.Join(s.dir, dataDir)), true)
	require.NoError(t, err)
	s.dsn = reach("127.0.0.1", port, "unknown")
	err = s.ready(t.Context())
	require.True(t, portTaken(err), err)
}

func TestStartTellsWhatIsWrong(t *testing.T) {
	parent := parentDir(t)
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no programs": {Options{BinDir: parent}, "no initdb, postgres"},
		"too old":     {Options{MinMajor: 99}, "postgresql-99"},
		"no parent":   {Options{Dir: filepath.Join(parent, "missing")}, "no such file or directory"},
		"setting":     {Options{Dir: parent, Settings: map[string]string{"work_mam": "1MB"}}, `unrecognized configuration parameter "work_mam"`},
		"injection":   {Options{Dir: parent, Settings: map[string]string{"work_mem = 1\nfsync": "on"}}, "letters, digits"},
		"two lines":   {Options{Dir: parent, Settings: map[string]string{"work_mem": "1\nfsync = on"}}, "one line"},
		"locale":      {Options{Dir: parent, Locale: "tlh_QO"}, `invalid locale name "tlh_QO"`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Start(t.Context(), c.o)
			require.Nil(t, s)
			require.ErrorContains(t, err, "start scratch server: ")
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestStartTellsThatThePathIsTooLong(t *testing.T) {
	parent := parentDir(t)
	long := filepath.Join(parent, strings.Repeat("x", 100))
	require.NoError(t, os.Mkdir(long, 0o711))
	defer os.Remove(long)
	_, err := Start(t.Context(), Options{Dir: long})
	require.ErrorContains(t, err, "too long for a socket; give a shorter Dir or set TCP")
	startIn(t, Options{Dir: long, TCP: true}).Close()
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	parent := parentDir(t)
	cause := errors.New("changed my mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for { // until initdb is at work
			if found, _ := filepath.Glob(filepath.Join(parent, prefix+"*", dataDir, "base")); len(found) > 0 {
				cancel(cause)
				return
			}
		}
	}()
	_, err := Start(ctx, Options{Dir: parent})
	require.ErrorIs(t, err, cause)
}

func TestKeep(t *testing.T) {
	for name, elsewhere := range map[string]string{"beside": "", "on another file system": "/dev/shm"} {
		t.Run(name, func(t *testing.T) {
			parent := parentDir(t)
			keep := filepath.Join(parent, "kept")
			if _, err := os.Stat(elsewhere); elsewhere != "" && err == nil {
				other, err := os.MkdirTemp(elsewhere, "runbook-keep-")
				require.NoError(t, err)
				defer os.RemoveAll(other)
				keep = filepath.Join(other, "kept")
			}
			s, err := Start(t.Context(), Options{Dir: parent, Keep: keep})
			require.NoError(t, err)
			require.NoError(t, s.Close())
			require.FileExists(t, filepath.Join(keep, "log"))
			require.NoDirExists(t, s.Dir())
			n, err := Sweep(t.Context(), parent)
			require.NoError(t, err)
			require.Zero(t, n)
			require.DirExists(t, keep)
			require.NoError(t, os.RemoveAll(keep))
		})
	}
}
