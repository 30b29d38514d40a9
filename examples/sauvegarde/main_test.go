package main_test

import (
	"encoding/json"
	"errors"
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
	"github.com/runbook-go/runbook/examples/internal/stage"
	"github.com/runbook-go/runbook/restore"
)

func TestMain(m *testing.M) { stage.Main(m, "sauvegarde") }

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
		_, _, code := stage.RunIn(t, dir, []string{"PATH=" + pgOnly(t)}, "-dsn", dsn, "log.txt", "erreur.txt", "127.0.0.1")
		stage.Equal(t, 1, code)
		stage.Equal(t, failedTransfer, journal(t, dir))
		stage.Contains(t, read(t, dir, "erreur.txt"), "rsync")
		stage.Equal(t, 1, len(stage.Files(t, filepath.Join(dir, "sauvegardesLocales"), ".dump.zst")))
	})
	t.Run("nobody listens, and then somebody does", func(t *testing.T) {
		dir := t.TempDir()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		stage.OK(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		stage.OK(t, listener.Close())
		_, _, code := stage.RunIn(t, dir, os.Environ(), "-dsn", dsn, "-port", fmt.Sprint(port), "log.txt", "erreur.txt", "127.0.0.1")
		stage.Equal(t, 1, code)
		stage.Equal(t, failedTransfer, strings.Replace(journal(t, dir), fmt.Sprintf("--port=%d ", port), "", 1))
		stage.Contains(t, read(t, dir, "erreur.txt"), "refused")

		d := startDaemon(t) // what could not be sent goes with the next evening's
		_, _, code = stage.RunIn(t, dir, os.Environ(), "-dsn", dsn, "-port", fmt.Sprint(d.port), "log.txt", "erreur.txt", "127.0.0.1")
		stage.Equal(t, 0, code)
		stage.Equal(t, 2, len(stage.Files(t, filepath.Join(d.root, "sauvegardesLocales"), ".dump.zst")))
	})
}

func TestSuccess(t *testing.T) {
	dsn := school(t, "Specibike", "Specibike2404", "Comptabilite", "ArchiveSpecibike")
	d, dir := startDaemon(t), t.TempDir()
	out, _, code := stage.RunIn(t, dir, os.Environ(), "-json", "-dsn", dsn, "-port", fmt.Sprint(d.port), "log.txt", "erreur.txt", "127.0.0.1")
	stage.Equal(t, 0, code)
	stage.Equal(t, success, strings.Replace(journal(t, dir), fmt.Sprintf("--port=%d ", d.port), "", 1))
	for _, gone := range []string{"erreur.txt", "sauvegardesLocales"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there (%v)", gone, err)
		}
	}
	var report struct {
		Databases []struct{ Database, Status string }
	}
	stage.OK(t, json.Unmarshal([]byte(out), &report))
	stage.Equal(t, 2, len(report.Databases))

	// On the backup server everybody can read the dumps, and they are a store from which a database comes back.
	backup := filepath.Join(d.root, "sauvegardesLocales")
	stage.Equal(t, 2, len(stage.Files(t, backup, ".dump.zst")))
	stage.OK(t, filepath.WalkDir(backup, func(name string, entry fs.DirEntry, err error) error {
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
	stage.OK(t, err)
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{})
	stage.OK(t, err)
	found, err := restore.Latest(t.Context(), store, catalog.Query{Database: "Specibike2404"})
	stage.OK(t, err)
	o := restore.Options{Replace: true}
	plan, err := restore.NewPlan(t.Context(), stage.Server(t).DSN(), store, found[0], o)
	stage.OK(t, err)
	stage.Execute(t, stage.Server(t).DSN(), "Specibike2404", "DELETE FROM eleve")
	_, err = restore.Run(t.Context(), stage.Server(t).DSN(), store, plan, o)
	stage.OK(t, err)
	stage.Equal(t, 3, stage.Ask[int](t, stage.Server(t).DSN(), "Specibike2404", "SELECT count(*) FROM eleve"))
}

func TestDumpFails(t *testing.T) {
	dsn := school(t, "Specibike2404", "Specibike")
	stage.Execute(t, stage.Server(t).DSN(), "Specibike", "CREATE TABLE secret (n int)") // which openpg may not read
	d, dir := startDaemon(t), t.TempDir()
	_, _, code := stage.RunIn(t, dir, os.Environ(), "-dsn", dsn, "-port", fmt.Sprint(d.port), "log.txt", "erreur.txt", "127.0.0.1")
	stage.Equal(t, 1, code)
	stage.Equal(t, failedDump, journal(t, dir))
	stage.Contains(t, read(t, dir, "erreur.txt"), "permission denied")
	stage.Equal(t, 1, len(stage.Files(t, filepath.Join(dir, "sauvegardesLocales"), ".dump.zst"))) // what could be saved stays here
	entries, err := os.ReadDir(d.root)
	stage.OK(t, err)
	stage.Equal(t, 0, len(entries)) // and nothing was sent
}

// A database that is dropped meanwhile is no failure of the library's, but there are not as many dumps as databases.
func TestCountDiffers(t *testing.T) {
	dsn := school(t, "Specibike2404", "Specibike")
	d, dir, bin := startDaemon(t), t.TempDir(), pgOnly(t)
	stage.OK(t, os.Remove(filepath.Join(bin, "pg_dump")))
	stage.OK(t, os.WriteFile(filepath.Join(bin, "pg_dump"), fmt.Appendf(nil, `#!/bin/sh
case "$*" in *Specibike2404*)
	'%[1]s/psql' -q "%[2]s" -c 'DROP DATABASE "Specibike2404" WITH (FORCE)'
	exit 1 ;;
esac
exec '%[1]s/pg_dump' "$@"
`, stage.Server(t).BinDir(), stage.Server(t).DSN()), 0o755))
	path := "PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH")
	_, _, code := stage.RunIn(t, dir, []string{path}, "-dsn", dsn, "-port", fmt.Sprint(d.port), "log.txt", "erreur.txt", "127.0.0.1")
	stage.Equal(t, 1, code)
	stage.Contains(t, journal(t, dir), "Erreur dans le dump de la base : Specibike2404\n")
	stage.Contains(t, read(t, dir, "erreur.txt"), "1 dumps pour 2 bases")
	entries, err := os.ReadDir(d.root)
	stage.OK(t, err)
	stage.Equal(t, 0, len(entries))
}

