package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/examples/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m, "restore-one") }

const (
	recipient = "age12j78wusfkvtrmnswryqnmnh3jwvc4qsrxh0fytxz5wxdsnu9545sj3w5k9"
	identity  = "AGE-SECRET-KEY-1ESREU324YXQDK8YKJVMQK60ANJJF9DUNJZY80DS5V0C06L3XPZ4QGDWSTS"
)

const name = "SpecibikeDupont"

func backUp(t *testing.T, o filestore.Options) (target string) {
	t.Helper()
	dir := t.TempDir()
	backUpTo(t, dir, o)
	return "file://" + dir
}

func backUpTo(t *testing.T, dir string, o filestore.Options) (snapshot string) {
	t.Helper()
	d, err := dirtarget.Open(dir, dirtarget.Options{})
	stage.OK(t, err)
	defer d.Close()
	store, err := filestore.New(d, o)
	stage.OK(t, err)
	report, err := backup.Run(t.Context(), stage.Server(t).DSN(), store, backup.Options{Select: backup.Selection{Names: []string{name}}})
	stage.OK(t, err)
	return report.Results[0].Snapshot
}

func rows(t *testing.T, database string) int {
	t.Helper()
	return stage.Ask[int](t, stage.Server(t).DSN(), database, "SELECT count(*) FROM invoice")
}

// site makes programs that note in a file that the site was taken off or put on.
func site(t *testing.T) (off, on, log string) {
	t.Helper()
	dir := t.TempDir()
	off, on, log = filepath.Join(dir, "off"), filepath.Join(dir, "on"), filepath.Join(dir, "log")
	for _, script := range []string{off, on} {
		stage.OK(t, os.WriteFile(script, []byte("#!/bin/sh\necho \"$(basename $0) $*\" >>"+log+"\n"), 0o755))
	}
	return off, on, log
}

func TestMaintenance(t *testing.T) {
	stage.Create(t, name, 100)
	stage.DropOlds(t)
	target := backUp(t, filestore.Options{})
	stage.Execute(t, stage.Server(t).DSN(), name, "DELETE FROM invoice WHERE id > 10")
	off, on, log := site(t)
	args := []string{"-dsn", stage.Server(t).DSN(), "-target", target, "-before", off + " erp --now", "-after", on + " erp"}

	t.Run("without -replace the plan has a problem and the site stays on", func(t *testing.T) {
		out, problem, code := stage.Run(t, append(args, name)...)
		stage.Equal(t, 1, code)
		stage.Contains(t, out, "PROBLEM")
		stage.Contains(t, problem, "exists")
		stage.Equal(t, 0, len(stage.Files(t, filepath.Dir(log), "log")))
		stage.Equal(t, 10, rows(t, name))
	})
	t.Run("a plan only", func(t *testing.T) {
		out, _, code := stage.Run(t, append(args, "-replace", "-plan", name)...)
		stage.Equal(t, 0, code)
		stage.Contains(t, out, "restore database", "100 rows", "kept aside")
		stage.Equal(t, 0, len(stage.Files(t, filepath.Dir(log), "log")))
		stage.Equal(t, 10, rows(t, name))
	})
	t.Run("the restore", func(t *testing.T) {
		out, _, code := stage.Run(t, append(args, "-replace", name)...)
		stage.Equal(t, 0, code)
		stage.Contains(t, out, "100 rows compared", "proven at L4", `"SpecibikeDupont": swapped in`, "is kept as")
		stage.Equal(t, 100, rows(t, name))
		text, err := os.ReadFile(log)
		stage.OK(t, err)
		stage.Equal(t, "off erp --now\non erp\n", string(text))
	})
	t.Run("the undo", func(t *testing.T) {
		out, _, code := stage.Run(t, "-dsn", stage.Server(t).DSN(), "-undo", "-purge", "-short", "-before", off, "-after", on, name)
		stage.Equal(t, 0, code)
		stage.Contains(t, out, `undone: "SpecibikeDupont"`, "is kept as")
		stage.Equal(t, 10, rows(t, name))
		text, err := os.ReadFile(log)
		stage.OK(t, err)
		stage.Equal(t, "off erp --now\non erp\noff \non \n", string(text))
		stage.Equal(t, 1, stage.Ask[int](t, stage.Server(t).DSN(), "postgres", `SELECT count(*)::int FROM pg_database WHERE datname LIKE '%\_\_old\_%'`)) // not due yet
	})
	t.Run("a site that cannot be taken off", func(t *testing.T) {
		_, problem, code := stage.Run(t, "-dsn", stage.Server(t).DSN(), "-target", target, "-replace", "-before", "false", "-after", on, name)
		stage.Equal(t, 1, code)
		stage.Contains(t, problem, "false: exit status 1")
		stage.Equal(t, 10, rows(t, name))
		text, err := os.ReadFile(log)
		stage.OK(t, err)
		stage.Equal(t, true, strings.HasSuffix(string(text), "on \non \n"))
	})
}

