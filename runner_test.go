package runbook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
)

// The test binary plays the commands that the tests run: TestMain hands over to child when it is started as one.
const childMark = "runbook-test-child"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childMark {
		child(os.Args[2], os.Args[3:])
	}
	os.Exit(m.Run())
}

func child(mode string, args []string) {
	switch mode {
	case "environ":
		fmt.Print(strings.Join(os.Environ(), "\n"))
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "pwd":
		dir, _ := os.Getwd()
		fmt.Print(dir)
	case "exit":
		code, _ := strconv.Atoi(args[0])
		fmt.Fprint(os.Stderr, args[1])
		os.Exit(code)
	case "noise": // binary noise, then a last line
		n, _ := strconv.Atoi(args[0])
		_, _ = os.Stderr.Write(bytes.Repeat([]byte("\xff."), n/2))
		fmt.Fprint(os.Stderr, "the last line\n")
		os.Exit(1)
	case "touch":
		_ = os.WriteFile(args[0], nil, 0o600)
	case "parent", "orphan": // starts hold, which shares its standard output; a parent stays, an orphan's parent exits 0
		grandchild := exec.Command(os.Args[0], childMark, "hold", args[0])
		grandchild.Stdout = os.Stdout
		if err := grandchild.Start(); err != nil {
			panic(err)
		}
		if mode == "parent" {
			_ = grandchild.Wait()
		}
	case "hold": // ignores polite signals and lives until it is killed or its line to the test is cut
		signal.Ignore(syscall.SIGTERM, os.Interrupt)
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte("up"))
		_, _ = io.Copy(io.Discard, conn)
	}
	os.Exit(0)
}

func command(mode string, args ...string) runbook.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return runbook.Cmd{Path: self, Args: append([]string{childMark, mode}, args...)}
}

// line listens for the grandchild of a test. waitUp returns once it runs, waitDead once it has gone.
type line struct {
	t        *testing.T
	listener net.Listener
	conn     net.Conn
}

func newLine(t *testing.T) *line {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &line{t: t, listener: listener}
	t.Cleanup(func() {
		listener.Close()
		if l.conn != nil {
			l.conn.Close() // ends a grandchild that nobody killed
		}
	})
	return l
}

func (l *line) addr() string { return l.listener.Addr().String() }

func (l *line) waitUp() {
	conn, err := l.listener.Accept()
	require.NoError(l.t, err)
	_, err = io.ReadFull(conn, make([]byte, 2))
	require.NoError(l.t, err)
	l.conn = conn
}

