package dirtarget_test

import (
	"testing"

	"golang.org/x/sys/windows"
)

const diskFull = windows.ERROR_DISK_FULL

func umask(int) int { return 0 }

func makeFIFO(t *testing.T, _ string) { t.Helper() }