func TestOlderSnapshotUnderAnotherName(t *testing.T) {
	stage.Create(t, name, 4)
	dir := t.TempDir()
	first := backUpTo(t, dir, filestore.Options{})
	stage.Execute(t, stage.Server(t).DSN(), name, "DELETE FROM invoice")
	second := backUpTo(t, dir, filestore.Options{})
	args := []string{"-dsn", stage.Server(t).DSN(), "-target", "file://" + dir}
	out, _, code := stage.Run(t, append(args, "-list", name)...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, first, second, "L2")

	t.Cleanup(func() {
		stage.Execute(t, stage.Server(t).DSN(), "postgres", `DROP DATABASE IF EXISTS "SpecibikeDupont hier"`)
	})
	var done struct {
		Report struct {
			Database, Level string
			Rows            int
		}
	}
	stage.Equal(t, 0, stage.RunJSON(t, &done, append(args, "-snapshot", first, "-as", "SpecibikeDupont hier", name)...))
	stage.Equal(t, 4, done.Report.Rows)
	stage.Equal(t, "L4", done.Report.Level)
	stage.Equal(t, 4, rows(t, "SpecibikeDupont hier"))
	stage.Equal(t, 0, rows(t, name))
}

func TestEncrypted(t *testing.T) {
	stage.Create(t, name, 4)
	stage.DropOlds(t)
	target := backUp(t, filestore.Options{Recipients: []string{recipient}})
	stage.Execute(t, stage.Server(t).DSN(), name, "DROP TABLE invoice")
	key := filepath.Join(t.TempDir(), "key")
	stage.OK(t, os.WriteFile(key, []byte("# a comment\n"+identity+"\n"), 0o600))
	_, _, code := stage.Run(t, "-dsn", stage.Server(t).DSN(), "-target", target, "-replace", name)
	stage.Equal(t, 1, code)
	_, _, code = stage.Run(t, "-dsn", stage.Server(t).DSN(), "-target", target, "-replace", "-identity", key, name)
	stage.Equal(t, 0, code)
	stage.Equal(t, 4, rows(t, name))
}

func TestUse(t *testing.T) {
	_, help, code := stage.Run(t, "-h")
	stage.Equal(t, 0, code)
	stage.Contains(t, help, `-before "systemctl stop openerp"`, "Exit status: 0", "-undo", "-identity", ".pgpass")
	for _, args := range [][]string{
		{},
		{"-dsn", "x"},
		{"-dsn", "x", "-target", "y"},
		{"-dsn", "x", "-target", "y", "a", "b"},
		{"-dsn", "x", "a"},
		{"-nonsense"},
	} {
		_, _, code := stage.Run(t, args...)
		stage.Equal(t, 2, code)
	}
	_, problem, code := stage.Run(t, "-dsn", stage.Server(t).DSN(), "-target", "file://"+t.TempDir(), "Nobody")
	stage.Equal(t, 1, code)
	stage.Contains(t, problem, `"Nobody"`, "does not exist")
}
