package targettest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/targettest"
)

func TestMemory(t *testing.T) {
	targettest.Run(t, func(*testing.T) runbook.Target { return targettest.NewMemory() }, nil)
}

func TestCheckLeavesNothing(t *testing.T) {
	m := targettest.NewMemory()
	require.NoError(t, targettest.Check(t.Context(), m))
	for o, err := range m.List(t.Context(), "") {
		t.Errorf("%v is left (%v)", o, err)
	}
}

func TestMemoryTakesTheTimeFromNow(t *testing.T) {
	m := targettest.NewMemory()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m.Now = func() time.Time { return at }
	require.NoError(t, m.Put(t.Context(), "a", strings.NewReader("x")))
	o, err := m.Stat(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, at, o.Modified)
}
