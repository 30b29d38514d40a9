package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/restore"
)

// account tells people what happens as it happens, or keeps everything for one JSON object at the end.
type account struct {
	json     bool
	terminal bool // progress is shown on it
	started  time.Time
	written  strings.Builder
	facts    map[string]any
}

func newAccount(asJSON bool) *account {
	a := &account{json: asJSON, started: time.Now(), facts: make(map[string]any)}
	if info, err := os.Stderr.Stat(); err == nil {
		a.terminal = info.Mode()&os.ModeCharDevice != 0 && !asJSON
	}
	return a
}

// text shows something of several lines, set in.
func (a *account) text(s string) {
	a.clearLine()
	for line := range strings.Lines(strings.TrimRight(s, "\n") + "\n") {
		fmt.Fprint(&a.written, "  "+line)
		if !a.json {
			fmt.Print("  " + line)
		}
	}
}

func (a *account) say(format string, args ...any) { a.text(fmt.Sprintf(format, args...)) }

func (a *account) chapter(title string) {
	a.clearLine()
	heading := fmt.Sprintf("\n%s  [%.1f s]\n", title, time.Since(a.started).Seconds())
	fmt.Fprint(&a.written, heading)
	if !a.json {
		fmt.Print(heading)
	}
}

func (a *account) clearLine() {
	if a.terminal {
		fmt.Fprint(os.Stderr, "\r\033[K")
	}
}

func (a *account) backupEvents() backup.Events {
	if !a.terminal {
		return backup.Events{}
	}
	return backup.Events{Progress: func(p backup.ProgressInfo) {
		fmt.Fprintf(os.Stderr, "\r\033[K  %d of %d, %.1f MB/s, %s left, %s", p.Done, p.Total, p.Rate/1e6, p.ETA, p.Database)
	}}
}

func (a *account) backup(name string, r *backup.Report) {
	a.facts[name] = r
	a.text(r.String())
}

func (a *account) drill(r *restore.DrillReport) {
	if r == nil {
		return
	}
	a.facts["drill"] = r
	var slowest time.Duration
	proven := 0
	for _, d := range r.Drilled {
		if d.Err != nil || d.Evidence == nil || !d.Evidence.Passed {
			a.say("%-26s NOT PROVEN: %v", d.Database, d.Err)
			continue
		}
		proven++
		slowest = max(slowest, d.Evidence.Restore)
		a.say("%-26s proven at %s: restored in %s, compared in %s", d.Database, d.Evidence.Level,
			d.Evidence.Restore.Round(time.Millisecond), d.Evidence.Verify.Round(time.Millisecond))
	}
	a.say("%d of %d snapshots proven restorable in %s; the slowest took %s to restore", proven, len(r.Drilled),
		r.Finished.Sub(r.Started).Round(time.Millisecond), slowest.Round(time.Millisecond))
}

func (a *account) restore(r *restore.Report) {
	if r == nil {
		return
	}
	a.facts["restore"] = r
	a.say("restored in %s, compared %d rows in %s (%s), swapped with %s of down time; the old one is kept as %q until %s",
		r.Restore.Round(time.Millisecond), r.Rows, r.Verify.Round(time.Millisecond), r.Level, r.Down.Round(time.Microsecond), r.Old, r.KeepUntil.Format(time.DateOnly))
}

func (a *account) undo(r *restore.Report) {
	a.facts["undo"] = r
	a.say("the restore was undone with %s of down time; what it had brought is kept as %q", r.Down.Round(time.Microsecond), r.Old)
}

func (a *account) retention(plan *backup.RetentionPlan, deleted []backup.RetentionLine) {
	a.facts["retention"] = plan
	a.text(plan.String())
	var stored int64
	for _, line := range deleted {
		stored += line.Stored
	}
	a.say("%d snapshots deleted, %.1f MB given back", len(deleted), float64(stored)/1e6)
}

// close prints the end, and keeps the account if it is asked to.
func (a *account) close(keep string, failed error) error {
	if failed == nil {
		a.chapter("Everything went as it should")
	}
	a.facts["ok"] = failed == nil
	a.facts["seconds"] = time.Since(a.started).Seconds()
	if failed != nil {
		a.facts["error"] = failed.Error()
	}
	object, err := json.MarshalIndent(a.facts, "", "  ")
	if err != nil {
		return err
	}
	if a.json {
		fmt.Println(string(object))
	}
	if keep == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(keep, "account.json"), append(object, '\n'), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(keep, "account.txt"), []byte(a.written.String()), 0o600)
}
