//go:build unix

package backup

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
)

func sh(script string) runbook.Cmd {
	return runbook.Cmd{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
}

func TestRunIntoTakesEverything(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, runInto(t.Context(), runbook.Local{}, sh("head -c 5000000 /dev/zero; echo end"), &out, pipeGrace))
	require.Equal(t, 5_000_004, out.Len())
	require.True(t, strings.HasSuffix(out.String(), "end\n"))
}

func TestRunIntoReturnsTheFailureOfTheCommand(t *testing.T) {
	var out bytes.Buffer
	err := runInto(t.Context(), runbook.Local{}, sh("echo part; echo why >&2; exit 3"), &out, pipeGrace)
	exit, ok := errors.AsType[*runbook.ExitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 3, exit.Code)
	require.Equal(t, "part\n", out.String())
}

type refusing struct{ err error }

func (r refusing) Write([]byte) (int, error) { return 0, r.err }

func TestRunIntoEndsTheCommandWhenTheWriterFails(t *testing.T) {
	full := &stageError{StageStore, errors.New("the target is full")}
	start := time.Now()
	err := runInto(t.Context(), runbook.Local{}, sh("while :; do echo more; done"), refusing{full}, pipeGrace)
	require.ErrorIs(t, err, full)
	require.Less(t, time.Since(start), time.Minute)
}

// slow takes longer for each piece than an empty pipe may stay open.
type slow struct{ bytes.Buffer }

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(150 * time.Millisecond)
	return s.Buffer.Write(p)
}

func TestRunIntoGivesASlowWriterEverything(t *testing.T) {
	var out slow
	require.NoError(t, runInto(t.Context(), runbook.Local{}, sh("head -c 1000000 /dev/zero"), &out, 50*time.Millisecond))
	require.Equal(t, 1_000_000, out.Len())
}

func TestRunIntoDoesNotWaitForDescendants(t *testing.T) {
	var out bytes.Buffer
	err := runInto(t.Context(), runbook.Local{}, sh("echo whole; sleep 3 2>/dev/null &"), &out, 50*time.Millisecond)
	require.ErrorContains(t, err, "still holds its output")
}
