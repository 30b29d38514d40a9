//go:build unix

package dirtarget_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const diskFull = syscall.ENOSPC

func umask(mask int) int { return syscall.Umask(mask) }

func makeFIFO(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, syscall.Mkfifo(name, 0o600))
}
