package main

import (
	"fmt"
	"os"

	"github.com/runbook-go/runbook/restore"
)

// progress shows on standard error how far the restore that moved is, if that is a terminal.
func progress() func(restore.ProgressInfo) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(p restore.ProgressInfo) {
		done, total := float64(p.Bytes)/1e6, float64(p.Total)/1e6
		fmt.Fprintf(os.Stderr, "\r\033[K%q %.1f of %.1f MB, %.1f MB/s, %s left\r", p.Database, done, total, p.Rate/1e6, p.ETA)
	}
}
