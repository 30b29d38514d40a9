package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/restore"
	"github.com/runbook-go/runbook/restore/scratch"
)

var (
	program string // built from this folder
	server  *scratch.Server
)

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "sauvegarde-")
	if err == nil {
		program = filepath.Join(dir, "sauvegarde.exe")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, ".")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err == nil {
		server, err = scratch.Start(context.Background(), scratch.Options{})
	}
	code := 1
	if err == nil {
		code = m.Run()
		err = server.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// Document 1 of annex 1, its date and addresses aside.
const (
	failedTransfer = `Nous sommes le : DATE
La sauvegarde commence
Voici les databases actuellement connues sur ce serveur
specibike
Le dump de la base : specibike est fini
Pas d'erreur sur les dump
rsync -a --chmod=ugo=rwX sauvegardesLocales 127.0.0.1::Backup
Erreur dans le transfert
Consultez le fichier erreur.txt
`
	success = `Nous sommes le : DATE
La sauvegarde commence
Voici les databases actuellement connues sur ce serveur
Specibike2404
Specibike
Le dump de la base : Specibike2404 est fini
Le dump de la base : Specibike est fini
Pas d'erreur sur les dump
rsync -a --chmod=ugo=rwX sauvegardesLocales 127.0.0.1::Backup
Le transfert est terminé
Le fichier erreur.txt est detruit
Les sauvegardes locales sont detruites
`
	failedDump = `Nous sommes le : DATE
La sauvegarde commence
Voici les databases actuellement connues sur ce serveur
Specibike2404
Specibike
Le dump de la base : Specibike2404 est fini
Erreur dans le dump de la base : Specibike
Erreur sur les dump
Consultez le fichier erreur.txt
`
	noServer = `Nous sommes le : DATE
La sauvegarde commence
Erreur sur les dump
Consultez le fichier erreur.txt
`
)

func TestTransferFails(t *testing.T) {
	dsn := school(t, "specibike")
	t.Run("rsync is missing", func(t *testing.T) {
		dir := t.TempDir()
		_, code := run(t, dir, []string{"PATH=" + pgOnly(t)}, "-dsn", dsn, "log.txt", "erreur.txt", "127.0.0.1")
		equal(t, 1, code)
		equal(t, failedTransfer, journal(t, dir))
		contains(t, read(t, dir, "erreur.txt"), "rsync")
		equal(t, 1, dumps(t, filepath.Join(dir, "sauvegardesLocales")))
	})
	t.Run("nobody listens, and then somebody does", func(t *testing.T) {
		dir := t.TempDir()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		ok(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		ok(t, listener.Close())
		_, code := run(t, dir, os.Environ(), "-dsn", dsn, "-port", fmt.Sprint(port), "log.txt", "erreur.txt", "127.0.0.1")
		equal(t, 1, code)
		equal(t, failedTransfer, strings.Replace(journal(t, dir), fmt.Sprintf("--port=%d ", port), "", 1))
		contains(t, read(t, dir, "erreur.txt"), "refused")

		d := startDaemon(t) // what could not be sent goes with the next evening's
		_, code = run(t, dir, os.Environ(), "-dsn", dsn, "-port", fmt.Sprint(d.port), "log.txt", "erreur.txt", "127.0.0.1")
		equal(t, 0, code)
		equal(t, 2, dumps(t, filepath.Join(d.root, "sauvegardesLocales")))
	})
}

func TestSuccess(t *testing.T) {
	dsn := school(t, "Specibike", "Specibike2404", "Comptabilite", "ArchiveSpecibike")
	d, dir := startDaemon(t), t.TempDir()
	out, code := run(t, dir, os.Environ(), "-json", "-dsn", dsn, "-port", fmt.Sprint(d.port), "log.txt", "erreur.txt", "127.0.0.1")
	equal(t, 0, code)
	equal(t, success, strings.Replace(journal(t, dir), fmt.Sprintf("--port=%d ", d.port), "", 1))
	for _, gone := range []string{"erreur.txt", "sauvegardesLocales"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there (%v)", gone, err)
		}
	}
	var report struct {
		Databases []struct{ Database, Status string }
	}
	ok(t, json.Unmarshal([]byte(out), &report))
	equal(t, 2, len(report.Databases))

	// On the backup server everybody can read the dumps, and they are a store from which a database comes back.
	backup := filepath.Join(d.root, "sauvegardesLocales")
	equal(t, 2, dumps(t, backup))
	ok(t, filepath.WalkDir(backup, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%s has the permissions %s", name, info.Mode())
		}
		if strings.Contains(name, "lease") && !entry.IsDir() {
			t.Errorf("%s was sent", name)
		}
		return err
	}))
	target, err := dirtarget.Open(backup, dirtarget.Options{})
	ok(t, err)
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{})
	ok(t, err)
	found, err := restore.Latest(t.Context(), store, catalog.Query{Database: "Specibike2404"})
	ok(t, err)
	o := restore.Options{Replace: true}
	plan, err := restore.NewPlan(t.Context(), server.DSN(), store, found[0], o)
	ok(t, err)
	execute(t, "Specibike2404", "DELETE FROM eleve")
	_, err = restore.Run(t.Context(), server.DSN(), store, plan, o)
	ok(t, err)
	conn := connect(t, "Specibike2404")
	var n int
	ok(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM eleve").Scan(&n))
	equal(t, 3, n)
	ok(t, conn.Close(t.Context()))
}

