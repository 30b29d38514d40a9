package cli

import (
	"fmt"
	"os"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/restore"
)

// OnTerminal says whether standard error is a terminal, on which progress can be shown.
func OnTerminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// ClearLine removes what progress has written.
func ClearLine() { fmt.Fprint(os.Stderr, "\r\033[K") }

// BackupProgress returns what shows on a terminal how far the run is, or nil if there is no terminal.
func BackupProgress() func(backup.ProgressInfo) {
	if !OnTerminal() {
		return nil
	}
	return func(p backup.ProgressInfo) {
		ClearLine()
		mb := float64(p.Bytes) / 1e6
		fmt.Fprintf(os.Stderr, "%d of %d done, %.1f MB/s, %s left; %q %.1f MB\r", p.Done, p.Total, p.Rate/1e6, p.ETA, p.Database, mb)
	}
}

// RestoreProgress returns what shows on a terminal how far the restore that moved is, or nil if there is no terminal.
func RestoreProgress() func(restore.ProgressInfo) {
	if !OnTerminal() {
		return nil
	}
	return func(p restore.ProgressInfo) {
		ClearLine()
		done, total := float64(p.Bytes)/1e6, float64(p.Total)/1e6
		fmt.Fprintf(os.Stderr, "%q %.1f of %.1f MB, %.1f MB/s, %s left\r", p.Database, done, total, p.Rate/1e6, p.ETA)
	}
}
