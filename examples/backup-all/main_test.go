package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runbook-go/runbook/examples/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m, "backup-all") }

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
	stage.Create(t, "SpecibikeDupont", 3)
	stage.Create(t, "SpecibikeStmg1", 5)
	stage.Create(t, "SpecibikeStmg1Essai", 5)
	stage.Create(t, "Comptabilite", 7)
	dir := t.TempDir()
	metrics := filepath.Join(dir, "runbook.prom")
	target := filepath.Join(dir, "backup")
	args := []string{
		"-dsn", stage.Server(t).DSN(), "-target", "file://" + target + "?create=true", "-match", "SpecibikeD*", "-match", "SpecibikeS*",
		"-exclude", "*Essai", "-metrics", metrics, "-workers", "2", "-limit", "100000000", "-globals-passwords",
	}

	out, _, code := stage.Run(t, append(args, "-dry-run")...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, `planned    "SpecibikeDupont"`, "2 planned")
	stage.Equal(t, 0, len(stage.Files(t, dir, "")))

	var night answer
	stage.Equal(t, 0, stage.RunJSON(t, &night, args...))
	stage.Equal(t, 2, len(night.Report.Databases))
	stage.Equal(t, "backed up", night.Report.Globals.Status)
	stage.Equal(t, 3, night.Report.Databases[0].Rows)
	stage.Equal(t, 0, len(night.Retention.Lines))
	stage.Equal(t, 2, len(stage.Files(t, target, ".dump.zst")))
	stage.Equal(t, 1, len(stage.Files(t, target, ".sql.zst")))
	text, err := os.ReadFile(metrics)
	stage.OK(t, err)
	stage.Contains(t, string(text), `runbook_backup_success{database="SpecibikeDupont"} 1`)

	out, _, code = stage.Run(t, append(args, "-keep-last", "1", "-dry-run")...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, "3 snapshots: keep 3, delete 0")
	out, _, code = stage.Run(t, append(args, "-keep-last", "1")...)
	stage.Equal(t, 0, code)
	stage.Contains(t, out, `backed up  "SpecibikeStmg1": 1 tables, 5 rows`, "no rule keeps it", "6 snapshots: keep 3, delete 3")
	stage.Equal(t, 2, len(stage.Files(t, target, ".dump.zst")))
}

func TestOneFails(t *testing.T) {
	stage.Create(t, "SpecibikeDupont", 3)
	stage.Create(t, "SpecibikeMartin", 3)
	stage.Execute(t, stage.Server(t).DSN(), "postgres", "CREATE ROLE keeper LOGIN PASSWORD 'geheim'")
	t.Cleanup(func() { stage.Execute(t, stage.Server(t).DSN(), "postgres", "DROP ROLE keeper") })
	stage.Execute(t, stage.Server(t).DSN(), "SpecibikeDupont", "GRANT SELECT ON invoice TO keeper")
	t.Cleanup(func() { stage.Execute(t, stage.Server(t).DSN(), "SpecibikeDupont", "DROP OWNED BY keeper") })
	pgpass := filepath.Join(t.TempDir(), "pgpass")
	stage.OK(t, os.WriteFile(pgpass, []byte("*:*:*:keeper:geheim\n"), 0o600))
	host, _, _ := strings.Cut(strings.TrimPrefix(stage.Server(t).DSN()[strings.Index(stage.Server(t).DSN(), "host="):], "host="), " ")
	target := t.TempDir()
	var night answer
	code := stage.RunJSON(t, &night, "-dsn", "host="+host+" user=keeper passfile="+pgpass, "-target", "file://"+target,
		"-regexp", "Specibike(?P<pupil>[A-Z][a-z]+)", "-keep-daily", "7")
	stage.Equal(t, 1, code)
	stage.Equal(t, "backed up", night.Report.Databases[0].Status)
	stage.Equal(t, "Dupont", night.Report.Databases[0].Labels["pupil"])
	stage.Equal(t, "failed", night.Report.Databases[1].Status)
	stage.Contains(t, night.Report.Databases[1].Error, "permission denied")
	stage.Contains(t, night.Error, `database "SpecibikeMartin"`)
	stage.Equal(t, 1, len(stage.Files(t, target, ".dump.zst")))
	stage.Equal(t, true, len(night.Retention.Lines) > 0)
}

