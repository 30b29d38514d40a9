//go:build unix

package runbook_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
)

func TestLocalNamesTheSignal(t *testing.T) {
	err := runbook.Local{}.Run(t.Context(), runbook.Cmd{Path: "/bin/sh", Args: []string{"-c", "echo dying >&2; kill -KILL $$"}})
	exit, ok := errors.AsType[*runbook.ExitError](err)
	require.True(t, ok, err)
	require.Equal(t, &runbook.ExitError{Path: "/bin/sh", Code: -1, Signal: "killed", Stderr: "dying"}, exit)
}
