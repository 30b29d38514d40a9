package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/examples/internal/cli"
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
	return &account{json: asJSON, terminal: cli.OnTerminal() && !asJSON, started: time.Now(), facts: make(map[string]any)}
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
		cli.ClearLine()
	}
}

func (a *account) backupEvents() (e backup.Events) {
	if a.terminal {
		e.Progress = cli.BackupProgress()
	}
	return e
}

func (a *account) backup(name string, r *backup.Report) {
	a.facts[name] = r
	a.text(r.String())
}

func (a *account) drill(r *restore.DrillReport) {
	if r != nil {
		a.facts["drill"] = r
		a.text(r.String())
	}
}

func (a *account) restore(name string, r *restore.Report) {
	if r != nil {
		a.facts[name] = r
		a.text(r.String())
	}
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
