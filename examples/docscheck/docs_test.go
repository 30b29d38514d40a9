// Package docscheck_test runs the commands of the guides in docs, compiles their Go, and reads their units and rules.
package docscheck_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/examples/internal/stage"
	"github.com/runbook-go/runbook/restore/scratch"
)

func TestMain(m *testing.M) {
	stage.Main(m, "backup-all", "restore-one", "restore-all", "restore-drill")
}

// block is one fenced block of a page.
type block struct{ info, text string }

var fence = regexp.MustCompile("(?ms)^( *)```([^\n]*)\n(.*?)^ *```$")

func blocks(t *testing.T, page string) (list []block) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	stage.OK(t, err)
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		var plain strings.Builder
		for line := range strings.Lines(m[3]) {
			plain.WriteString(strings.TrimPrefix(line, m[1]))
		}
		list = append(list, block{m[2], plain.String()})
	}
	return list
}

// place is a machine for a guide: its paths and its server stand for those that the guide names.
type place struct {
	dir    string
	server *scratch.Server
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{dir: t.TempDir()}
	for _, dir := range []string{"backup", "textfile"} {
		stage.OK(t, os.Mkdir(filepath.Join(p.dir, dir), 0o755))
	}
	systemctl := []byte("#!/bin/sh\necho \"$@\" >>\"$(dirname \"$0\")/systemctl.log\"\n") // and does nothing
	stage.OK(t, os.WriteFile(filepath.Join(p.dir, "systemctl"), systemctl, 0o755))
	p.newServer(t)
	for _, name := range []string{"SpecibikeDupont", "SpecibikeStmg1"} {
		p.execute(t, "postgres", "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
		p.execute(t, name, "CREATE TABLE invoice (id int); INSERT INTO invoice SELECT generate_series(1, 20)")
	}
	return p
}

func (p *place) newServer(t *testing.T) {
	t.Helper()
	server, err := scratch.Start(t.Context(), scratch.Options{})
	stage.OK(t, err)
	t.Cleanup(func() { stage.OK(t, server.Close()) })
	p.server = server
}

func (p *place) execute(t *testing.T, database, sql string) {
	t.Helper()
	stage.Execute(t, p.server.DSN(), database, sql)
}

func (p *place) invoices(t *testing.T, database string) int {
	t.Helper()
	return stage.Ask[int](t, p.server.DSN(), database, "SELECT count(*) FROM invoice")
}

// here puts this machine's paths and server into a text.
func (p *place) here(text string) string {
	return strings.NewReplacer(
		"host=/var/run/postgresql user=postgres", p.server.DSN(),
		"/srv/backup", filepath.Join(p.dir, "backup"),
		"/var/lib/node_exporter/textfile", filepath.Join(p.dir, "textfile"),
		"/usr/local/bin", stage.Programs(),
	).Replace(text)
}

// sh runs a script, which must succeed, and returns what it prints.
func (p *place) sh(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-eu")
	cmd.Dir, cmd.Stdin = p.dir, strings.NewReader(p.here(script))
	cmd.Env = append(os.Environ(), "PATH="+strings.Join([]string{p.dir, stage.Programs(), p.server.BinDir(), os.Getenv("PATH")}, string(filepath.ListSeparator)))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%s%v", script, out, err)
	}
	return string(out)
}

// runAll runs the blocks of a page that are marked to be run, in order.
func (p *place) runAll(t *testing.T, page string) (out string) {
	t.Helper()
	for _, b := range blocks(t, page) {
		if !strings.HasPrefix(b.info, "sh run") {
			continue
		}
		if b.info == "sh run new-server" {
			p.newServer(t)
		}
		out += p.sh(t, b.text)
	}
	return out
}

const backUp = `backup-all -dsn "host=/var/run/postgresql user=postgres" -target file:///srv/backup -match 'Specibike*'`

func TestNightlyBackup(t *testing.T) {
	p := newPlace(t)
	out := p.runAll(t, "nightly-backup.md")
	stage.Contains(t, out, "2 planned", "2 backed up, 0 failed", "2 of 2 snapshots proven restorable", "  L4  ")
	metrics, err := os.ReadFile(filepath.Join(p.dir, "textfile", "runbook.prom"))
	stage.OK(t, err)
	units := make(map[string]string)
	for _, b := range blocks(t, "nightly-backup.md") {
		first, _, _ := strings.Cut(b.text, "\n")
		switch b.info {
		case "ini":
			units[filepath.Base(first)] = p.here(b.text)
		case "cron":
			lines := strings.Split(strings.TrimSpace(b.text), "\n")
			fields := strings.SplitN(lines[len(lines)-1], " ", 7)
			stage.Equal(t, "15 3 * * * postgres", strings.Join(fields[:6], " "))
			p.sh(t, fields[6])
		case "yaml":
			for _, name := range regexp.MustCompile(`runbook_\w+`).FindAllString(b.text, -1) {
				stage.Contains(t, string(metrics), "# TYPE "+name+" gauge")
			}
		}
	}
	checkUnits(t, units)
}

