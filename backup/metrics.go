package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/runbook-go/runbook/internal/atomicfile"
)

const lastSuccess = "runbook_backup_last_success_timestamp_seconds"

// writeMetrics replaces a file by the run's figures in Prometheus' text exposition format 0.0.4. The time of the last success of a database that failed this
// time is carried over from the file that is replaced, so that an alert on its age works.
func writeMetrics(file string, r *Report) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write metrics: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Clean(file), metrics(r, string(old)), 0o644); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

func metrics(r *Report, old string) []byte {
	var b bytes.Buffer
	head := func(name, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name) }
	each := func(name, help string, value func(Result) (float64, bool)) {
		head(name, help)
		for _, result := range r.Results {
			if v, ok := value(result); ok {
				fmt.Fprintf(&b, "%s %v\n", series(name, result.Database), v)
			}
		}
	}
	backedUp := func(value func(Result) float64) func(Result) (float64, bool) {
		return func(result Result) (float64, bool) { return value(result), result.Status == BackedUp }
	}
	each("runbook_backup_success", "1 if the last run backed the database up, 0 if it failed.", func(result Result) (float64, bool) {
		if result.Status == BackedUp {
			return 1, true
		}
		return 0, result.Status == Failed
	})
	each("runbook_backup_archive_bytes", "Size of the dump.", backedUp(func(result Result) float64 { return float64(result.Bytes) }))
	each("runbook_backup_stored_bytes", "What the dump takes in the store.", backedUp(func(result Result) float64 { return float64(result.Stored) }))
	each("runbook_backup_rows", "Rows in the dump.", backedUp(func(result Result) float64 { return float64(result.Rows) }))
	each("runbook_backup_duration_seconds", "Time to dump, store and verify.", func(result Result) (float64, bool) {
		return result.Duration.Seconds(), result.Status != Skipped
	})
	head(lastSuccess, "When the database was last backed up.")
	for _, result := range r.Results {
		at := series(lastSuccess, result.Database)
		if result.Status == BackedUp {
			fmt.Fprintf(&b, "%s %d\n", at, r.Finished.Unix())
		} else if value, ok := find(old, at); ok {
			fmt.Fprintf(&b, "%s %s\n", at, value)
		}
	}
	for _, f := range []struct {
		name, help string
		value      any
	}{
		{"runbook_backup_run_timestamp_seconds", "When the last run ended.", r.Finished.Unix()},
		{"runbook_backup_run_duration_seconds", "How long the last run took.", r.Finished.Sub(r.Started).Seconds()},
		{"runbook_backup_run_failed_databases", "Databases that failed in the last run.", r.Count(Failed)},
		{"runbook_backup_run_backed_up_databases", "Databases that were backed up in the last run.", r.Count(BackedUp)},
		{"runbook_backup_run_skipped_databases", "Databases that were skipped in the last run.", r.Count(Skipped)},
	} {
		head(f.name, f.help)
		fmt.Fprintf(&b, "%s %v\n", f.name, f.value)
	}
	return b.Bytes()
}

func series(name, database string) string {
	return name + `{database="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(database) + `"}`
}

// find returns the value of a series in a text of metrics.
func find(text, series string) (value string, ok bool) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), series+" "); ok {
			return value, true
		}
	}
	return "", false
}
