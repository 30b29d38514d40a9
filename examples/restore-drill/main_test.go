package main_test

import (
	"os"
	"testing"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
)

// answer is what -json prints, as far as it is looked at here.
type answer struct {
	Report struct {
		Drilled []struct {
			Database string
			Evidence struct {
				Passed bool
				Level  string
			}
		}
		Left []string
	}
	Failed map[string]string
	Error  string
}

func TestDrill(t *testing.T) {
	create(t, "SpecibikeDupont", 50)
	create(t, "SpecibikeMartin", 60)
	dir := t.TempDir()
	target, err := dirtarget.Open(dir, dirtarget.Options{})
	ok(t, err)
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{})
	ok(t, err)
	_, err = backup.Run(t.Context(), server.DSN(), store, backup.Options{Select: backup.Selection{Include: []string{"Specibike*"}}})
	ok(t, err)
	args := []string{"-target", "file://" + dir}

	var none, first, again, damaged answer
	equal(t, 0, runJSON(t, &none, append(args, "-budget", "1ns")...))
	equal(t, 2, len(none.Report.Left))
	equal(t, 0, len(files(t, dir, ".evidence-")))

	equal(t, 0, runJSON(t, &first, args...))
	equal(t, 2, len(first.Report.Drilled))
	for _, d := range first.Report.Drilled {
		equal(t, true, d.Evidence.Passed)
		equal(t, "L4", d.Evidence.Level)
	}
	equal(t, 2, len(files(t, dir, ".evidence-")))
	equal(t, 2, ask[int](t, server.DSN(), "postgres", "SELECT count(*)::int FROM pg_database WHERE datname LIKE 'Specibike%'"))

	out, _, code := run(t, args...)
	equal(t, 0, code)
	contains(t, out, "0 of 0 snapshots")

	// One flipped bit.
	broken := files(t, dir, ".dump.zst")[0] // of SpecibikeDupont, as it comes first
	content, err := os.ReadFile(broken)
	ok(t, err)
	content[len(content)/2] ^= 0x20
	ok(t, os.WriteFile(broken, content, 0o600))
	equal(t, 1, runJSON(t, &damaged, append(args, "-again", "1ns", "-parallel", "1")...))
	equal(t, 1, len(damaged.Failed))
	equal(t, false, damaged.Report.Drilled[0].Evidence.Passed && damaged.Report.Drilled[1].Evidence.Passed)
	equal(t, 2, len(damaged.Report.Drilled))

	// On a server that is given, beside everything that is there.
	equal(t, 1, runJSON(t, &again, append(args, "-again", "1ns", "-database", "SpecibikeDupont", "-dsn", server.DSN())...))
	out, _, code = run(t, append(args, "-again", "1ns", "-database", "SpecibikeMartin", "-dsn", server.DSN())...)
	equal(t, 0, code)
	contains(t, out, `proven     "SpecibikeMartin"`, "1 of 1 snapshots proven restorable")
	equal(t, 2, ask[int](t, server.DSN(), "postgres", "SELECT count(*)::int FROM pg_database WHERE datname LIKE 'Specibike%'"))
}

func TestUse(t *testing.T) {
	_, help, code := run(t, "-h")
	equal(t, 0, code)
	contains(t, help, "-budget 2h -again 720h", "Exit status: 0", "evidence", "-identity")
	for _, args := range [][]string{{}, {"-target", "x", "surplus"}, {"-budget", "long"}} {
		_, _, code := run(t, args...)
		equal(t, 2, code)
	}
	_, problem, code := run(t, "-target", "file:///does/not/exist")
	equal(t, 1, code)
	contains(t, problem, "/does/not/exist")
}
