package main_test

import (
	"os"
	"testing"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/examples/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m, "restore-drill") }

// answer is what -json prints, as far as it is looked at here.
type answer struct {
	Report struct {
		Drilled []struct {
			Database, Error string
			Evidence        struct {
				Passed bool
				Level  string
			}
		}
		Left []string
	}
	Error string
}

func TestDrill(t *testing.T) {
	stage.Create(t, "SpecibikeDupont", 50)
	stage.Create(t, "SpecibikeMartin", 60)
	dir := t.TempDir()
	target, err := dirtarget.Open(dir, dirtarget.Options{})
	stage.OK(t, err)
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{})
	stage.OK(t, err)
	_, err = backup.Run(t.Context(), stage.Server(t).DSN(), store, backup.Options{Select: backup.Selection{Include: []string{"Specibike*"}}})
	stage.OK(t, err)
	args := []string{"-target", "file://" + dir}

	var none, first, again, damaged answer
	stage.Equal(t, 0, stage.RunJSON(t, &none, append(args, "-budget", "1ns")...))
	stage.Equal(t, 2, len(none.Report.Left))
	stage.Equal(t, 0, len(stage.Files(t, dir, ".evidence-")))

	stage.Equal(t, 0, stage.RunJSON(t, &first, args...))
	stage.Equal(t, 2, len(first.Report.Drilled))
	for _, d := range first.Report.Drilled {
		stage.Equal(t, true, d.Evidence.Passed)
		stage.Equal(t, "L4", d.Evidence.Level)
	}
	stage.Equal(t, 2, len(stage.Files(t, dir, ".evidence-")))
	stage.Equal(t, 2, stage.Ask[int](t, stage.Server(t).DSN(), "postgres", "SELECT count(*)::int FROM pg_database WHERE datname LIKE 'Specibike%'"))

	out, _, code := stage.Run(t, args...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, "0 of 0 snapshots")

	// One flipped bit.
	broken := stage.Files(t, dir, ".dump.zst")[0] // of SpecibikeDupont, as it comes first
	content, err := os.ReadFile(broken)
	stage.OK(t, err)
	content[len(content)/2] ^= 0x20
	stage.OK(t, os.WriteFile(broken, content, 0o600))
	stage.Equal(t, 1, stage.RunJSON(t, &damaged, append(args, "-again", "1ns", "-parallel", "1")...))
	stage.Equal(t, 2, len(damaged.Report.Drilled))
	for _, d := range damaged.Report.Drilled {
		stage.Equal(t, d.Database == "SpecibikeMartin", d.Evidence.Passed)
		stage.Equal(t, d.Database == "SpecibikeMartin", d.Error == "")
	}

	// On a server that is given, beside everything that is there.
	stage.Equal(t, 1, stage.RunJSON(t, &again, append(args, "-again", "1ns", "-database", "SpecibikeDupont", "-dsn", stage.Server(t).DSN())...))
	out, _, code = stage.Run(t, append(args, "-again", "1ns", "-database", "SpecibikeMartin", "-dsn", stage.Server(t).DSN())...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, `proven at L4 "SpecibikeMartin"`, "1 of 1 snapshots proven restorable")
	stage.Equal(t, 2, stage.Ask[int](t, stage.Server(t).DSN(), "postgres", "SELECT count(*)::int FROM pg_database WHERE datname LIKE 'Specibike%'"))
}

func TestUse(t *testing.T) {
	_, help, code := stage.Run(t, "-h")
	stage.Equal(t, 0, code)
	stage.Contains(t, help, "-budget 2h -again 720h", "Exit status: 0", "evidence", "-identity")
	for _, args := range [][]string{{}, {"-target", "x", "surplus"}, {"-budget", "long"}} {
		_, _, code := stage.Run(t, args...)
		stage.Equal(t, 2, code)
	}
	_, problem, code := stage.Run(t, "-target", "file:///does/not/exist")
	stage.Equal(t, 1, code)
	stage.Contains(t, problem, "/does/not/exist")
}