func TestNothingStoredDeletesNothing(t *testing.T) {
	stage.Create(t, "SpecibikeDupont", 3)
	target := t.TempDir()
	args := []string{"-dsn", stage.Server(t).DSN(), "-target", "file://" + target}
	for range 2 {
		_, _, code := stage.Run(t, append(args, "-match", "Specibike*")...)
		stage.Equal(t, 0, code)
	}
	var night answer
	stage.Equal(t, 1, stage.RunJSON(t, &night, append(args, "-match", "Nobody*", "-keep-last", "1")...))
	stage.Contains(t, night.Error, `pattern "Nobody*" matches no database`)
	stage.Equal(t, 2, len(stage.Files(t, target, ".dump.zst")))
}

func TestEncrypted(t *testing.T) {
	stage.Create(t, "SpecibikeDupont", 3)
	target := t.TempDir()
	_, _, code := stage.Run(t, "-dsn", stage.Server(t).DSN(), "-target", "file://"+target, "-match", "SpecibikeDupont",
		"-recipient", "age12j78wusfkvtrmnswryqnmnh3jwvc4qsrxh0fytxz5wxdsnu9545sj3w5k9")
	stage.Equal(t, 0, code)
	for _, part := range []string{".dump.zst.age", ".sql.zst.age"} {
		found := stage.Files(t, target, part)
		stage.Equal(t, 1, len(found))
		text, err := os.ReadFile(found[0])
		stage.OK(t, err)
		stage.Equal(t, "age-encryption.org/v1", string(text[:21]))
	}
}

func TestPlugin(t *testing.T) {
	stage.Create(t, "SpecibikeDupont", 3)
	dir := t.TempDir()
	script, err := os.ReadFile("../target-plugin/dir-target.sh")
	stage.OK(t, err)
	plugin := filepath.Join(dir, "dir-target")
	stage.OK(t, os.WriteFile(plugin, script, 0o755))
	_, _, code := stage.Run(t, "-dsn", stage.Server(t).DSN(), "-target", "exec://"+plugin+"?arg="+dir, "-match", "SpecibikeDupont")
	stage.Equal(t, 0, code)
	stage.Equal(t, 1, len(stage.Files(t, filepath.Join(dir, "objects"), ".dump.zst")))
}

func TestSFTP(t *testing.T) {
	stage.Create(t, "SpecibikeDupont", 3)
	s := startSFTP(t)
	target := "sftp://backup@" + s.addr + s.root + "?known_hosts=" + s.knownHosts + "&key=" + s.key
	out, _, code := stage.Run(t, "-dsn", stage.Server(t).DSN(), "-target", target, "-match", "SpecibikeDupont")
	stage.Equal(t, 0, code)
	stage.Contains(t, out, "1 backed up, 0 failed")
	stage.Equal(t, 1, len(stage.Files(t, s.root, ".dump.zst")))
}

func TestUse(t *testing.T) {
	_, help, code := stage.Run(t, "-h")
	stage.Equal(t, 0, code)
	stage.Contains(t, help, "-match 'Specibike*'", "Exit status: 0", "sftp://USER@HOST", "-keep-daily", ".pgpass", "-globals-passwords")
	for _, args := range [][]string{
		{},
		{"-dsn", "host=x user=y"},
		{"-dsn", "host=x user=y", "-target", "file:///x", "surplus"},
		{"-dsn", "host=x user=y", "-target", "file:///x", "-regexp", "("},
		{"-nonsense"},
	} {
		_, help, code := stage.Run(t, args...)
		stage.Equal(t, 2, code)
		stage.Contains(t, help, "-")
	}
	_, problem, code := stage.Run(t, "-dsn", "host=x user=y", "-target", "ftp://example.org/")
	stage.Equal(t, 1, code)
	stage.Contains(t, problem, "known: exec, file, rsync, rsync+ssh, sftp")
}
