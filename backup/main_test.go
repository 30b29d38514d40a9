//go:build !unix

package backup_test

import (
	"testing"

	"github.com/runbook-go/runbook/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
