package main_test

import (
	"testing"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/examples/internal/stage"
	"github.com/runbook-go/runbook/restore/scratch"
)

func TestMain(m *testing.M) { stage.Main(m, "restore-all") }

// answer is what -json prints, as far as it is looked at here.
type answer struct {
	Chosen []struct{ Cluster, Kind, Database string }
	Report struct {
		Globals   struct{ Roles []string }
		Databases []struct {
			Database, Level, Error string
			Rows                   int
		}
	}
	Error string
}

func TestLostServer(t *testing.T) {
	stage.Create(t, "SpecibikeDupont", 50)
	stage.Create(t, "SpecibikeMartin", 60)
	stage.Execute(t, stage.Server(t).DSN(), "postgres", "CREATE ROLE openerp LOGIN; ALTER DATABASE \"SpecibikeDupont\" OWNER TO openerp")
	t.Cleanup(func() {
		stage.Execute(t, stage.Server(t).DSN(), "postgres", "ALTER DATABASE \"SpecibikeDupont\" OWNER TO postgres; DROP ROLE openerp")
	})
	dir := t.TempDir()
	target, err := dirtarget.Open(dir, dirtarget.Options{})
	stage.OK(t, err)
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{})
	stage.OK(t, err)
	backUp := func(dsn, pattern string) (system string) {
		report, err := backup.Run(t.Context(), dsn, store, backup.Options{Select: backup.Selection{Include: []string{pattern}}})
		stage.OK(t, err)
		return report.Cluster.SystemID
	}
	lost := backUp(stage.Server(t).DSN(), "Specibike*")

	fresh, err := scratch.Start(t.Context(), scratch.Options{})
	stage.OK(t, err)
	defer fresh.Close()
	args := []string{"-dsn", fresh.DSN(), "-target", "file://" + dir}

	out, _, code := stage.Run(t, append(args, "-list")...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, lost, `database "SpecibikeDupont"`, "globals")

	var first, second, third, fourth answer
	stage.Equal(t, 0, stage.RunJSON(t, &first, args...))
	stage.Equal(t, 2, len(first.Report.Databases))
	stage.Equal(t, "openerp", first.Report.Globals.Roles[0])
	stage.Equal(t, "L4", first.Report.Databases[0].Level)
	stage.Equal(t, 50, stage.Ask[int](t, fresh.DSN(), "SpecibikeDupont", "SELECT count(*)::int FROM invoice"))
	stage.Equal(t, 60, stage.Ask[int](t, fresh.DSN(), "SpecibikeMartin", "SELECT count(*)::int FROM invoice"))
	const owner = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'SpecibikeDupont'"
	stage.Equal(t, "openerp", stage.Ask[string](t, fresh.DSN(), "postgres", owner))

	stage.Equal(t, 1, stage.RunJSON(t, &second, args...)) // what exists is left alone
	for _, d := range second.Report.Databases {
		stage.Contains(t, d.Error, "exists")
	}
	stage.Execute(t, fresh.DSN(), "postgres", `DROP DATABASE "SpecibikeMartin"`)
	stage.Execute(t, fresh.DSN(), "SpecibikeDupont", "DELETE FROM invoice WHERE id > 1")
	out, _, code = stage.Run(t, append(args, "-keep-existing")...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, `"SpecibikeDupont": exists and was left alone`, "1 databases restored, 1 left alone, 0 failed")
	stage.Equal(t, 60, stage.Ask[int](t, fresh.DSN(), "SpecibikeMartin", "SELECT count(*)::int FROM invoice"))
	stage.Equal(t, 1, stage.Ask[int](t, fresh.DSN(), "SpecibikeDupont", "SELECT count(*)::int FROM invoice"))
	out, _, code = stage.Run(t, append(args, "-replace", "-parallel", "1")...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, `"SpecibikeDupont": swapped in`, "2 databases restored, 0 left alone, 0 failed")
	stage.Equal(t, 50, stage.Ask[int](t, fresh.DSN(), "SpecibikeDupont", "SELECT count(*)::int FROM invoice"))

	// With the snapshots of two servers on the target, one has to be named.
	other := backUp(fresh.DSN(), "SpecibikeDupont")
	stage.Equal(t, 1, stage.RunJSON(t, &third, args...))
	stage.Contains(t, third.Error, "2 servers", "-cluster")
	stage.Equal(t, 0, stage.RunJSON(t, &fourth, append(args, "-cluster", other, "-replace")...))
	stage.Equal(t, 1, len(fourth.Report.Databases))
}

func TestUse(t *testing.T) {
	_, help, code := stage.Run(t, "-h")
	stage.Equal(t, 0, code)
	stage.Contains(t, help, "restore-all -dsn", "Exit status: 0", "-parallel", "-cluster", "-identity", "-keep-existing")
	for _, args := range [][]string{
		{},
		{"-dsn", "x"},
		{"-dsn", "x", "-target", "y", "surplus"},
		{"-parallel", "many"},
		{"-dsn", "x", "-target", "y", "-replace", "-keep-existing"},
	} {
		_, _, code := stage.Run(t, args...)
		stage.Equal(t, 2, code)
	}
	_, problem, code := stage.Run(t, "-dsn", stage.Server(t).DSN(), "-target", "file://"+t.TempDir())
	stage.Equal(t, 1, code)
	stage.Contains(t, problem, "no snapshot")
}
