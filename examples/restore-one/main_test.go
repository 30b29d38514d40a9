package main_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
)

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
	ok(t, err)
	defer d.Close()
	store, err := filestore.New(d, o)
	ok(t, err)
	report, err := backup.Run(t.Context(), server.DSN(), store, backup.Options{Select: backup.Selection{Names: []string{name}}})
	ok(t, err)
	return report.Results[0].Snapshot
}

func rows(t *testing.T, database string) int {
	t.Helper()
	return ask[int](t, server.DSN(), database, "SELECT count(*) FROM invoice")
}

// dropOlds drops what replacements of the test left.
func dropOlds(t *testing.T) {
	t.Cleanup(func() {
		conn := connect(t, server.DSN(), "postgres")
		defer conn.Close(context.Background())
		var olds []string
		const sql = `SELECT coalesce(array_agg(datname), '{}') FROM pg_database WHERE datname LIKE '%\_\_old\_%'`
		ok(t, conn.QueryRow(context.Background(), sql).Scan(&olds))
		for _, old := range olds {
			execute(t, "postgres", `DROP DATABASE "`+old+`"`)
		}
	})
}

// site makes programs that note in a file that the site was taken off or put on.
func site(t *testing.T) (off, on, log string) {
	t.Helper()
	dir := t.TempDir()
	off, on, log = filepath.Join(dir, "off"), filepath.Join(dir, "on"), filepath.Join(dir, "log")
	for _, script := range []string{off, on} {
		ok(t, os.WriteFile(script, []byte("#!/bin/sh\necho \"$(basename $0) $*\" >>"+log+"\n"), 0o755))
	}
	return off, on, log
}

func TestMaintenance(t *testing.T) {
	create(t, name, 100)
	dropOlds(t)
	target := backUp(t, filestore.Options{})
	execute(t, name, "DELETE FROM invoice WHERE id > 10")
	off, on, log := site(t)
	args := []string{"-dsn", server.DSN(), "-target", target, "-before", off + " erp --now", "-after", on + " erp"}

	t.Run("without -replace the plan has a problem and the site stays on", func(t *testing.T) {
		out, problem, code := run(t, append(args, name)...)
		equal(t, 1, code)
		contains(t, out, "PROBLEM")
		contains(t, problem, "exists")
		equal(t, 0, len(files(t, filepath.Dir(log), "log")))
		equal(t, 10, rows(t, name))
	})
	t.Run("a plan only", func(t *testing.T) {
		out, _, code := run(t, append(args, "-replace", "-plan", name)...)
		equal(t, 0, code)
		contains(t, out, "restore database", "100 rows", "kept aside")
		equal(t, 0, len(files(t, filepath.Dir(log), "log")))
		equal(t, 10, rows(t, name))
	})
	t.Run("the restore", func(t *testing.T) {
		out, _, code := run(t, append(args, "-replace", name)...)
		equal(t, 0, code)
		contains(t, out, "done: \""+name+"\"", "proven at L4, 100 rows compared", "is kept as")
		equal(t, 100, rows(t, name))
		text, err := os.ReadFile(log)
		ok(t, err)
		equal(t, "off erp --now\non erp\n", string(text))
	})
	t.Run("the undo", func(t *testing.T) {
		out, _, code := run(t, "-dsn", server.DSN(), "-undo", "-purge", "-short", "-before", off, "-after", on, name)
		equal(t, 0, code)
		contains(t, out, "undone")
		equal(t, 10, rows(t, name))
		text, err := os.ReadFile(log)
		ok(t, err)
		equal(t, "off erp --now\non erp\noff \non \n", string(text))
		equal(t, 1, ask[int](t, server.DSN(), "postgres", `SELECT count(*)::int FROM pg_database WHERE datname LIKE '%\_\_old\_%'`)) // not due yet
	})
	t.Run("a site that cannot be taken off", func(t *testing.T) {
		_, problem, code := run(t, "-dsn", server.DSN(), "-target", target, "-replace", "-before", "false", "-after", on, name)
		equal(t, 1, code)
		contains(t, problem, "false: exit status 1")
		equal(t, 10, rows(t, name))
		text, err := os.ReadFile(log)
		ok(t, err)
		equal(t, true, strings.HasSuffix(string(text), "on \non \n"))
	})
}

func TestOlderSnapshotUnderAnotherName(t *testing.T) {
	create(t, name, 4)
	dir := t.TempDir()
	first := backUpTo(t, dir, filestore.Options{})
	execute(t, name, "DELETE FROM invoice")
	second := backUpTo(t, dir, filestore.Options{})
	args := []string{"-dsn", server.DSN(), "-target", "file://" + dir}
	out, _, code := run(t, append(args, "-list", name)...)
	equal(t, 0, code)
	contains(t, out, first, second, "L2")

	t.Cleanup(func() { execute(t, "postgres", `DROP DATABASE IF EXISTS "SpecibikeDupont hier"`) })
	var done struct {
		Report struct {
			Database, Level string
			Rows            int
		}
	}
	equal(t, 0, runJSON(t, &done, append(args, "-snapshot", first, "-as", "SpecibikeDupont hier", name)...))
	equal(t, 4, done.Report.Rows)
	equal(t, "L4", done.Report.Level)
	equal(t, 4, rows(t, "SpecibikeDupont hier"))
	equal(t, 0, rows(t, name))
}

func TestEncrypted(t *testing.T) {
	create(t, name, 4)
	dropOlds(t)
	target := backUp(t, filestore.Options{Recipients: []string{recipient}})
	execute(t, name, "DROP TABLE invoice")
	key := filepath.Join(t.TempDir(), "key")
	ok(t, os.WriteFile(key, []byte("# a comment\n"+identity+"\n"), 0o600))
	_, _, code := run(t, "-dsn", server.DSN(), "-target", target, "-replace", name)
	equal(t, 1, code)
	_, _, code = run(t, "-dsn", server.DSN(), "-target", target, "-replace", "-identity", key, name)
	equal(t, 0, code)
	equal(t, 4, rows(t, name))
}

func TestUse(t *testing.T) {
	_, help, code := run(t, "-h")
	equal(t, 0, code)
	contains(t, help, `-before "systemctl stop openerp"`, "Exit status: 0", "-undo", "-identity", ".pgpass")
	for _, args := range [][]string{
		{},
		{"-dsn", "x"},
		{"-dsn", "x", "-target", "y"},
		{"-dsn", "x", "-target", "y", "a", "b"},
		{"-dsn", "x", "a"},
		{"-nonsense"},
	} {
		_, _, code := run(t, args...)
		equal(t, 2, code)
	}
	_, problem, code := run(t, "-dsn", server.DSN(), "-target", "file://"+t.TempDir(), "Nobody")
	equal(t, 1, code)
	contains(t, problem, `"Nobody"`, "does not exist")
}