func (l *line) waitDead() {
	l.t.Helper()
	require.NoError(l.t, l.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := l.conn.Read(make([]byte, 1))
	require.NotErrorIs(l.t, err, os.ErrDeadlineExceeded, "the grandchild is still alive")
	require.Error(l.t, err)
}

var errStopped = errors.New("the operator said stop")

func TestLocalKillsTheWholeGroup(t *testing.T) {
	l := newLine(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- runbook.Local{WaitDelay: time.Minute}.Run(ctx, command("parent", l.addr())) }()
	l.waitUp()
	cancel(errStopped)
	require.ErrorIs(t, <-done, errStopped)
	l.waitDead()
}

func TestLocalKillsWhatOutlivesTheCommand(t *testing.T) {
	l := newLine(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	c := command("orphan", l.addr())
	c.Stdout = new(bytes.Buffer) // a pipe, which the grandchild keeps open
	go func() { done <- runbook.Local{WaitDelay: time.Minute}.Run(ctx, c) }()
	l.waitUp()
	cancel(errStopped)
	require.ErrorIs(t, <-done, errStopped)
	l.waitDead()
}

func TestLocalDoesNotWaitForEver(t *testing.T) {
	l := newLine(t)
	c := command("orphan", l.addr())
	c.Stdout = new(bytes.Buffer)
	err := runbook.Local{WaitDelay: 50 * time.Millisecond}.Run(t.Context(), c)
	require.ErrorIs(t, err, exec.ErrWaitDelay)
	require.ErrorContains(t, err, "kept its output open")
	l.waitUp() // it was left alone
}

func TestLocalEnvironment(t *testing.T) {
	t.Setenv("RUNBOOK_SECRET", "not for children")
	for name, tc := range map[string]struct {
		env  []string
		want string
	}{
		"nil is empty": {nil, ""},
		"as given":     {[]string{"A=1", "B=2"}, "A=1\nB=2"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := command("environ")
			c.Env, c.Stdout = tc.env, &out
			require.NoError(t, runbook.Local{}.Run(t.Context(), c))
			var got []string
			for entry := range strings.SplitSeq(out.String(), "\n") {
				if !strings.HasPrefix(entry, "SYSTEMROOT=") { // which os/exec always gives on Windows
					got = append(got, entry)
				}
			}
			require.Equal(t, tc.want, strings.Join(got, "\n"))
		})
	}
}

func TestLocalStreamsAndDirectory(t *testing.T) {
	var out bytes.Buffer
	c := command("cat")
	c.Stdin, c.Stdout = strings.NewReader("in and out"), &out
	require.NoError(t, runbook.Local{}.Run(t.Context(), c))
	require.Equal(t, "in and out", out.String())

	out.Reset()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	c = command("pwd")
	c.Dir, c.Stdout = dir, &out
	require.NoError(t, runbook.Local{}.Run(t.Context(), c))
	require.Equal(t, dir, out.String())
}

func TestLocalExitError(t *testing.T) {
	var copied bytes.Buffer
	c := command("exit", "7", "  it broke\n")
	c.Stderr = &copied
	err := runbook.Local{}.Run(t.Context(), c)
	exit, ok := errors.AsType[*runbook.ExitError](err)
	require.True(t, ok, err)
	require.Equal(t, &runbook.ExitError{Path: c.Path, Code: 7, Stderr: "it broke"}, exit)
	require.EqualError(t, err, c.Path+": exit status 7: it broke")
	require.Equal(t, "  it broke\n", copied.String())
}

func TestExitErrorText(t *testing.T) {
	require.EqualError(t, &runbook.ExitError{Path: "p", Code: 2}, "p: exit status 2")
	require.EqualError(t, &runbook.ExitError{Path: "p", Code: -1, Signal: "killed", Stderr: "why"}, "p: signal killed: why")
}

func TestLocalKeepsTheEndOfStderr(t *testing.T) {
	for _, written := range []int{100, 5 << 10, 8 << 10, 100 << 10} {
		err := runbook.Local{}.Run(t.Context(), command("noise", strconv.Itoa(written)))
		exit, ok := errors.AsType[*runbook.ExitError](err)
		require.True(t, ok, err)
		require.LessOrEqual(t, len(exit.Stderr), 8<<10)
		require.True(t, strings.HasSuffix(exit.Stderr, "the last line"), "of %d bytes", written)
		require.Equal(t, written > 4<<10, strings.HasPrefix(exit.Stderr, "… "), "of %d bytes", written)
	}
}

func TestLocalMissingProgram(t *testing.T) {
	err := runbook.Local{}.Run(t.Context(), runbook.Cmd{Path: "runbook-no-such-program"})
	require.ErrorIs(t, err, exec.ErrNotFound)
	require.ErrorContains(t, err, "run runbook-no-such-program: ")

	err = runbook.Local{}.Run(t.Context(), runbook.Cmd{Path: filepath.Join(t.TempDir(), "absent")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestLocalCancelledBeforeStart(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStopped)
	file := filepath.Join(t.TempDir(), "touched")
	require.ErrorIs(t, runbook.Local{}.Run(ctx, command("touch", file)), errStopped)
	require.NoFileExists(t, file)
	require.ErrorIs(t, runbook.Local{}.Run(ctx, runbook.Cmd{Path: "runbook-no-such-program"}), errStopped, "it was looked for")

	require.NoError(t, runbook.Local{}.Run(t.Context(), command("touch", file)))
	require.FileExists(t, file)
}

func TestLocalTimeOut(t *testing.T) {
	l := newLine(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, runbook.Local{}.Run(ctx, command("hold", l.addr())), context.DeadlineExceeded)
}

func TestRunnerFunc(t *testing.T) {
	var got runbook.Cmd
	var runner runbook.Runner = runbook.RunnerFunc(func(_ context.Context, c runbook.Cmd) error {
		got = c
		return errStopped
	})
	require.ErrorIs(t, runner.Run(t.Context(), runbook.Cmd{Path: "x"}), errStopped)
	require.Equal(t, "x", got.Path)
}
