package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answer is what -json prints, as far as it is looked at here.
type answer struct {
	Report struct {
		Globals   struct{ Status string }
		Databases []struct {
			Database, Status, Error string
			Labels                  map[string]string
			Rows                    int
		}
	}
	Retention struct{ Lines []struct{ Keep bool } }
	Deleted   []struct{ ID string }
	Error     string
}

func TestNights(t *testing.T) {
	create(t, "SpecibikeDupont", 3)
	create(t, "SpecibikeStmg1", 5)
	create(t, "SpecibikeStmg1Essai", 5)
	create(t, "Comptabilite", 7)
	dir := t.TempDir()
	metrics := filepath.Join(dir, "runbook.prom")
	target := filepath.Join(dir, "backup")
	args := []string{
		"-dsn", server.DSN(), "-target", "file://" + target + "?create=true", "-match", "SpecibikeD*", "-match", "SpecibikeS*",
		"-exclude", "*Essai", "-metrics", metrics, "-workers", "2", "-limit", "100000000", "-globals-passwords",
	}

	out, _, code := run(t, append(args, "-dry-run")...)
	equal(t, 0, code)
	contains(t, out, `planned    "SpecibikeDupont"`, "2 planned")
	equal(t, 0, len(files(t, dir, "")))

	var night answer
	equal(t, 0, runJSON(t, &night, args...))
	equal(t, 2, len(night.Report.Databases))
	equal(t, "backed up", night.Report.Globals.Status)
	equal(t, 3, night.Report.Databases[0].Rows)
	equal(t, 0, len(night.Retention.Lines))
	equal(t, 2, len(files(t, target, ".dump.zst")))
	equal(t, 1, len(files(t, target, ".sql.zst")))
	text, err := os.ReadFile(metrics)
	ok(t, err)
	contains(t, string(text), `runbook_backup_success{database="SpecibikeDupont"} 1`)

	out, _, code = run(t, append(args, "-keep-last", "1", "-dry-run")...)
	equal(t, 0, code)
	contains(t, out, "3 snapshots: keep 3, delete 0")
	out, _, code = run(t, append(args, "-keep-last", "1")...)
	equal(t, 0, code)
	contains(t, out, `backed up  "SpecibikeStmg1": 1 tables, 5 rows`, "no rule keeps it", "6 snapshots: keep 3, delete 3")
	equal(t, 2, len(files(t, target, ".dump.zst")))
}

func TestOneFails(t *testing.T) {
	create(t, "SpecibikeDupont", 3)
	create(t, "SpecibikeMartin", 3)
	execute(t, "postgres", "CREATE ROLE keeper LOGIN PASSWORD 'geheim'")
	t.Cleanup(func() { execute(t, "postgres", "DROP ROLE keeper") })
	execute(t, "SpecibikeDupont", "GRANT SELECT ON invoice TO keeper")
	t.Cleanup(func() { execute(t, "SpecibikeDupont", "DROP OWNED BY keeper") })
	pgpass := filepath.Join(t.TempDir(), "pgpass")
	ok(t, os.WriteFile(pgpass, []byte("*:*:*:keeper:geheim\n"), 0o600))
	host, _, _ := strings.Cut(strings.TrimPrefix(server.DSN()[strings.Index(server.DSN(), "host="):], "host="), " ")
	target := t.TempDir()
	var night answer
	code := runJSON(t, &night, "-dsn", "host="+host+" user=keeper passfile="+pgpass, "-target", "file://"+target,
		"-regexp", "Specibike(?P<pupil>[A-Z][a-z]+)", "-keep-daily", "7")
	equal(t, 1, code)
	equal(t, "backed up", night.Report.Databases[0].Status)
	equal(t, "Dupont", night.Report.Databases[0].Labels["pupil"])
	equal(t, "failed", night.Report.Databases[1].Status)
	contains(t, night.Report.Databases[1].Error, "permission denied")
	contains(t, night.Error, `database "SpecibikeMartin"`)
	equal(t, 1, len(files(t, target, ".dump.zst")))
	equal(t, true, len(night.Retention.Lines) > 0)
}

func TestNothingStoredDeletesNothing(t *testing.T) {
	create(t, "SpecibikeDupont", 3)
	target := t.TempDir()
	args := []string{"-dsn", server.DSN(), "-target", "file://" + target}
	for range 2 {
		_, _, code := run(t, append(args, "-match", "Specibike*")...)
		equal(t, 0, code)
	}
	var night answer
	equal(t, 1, runJSON(t, &night, append(args, "-match", "Nobody*", "-keep-last", "1")...))
	contains(t, night.Error, `pattern "Nobody*" matches no database`)
	equal(t, 2, len(files(t, target, ".dump.zst")))
}

func TestEncrypted(t *testing.T) {
	create(t, "SpecibikeDupont", 3)
	target := t.TempDir()
	_, _, code := run(t, "-dsn", server.DSN(), "-target", "file://"+target, "-match", "SpecibikeDupont",
		"-recipient", "age12j78wusfkvtrmnswryqnmnh3jwvc4qsrxh0fytxz5wxdsnu9545sj3w5k9")
	equal(t, 0, code)
	for _, part := range []string{".dump.zst.age", ".sql.zst.age"} {
		found := files(t, target, part)
		equal(t, 1, len(found))
		text, err := os.ReadFile(found[0])
		ok(t, err)
		equal(t, "age-encryption.org/v1", string(text[:21]))
	}
}

func TestPlugin(t *testing.T) {
	create(t, "SpecibikeDupont", 3)
	dir := t.TempDir()
	script, err := os.ReadFile("../target-plugin/dir-target.sh")
	ok(t, err)
	plugin := filepath.Join(dir, "dir-target")
	ok(t, os.WriteFile(plugin, script, 0o755))
	_, _, code := run(t, "-dsn", server.DSN(), "-target", "exec://"+plugin+"?arg="+dir, "-match", "SpecibikeDupont")
	equal(t, 0, code)
	equal(t, 1, len(files(t, filepath.Join(dir, "objects"), ".dump.zst")))
}

func TestSFTP(t *testing.T) {
	create(t, "SpecibikeDupont", 3)
	s := startSFTP(t)
	target := "sftp://backup@" + s.addr + s.root + "?known_hosts=" + s.knownHosts + "&key=" + s.key
	out, _, code := run(t, "-dsn", server.DSN(), "-target", target, "-match", "SpecibikeDupont")
	equal(t, 0, code)
	contains(t, out, "1 backed up, 0 failed")
	equal(t, 1, len(files(t, s.root, ".dump.zst")))
}

func TestUse(t *testing.T) {
	_, help, code := run(t, "-h")
	equal(t, 0, code)
	contains(t, help, "-match 'Specibike*'", "Exit status: 0", "sftp://USER@HOST", "-keep-daily", ".pgpass", "-globals-passwords")
	for _, args := range [][]string{
		{},
		{"-dsn", "host=x user=y"},
		{"-dsn", "host=x user=y", "-target", "file:///x", "surplus"},
		{"-dsn", "host=x user=y", "-target", "file:///x", "-regexp", "("},
		{"-nonsense"},
	} {
		_, help, code := run(t, args...)
		equal(t, 2, code)
		contains(t, help, "-")
	}
	_, problem, code := run(t, "-dsn", "host=x user=y", "-target", "ftp://example.org/")
	equal(t, 1, code)
	contains(t, problem, "known: exec, file, rsync, sftp")
}
