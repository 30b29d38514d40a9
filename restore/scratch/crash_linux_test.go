package scratch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestServerEndsWithItsOwner(t *testing.T) {
	parent := parentDir(t)
	_, postmaster := killedOwner(t, parent, false)
	require.Eventually(t, func() bool { return !running(postmaster) }, 30*time.Second, 10*time.Millisecond)
	n, err := Sweep(t.Context(), parent)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}
