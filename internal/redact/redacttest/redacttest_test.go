package redacttest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/internal/redact/redacttest"
)

func TestRecorder(t *testing.T) {
	broken := errors.New("broken")
	recorder := &redacttest.Recorder{Runner: runbook.RunnerFunc(func(context.Context, runbook.Cmd) error { return broken })}
	require.ErrorIs(t, recorder.Run(t.Context(), runbook.Cmd{Path: "p", Args: []string{"--dbname=password='s3''cret'"}}), broken)
	recorder.Runner = nil
	require.NoError(t, recorder.Run(t.Context(), runbook.Cmd{Path: "q", Args: []string{"x"}, Env: []string{"PGPASSWORD=s3'cret"}}))
	require.Len(t, recorder.Commands(), 2)
	require.Equal(t, []string{"p  --dbname=password='s3''cret'"}, recorder.Leaks("s3'cret"))
	require.Empty(t, recorder.Leaks("other"))
}

// The test binary waits on its standard input when it is started as a child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "wait" {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestWatch(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "wait", "--password=wat-ched-41")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	leaks, seen := redacttest.Watch("wat-ched-41")()
	_, none := redacttest.Watch("absent-from-everywhere")()
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait())
	if runtime.GOOS == "linux" {
		require.Equal(t, []string{os.Args[0] + " wait --password=wat-ched-41 "}, leaks)
		require.Positive(t, seen)
		require.Positive(t, none)
	}
}