func TestNoServer(t *testing.T) {
	dir := t.TempDir()
	dsn := "user=openpg host=" + filepath.Join(dir, "nowhere")
	_, _, code := stage.RunIn(t, dir, os.Environ(), "-dsn", dsn, "log.txt", "erreur.txt", "127.0.0.1")
	stage.Equal(t, 1, code)
	stage.Equal(t, noServer, journal(t, dir))
	stage.Contains(t, read(t, dir, "erreur.txt"), "connect")
}

func TestUse(t *testing.T) {
	_, out, code := stage.Run(t, "-h")
	stage.Equal(t, 0, code)
	for _, taught := range []string{"sauvegarde log.txt erreur.txt 172.31.0.3", "Code de sortie", "-dsn", "-port", "openpg"} {
		stage.Contains(t, out, taught)
	}
	dir := t.TempDir()
	_, _, code = stage.RunIn(t, dir, os.Environ(), "log.txt", "erreur.txt")
	stage.Equal(t, 2, code)
	entries, err := os.ReadDir(dir)
	stage.OK(t, err)
	stage.Equal(t, 0, len(entries))
}

// school makes databases that belong to the role openpg, who is no superuser, and returns how openpg connects.
func school(t *testing.T, names ...string) (dsn string) {
	t.Helper()
	admin := stage.Server(t).DSN()
	stage.Execute(t, admin, "postgres", "CREATE ROLE openpg LOGIN PASSWORD 'mot de passe'")
	for _, name := range names {
		stage.Execute(t, admin, "postgres", "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" OWNER openpg")
		stage.Execute(t, admin, name, "SET ROLE openpg; CREATE SCHEMA openerp; CREATE TABLE openerp.t (n int); RESET ROLE;"+
			"CREATE TABLE eleve (nom text); ALTER TABLE eleve OWNER TO openpg; INSERT INTO eleve VALUES ('Éloïse'), ('Zoé'), ('Ugo')")
	}
	t.Cleanup(func() { stage.Execute(t, admin, "postgres", "DROP ROLE openpg") })
	stage.DropOlds(t)
	t.Cleanup(func() {
		for _, name := range names {
			stage.Execute(t, admin, "postgres", "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
		}
	})
	config, err := pgx.ParseConfig(admin)
	stage.OK(t, err)
	pgpass := filepath.Join(t.TempDir(), "pgpass")
	stage.OK(t, os.WriteFile(pgpass, []byte("*:*:*:openpg:mot de passe\n"), 0o600))
	return fmt.Sprintf("host=%s port=%d user=openpg dbname=postgres passfile=%s", config.Host, config.Port, pgpass)
}

// pgOnly returns a directory with PostgreSQL's programs and no rsync.
func pgOnly(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pg_dump", "pg_dumpall"} {
		stage.OK(t, os.Symlink(filepath.Join(stage.Server(t).BinDir(), name), filepath.Join(dir, name)))
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
	stage.OK(t, err)
	dir := t.TempDir()
	d := &daemon{root: filepath.Join(dir, "Backup")}
	stage.OK(t, os.Mkdir(d.root, 0o755))
	config := fmt.Sprintf("use chroot = no\nlog file = %s\n[Backup]\npath = %s\nread only = no\n", filepath.Join(dir, "log"), d.root)
	if os.Getuid() == 0 {
		config = "uid = 0\ngid = 0\n" + config
	}
	configName := filepath.Join(dir, "rsyncd.conf")
	stage.OK(t, os.WriteFile(configName, []byte(config), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	stage.OK(t, err)
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

// journal returns the log with its date replaced, if the date has the form of the document.
func journal(t *testing.T, dir string) string {
	t.Helper()
	date := regexp.MustCompile(`^Nous sommes le : [A-Z][a-z]{2} [A-Z][a-z]{2} \d{1,2} \d\d:\d\d:\d\d \d{4}\n`)
	return date.ReplaceAllString(read(t, dir, "log.txt"), "Nous sommes le : DATE\n")
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	stage.OK(t, err)
	return string(text)
}