// checkUnits has systemd read the units, where it is installed.
func checkUnits(t *testing.T, units map[string]string) {
	t.Helper()
	stage.Contains(t, units["runbook-backup.service"], "Type=oneshot", "User=", "ExecStart=", "NoNewPrivileges=yes", "ProtectSystem=strict")
	stage.Contains(t, units["runbook-backup.timer"], "OnCalendar=", "Persistent=yes", "WantedBy=timers.target")
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for name, text := range units {
		stage.OK(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		args = append(args, filepath.Join(dir, name))
	}
	out, err := exec.Command(analyze, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "runbook-backup") {
			t.Errorf("systemd-analyze: %s", line)
		}
	}
	if err != nil {
		t.Logf("systemd-analyze: %v\n%s", err, out)
	}
}

func TestRestore(t *testing.T) {
	p := newPlace(t)
	p.sh(t, backUp)
	p.execute(t, "SpecibikeDupont", "DELETE FROM invoice WHERE id > 5")
	out := p.runAll(t, "restore.md")
	stage.Contains(t, out, "restore database", "20 rows compared", "undone")
	stage.Equal(t, 5, p.invoices(t, "SpecibikeDupont"))
	stage.Equal(t, 20, p.invoices(t, "SpecibikeDupont_yesterday"))
	log, err := os.ReadFile(filepath.Join(p.dir, "systemctl.log"))
	stage.OK(t, err)
	stage.Equal(t, strings.Repeat("stop openerp\nstart openerp\n", 2), string(log))
}

func TestLostServer(t *testing.T) {
	p := newPlace(t)
	p.sh(t, backUp)
	p.newServer(t)
	out := p.runAll(t, "lost-server.md")
	stage.Contains(t, out, "2 databases restored, 0 left alone, 0 failed", "0 databases restored, 2 left alone, 0 failed", "SpecibikeStmg1")
	stage.Equal(t, 20, p.invoices(t, "SpecibikeStmg1")) // on the server to which it was brought back without our programs
}

// known says where the packages are that snippets use without an import.
var known = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "log": "log", "time": "time", "testing": "testing",
	"runbook": "", "backup": "/backup", "catalog": "/backup/catalog", "filestore": "/backup/filestore", "dirtarget": "/backup/dirtarget",
	"exectarget": "/backup/exectarget", "sftptarget": "/backup/sftptarget", "rsynctarget": "/backup/rsynctarget",
	"targettest": "/backup/targettest", "restore": "/restore", "scratch": "/restore/scratch",
}

// around stands for what the pages leave to the reader.
const around = `package snippet

import (
	"context"
	"testing"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
)

var (
	ctx      context.Context
	dsn      string
	target   runbook.Target
	store    catalog.Store
	snapshot *catalog.Snapshot
	site     struct{ Off, On func(context.Context, string) error }
	mytarget struct{ New func(any) runbook.Target }
)

func startServer(testing.TB) any { return nil }
`

// TestGo compiles every piece of Go in the pages. What is no file becomes the body of a function.
func TestGo(t *testing.T) {
	dir := t.TempDir()
	here, err := os.Getwd()
	stage.OK(t, err)
	overlay := make(map[string]string)
	var packages []string
	add := func(pkg, name, text string) {
		file := filepath.Join(dir, pkg+"-"+name)
		stage.OK(t, os.WriteFile(file, []byte(text), 0o600))
		overlay[filepath.Join(here, "snippets", pkg, name)] = file
	}
	pages, err := filepath.Glob("../../docs/*.md")
	stage.OK(t, err)
	for _, page := range pages {
		page = filepath.Base(page)
		for i, b := range blocks(t, page) {
			if b.info != "go" {
				continue
			}
			pkg := fmt.Sprintf("%s-%d", strings.TrimSuffix(page, ".md"), i)
			packages = append(packages, "./snippets/"+pkg)
			add(pkg, "around.go", around)
			add(pkg, "snippet.go", goFile(b.text))
		}
	}
	if len(packages) < 3 {
		t.Fatalf("only %d pieces of Go were found", len(packages))
	}
	replace, err := json.Marshal(map[string]any{"Replace": overlay})
	stage.OK(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	stage.OK(t, os.WriteFile(overlayFile, replace, 0o600))
	args := append([]string{"build", "-gcflags=-e", "-overlay", overlayFile}, packages...)
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	if _, exit := err.(*exec.ExitError); !exit {
		stage.OK(t, err)
	}
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "declared and not used") { // a page may stop where it has shown enough
			t.Error(strings.TrimSpace(line))
		}
	}
}

func goFile(text string) string {
	if strings.HasPrefix(text, "package ") {
		return text
	}
	var imports []string
	for _, m := range regexp.MustCompile(`\b([a-z]+)\.[A-Z]`).FindAllStringSubmatch(text, -1) {
		path, isKnown := known[m[1]]
		if !isKnown {
			continue
		}
		if path == "" || path[0] == '/' {
			path = "github.com/runbook-go/runbook" + path
		}
		imports = append(imports, fmt.Sprintf("import %q\n", path))
	}
	slices.Sort(imports)
	head := "package snippet\n\n" + strings.Join(slices.Compact(imports), "") + "\n"
	if strings.HasPrefix(text, "func ") || strings.HasPrefix(text, "type ") {
		return head + text
	}
	return head + "func _() error {\n" + text + "\nreturn nil\n}\n"
}