func TestDumpFails(t *testing.T) {
	dsn := school(t, "Specibike2404", "Specibike")
	execute(t, "Specibike", "CREATE TABLE secret (n int)") // which openpg may not read
	d, dir := startDaemon(t), t.TempDir()
	_, code := run(t, dir, os.Environ(), "-dsn", dsn, "-port", fmt.Sprint(d.port), "log.txt", "erreur.txt", "127.0.0.1")
	equal(t, 1, code)
	equal(t, failedDump, journal(t, dir))
	contains(t, read(t, dir, "erreur.txt"), "permission denied")
	equal(t, 1, dumps(t, filepath.Join(dir, "sauvegardesLocales"))) // what could be saved stays here
	entries, err := os.ReadDir(d.root)
	ok(t, err)
	equal(t, 0, len(entries)) // and nothing was sent
}

// A database that is dropped meanwhile is no failure of the library's, but there are not as many dumps as databases.
func TestCountDiffers(t *testing.T) {
	dsn := school(t, "Specibike2404", "Specibike")
	d, dir, bin := startDaemon(t), t.TempDir(), pgOnly(t)
	ok(t, os.Remove(filepath.Join(bin, "pg_dump")))
	ok(t, os.WriteFile(filepath.Join(bin, "pg_dump"), fmt.Appendf(nil, `#!/bin/sh
case "$*" in *Specibike2404*)
	'%[1]s/psql' -q "%[2]s" -c 'DROP DATABASE "Specibike2404" WITH (FORCE)'
	exit 1 ;;
esac
exec '%[1]s/pg_dump' "$@"
`, server.BinDir(), server.DSN()), 0o755))
	path := "PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH")
	_, code := run(t, dir, []string{path}, "-dsn", dsn, "-port", fmt.Sprint(d.port), "log.txt", "erreur.txt", "127.0.0.1")
	equal(t, 1, code)
	contains(t, journal(t, dir), "Erreur dans le dump de la base : Specibike2404\n")
	contains(t, read(t, dir, "erreur.txt"), "1 dumps pour 2 bases")
	entries, err := os.ReadDir(d.root)
	ok(t, err)
	equal(t, 0, len(entries))
}

func TestNoServer(t *testing.T) {
	dir := t.TempDir()
	dsn := "user=openpg host=" + filepath.Join(dir, "nowhere")
	_, code := run(t, dir, os.Environ(), "-dsn", dsn, "log.txt", "erreur.txt", "127.0.0.1")
	equal(t, 1, code)
	equal(t, noServer, journal(t, dir))
	contains(t, read(t, dir, "erreur.txt"), "connect")
}

func TestUse(t *testing.T) {
	out, code := run(t, t.TempDir(), os.Environ(), "-h")
	equal(t, 0, code)
	for _, taught := range []string{"sauvegarde log.txt erreur.txt 172.31.0.3", "Code de sortie", "-dsn", "-port", "openpg"} {
		contains(t, out, taught)
	}
	dir := t.TempDir()
	_, code = run(t, dir, os.Environ(), "log.txt", "erreur.txt")
	equal(t, 2, code)
	entries, err := os.ReadDir(dir)
	ok(t, err)
	equal(t, 0, len(entries))
}

