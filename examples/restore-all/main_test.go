package main_test

import (
	"testing"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/restore/scratch"
)

// answer is what -json prints, as far as it is looked at here.
type answer struct {
	Chosen []struct{ Cluster, Kind, Database string }
	Report struct {
		Globals   struct{ Roles []string }
		Databases []struct {
			Database, Level string
			Rows            int
		}
	}
	Failed map[string]string
	Error  string
}

func TestLostServer(t *testing.T) {
	create(t, "SpecibikeDupont", 50)
	create(t, "SpecibikeMartin", 60)
	execute(t, "postgres", "CREATE ROLE openerp LOGIN; ALTER DATABASE \"SpecibikeDupont\" OWNER TO openerp")
	t.Cleanup(func() {
		execute(t, "postgres", "ALTER DATABASE \"SpecibikeDupont\" OWNER TO postgres; DROP ROLE openerp")
	})
	dir := t.TempDir()
	target, err := dirtarget.Open(dir, dirtarget.Options{})
	ok(t, err)
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{})
	ok(t, err)
	backUp := func(dsn, pattern string) (system string) {
		report, err := backup.Run(t.Context(), dsn, store, backup.Options{Select: backup.Selection{Include: []string{pattern}}})
		ok(t, err)
		return report.Cluster.SystemID
	}
	lost := backUp(server.DSN(), "Specibike*")

	fresh, err := scratch.Start(t.Context(), scratch.Options{})
	ok(t, err)
	defer fresh.Close()
	args := []string{"-dsn", fresh.DSN(), "-target", "file://" + dir}

	out, _, code := run(t, append(args, "-list")...)
	equal(t, 0, code)
	contains(t, out, lost, `database "SpecibikeDupont"`, "globals")

	var first, second, third, fourth answer
	equal(t, 0, runJSON(t, &first, args...))
	equal(t, 2, len(first.Report.Databases))
	equal(t, "openerp", first.Report.Globals.Roles[0])
	equal(t, "L4", first.Report.Databases[0].Level)
	equal(t, 50, ask[int](t, fresh.DSN(), "SpecibikeDupont", "SELECT count(*)::int FROM invoice"))
	equal(t, 60, ask[int](t, fresh.DSN(), "SpecibikeMartin", "SELECT count(*)::int FROM invoice"))
	const owner = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'SpecibikeDupont'"
	equal(t, "openerp", ask[string](t, fresh.DSN(), "postgres", owner))

	equal(t, 1, runJSON(t, &second, args...)) // what exists is left alone
	equal(t, 2, len(second.Failed))
	contains(t, second.Failed["SpecibikeMartin"], "exists")
	out, _, code = run(t, append(args, "-replace", "-parallel", "1")...)
	equal(t, 0, code)
	contains(t, out, `restored "SpecibikeDupont"`, "2 of 2 databases restored")

	// With the snapshots of two servers on the target, one has to be named.
	other := backUp(fresh.DSN(), "SpecibikeDupont")
	equal(t, 1, runJSON(t, &third, args...))
	contains(t, third.Error, "2 servers", "-cluster")
	equal(t, 0, runJSON(t, &fourth, append(args, "-cluster", other, "-replace")...))
	equal(t, 1, len(fourth.Report.Databases))
}

func TestUse(t *testing.T) {
	_, help, code := run(t, "-h")
	equal(t, 0, code)
	contains(t, help, "restore-all -dsn", "Exit status: 0", "-parallel", "-cluster", "-identity")
	for _, args := range [][]string{{}, {"-dsn", "x"}, {"-dsn", "x", "-target", "y", "surplus"}, {"-parallel", "many"}} {
		_, _, code := run(t, args...)
		equal(t, 2, code)
	}
	_, problem, code := run(t, "-dsn", server.DSN(), "-target", "file://"+t.TempDir())
	equal(t, 1, code)
	contains(t, problem, "no snapshot")
}