// school makes databases that belong to the role openpg, who is no superuser, and returns how openpg connects.
func school(t *testing.T, names ...string) (dsn string) {
	t.Helper()
	execute(t, "postgres", "CREATE ROLE openpg LOGIN PASSWORD 'mot de passe'")
	for _, name := range names {
		execute(t, "postgres", "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" OWNER openpg")
		execute(t, name, "SET ROLE openpg; CREATE SCHEMA openerp; CREATE TABLE openerp.t (n int); RESET ROLE;"+
			"CREATE TABLE eleve (nom text); ALTER TABLE eleve OWNER TO openpg; INSERT INTO eleve VALUES ('Éloïse'), ('Zoé'), ('Ugo')")
	}
	t.Cleanup(func() {
		for _, name := range names {
			execute(t, "postgres", "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
		}
		rows, err := connect(t, "postgres").Query(context.Background(), "SELECT datname FROM pg_database WHERE datname ~ '__old_'")
		ok(t, err)
		olds, err := pgx.CollectRows(rows, pgx.RowTo[string])
		ok(t, err)
		for _, name := range olds {
			execute(t, "postgres", "DROP DATABASE "+pgx.Identifier{name}.Sanitize())
		}
		execute(t, "postgres", "DROP ROLE openpg")
	})
	config, err := pgx.ParseConfig(server.DSN())
	ok(t, err)
	pgpass := filepath.Join(t.TempDir(), "pgpass")
	ok(t, os.WriteFile(pgpass, []byte("*:*:*:openpg:mot de passe\n"), 0o600))
	return fmt.Sprintf("host=%s port=%d user=openpg dbname=postgres passfile=%s", config.Host, config.Port, pgpass)
}

func connect(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(server.DSN())
	ok(t, err)
	config.Database = database
	conn, err := pgx.ConnectConfig(context.Background(), config)
	ok(t, err)
	return conn
}

func execute(t *testing.T, database, sql string) {
	t.Helper()
	conn := connect(t, database)
	defer conn.Close(context.Background())
	_, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
	ok(t, err)
}

// pgOnly returns a directory with PostgreSQL's programs and no rsync.
func pgOnly(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pg_dump", "pg_dumpall"} {
		ok(t, os.Symlink(filepath.Join(server.BinDir(), name), filepath.Join(dir, name)))
	}
	return dir
}

type daemon struct {
	root string // directory of the module Backup
	port int
}

// startDaemon serves each connection by a real "rsync --daemon" of its own, as under inetd, so that the kernel can choose the port.
func startDaemon(t *testing.T) *daemon {
	t.Helper()
	rsync, err := exec.LookPath("rsync")
	ok(t, err)
	dir := t.TempDir()
	d := &daemon{root: filepath.Join(dir, "Backup")}
	ok(t, os.Mkdir(d.root, 0o755))
	config := fmt.Sprintf("use chroot = no\nlog file = %s\n[Backup]\npath = %s\nread only = no\n", filepath.Join(dir, "log"), d.root)
	if os.Getuid() == 0 {
		config = "uid = 0\ngid = 0\n" + config
	}
	configName := filepath.Join(dir, "rsyncd.conf")
	ok(t, os.WriteFile(configName, []byte(config), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	d.port = listener.Addr().(*net.TCPAddr).Port
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			socket, err := conn.(*net.TCPConn).File()
			if err == nil {
				cmd := exec.CommandContext(t.Context(), rsync, "--daemon", "--config="+configName)
				cmd.Stdin, cmd.Stdout = socket, socket
				err = cmd.Start()
				running.Go(func() { _ = cmd.Wait() })
			}
			if err != nil {
				t.Error(err)
			}
			conn.Close()
			socket.Close()
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return d
}

// run runs the program in a directory and returns what it prints on standard output, or with -h on standard error.
func run(t *testing.T, dir string, env []string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stdout, stderr strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		ok(t, err)
	}
	t.Logf("%q: exit status %d\n%s", args, cmd.ProcessState.ExitCode(), stderr.String())
	if args[0] == "-h" {
		return stderr.String(), cmd.ProcessState.ExitCode()
	}
	return stdout.String(), cmd.ProcessState.ExitCode()
}

// journal returns the log with its date replaced, if the date has the form of the document.
func journal(t *testing.T, dir string) string {
	t.Helper()
	date := regexp.MustCompile(`^Nous sommes le : [A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d\d:\d\d:\d\d \d{4}\n`)
	return date.ReplaceAllString(read(t, dir, "log.txt"), "Nous sommes le : DATE\n")
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	ok(t, err)
	return string(text)
}

// dumps counts the dumps below a directory.
func dumps(t *testing.T, dir string) (n int) {
	t.Helper()
	ok(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".dump.zst") {
			n++
		}
		return err
	}))
	return n
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, want, got T) {
	t.Helper()
	if want != got {
		t.Fatalf("got\n%v\nand not\n%v", got, want)
	}
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("%q is not in\n%s", part, text)
	}
}
