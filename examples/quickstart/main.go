// Quickstart runs the main job of this library on a stage of its own: a throw-away PostgreSQL server with a school's ERP databases, and an SFTP server in this
// process that plays the backup server. Nothing has to be configured, and nothing is left behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/sftptarget"
	"github.com/runbook-go/runbook/restore"
	"github.com/runbook-go/runbook/restore/scratch"
)

// code is the naming code of the school: a pupil's database, a class's, or a group's.
var code = regexp.MustCompile(`Specibike(?:(?P<class>Stmg[0-9])(?P<group>Groupe[0-9])?|(?P<pupil>[A-Z][a-z]+))`)

func main() {
	asJSON := flag.Bool("json", false, "print one JSON object instead of text")
	keep := flag.String("keep", "", "keep the backup server's files, PostgreSQL's directory and the account in this `directory`")
	scale := flag.Float64("scale", 0.1, "size of each database; 1 is about 30 MB of dump")
	bin := flag.String("bindir", "", "`directory` of PostgreSQL's programs (default: searched for)")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), `quickstart backs up 20 databases to an SFTP server, twice, proves every snapshot by restoring it,
restores one database over the live one, takes that back, and applies retention.

It needs PostgreSQL's programs (Debian: apt-get install postgresql) and about a minute.
Exit status: 0 if everything went as it should, 1 if not, 2 for wrong arguments.

`)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := newAccount(*asJSON)
	err := run(ctx, a, *keep, *bin, *scale)
	stop()
	if closeErr := a.close(*keep, err); err == nil {
		err = closeErr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, a *account, keep, bin string, scale float64) (err error) {
	a.chapter("The stage")
	stage := scratch.Options{BinDir: bin}
	if keep != "" {
		stage.Keep = filepath.Join(keep, "postgresql")
	}
	pg, err := scratch.Start(ctx, stage)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := pg.Close(); err == nil {
			err = closeErr
		}
	}()
	a.say("PostgreSQL %d.%d is running in %s", pg.Version()/10000, pg.Version()%10000, pg.Dir())
	school, err := buildSchool(ctx, pg.DSN(), scale)
	if err != nil {
		return err
	}
	a.say("%d databases follow the code %s, beside %d others", len(school.names), code, len(decoys))
	server, err := startBackupServer(keep)
	if err != nil {
		return err
	}
	defer server.close()
	target, err := sftptarget.Open(ctx, server.addr, server.client, sftptarget.Options{Root: server.root, Connections: 2})
	if err != nil {
		return err
	}
	defer target.Close()
	a.say("the backup server listens at sftp://%s%s", server.addr, server.root)
	store, err := filestore.New(target, filestore.Options{Owner: "quickstart"})
	if err != nil {
		return err
	}

	options := backup.Options{Select: backup.Selection{Regexp: code}, BinDir: bin, Events: a.backupEvents()}
	a.chapter("Night 1: every database of the school is backed up")
	night1, err := backup.Run(ctx, pg.DSN(), store, options)
	a.backup("night1", night1)
	if err != nil {
		return err
	}

	a.chapter("The day: rows change, and one database breaks")
	if err := school.day(ctx); err != nil {
		return err
	}
	broken, err := school.breakOne(ctx)
	if err != nil {
		return err
	}
	a.say("the file of a table of %s was removed from the disk", broken)

	a.chapter("Night 2: the broken database must not harm the others")
	night2, err := backup.Run(ctx, pg.DSN(), store, options)
	a.backup("night2", night2)
	if n := night2.Count(backup.BackedUp); err == nil || n != len(school.names)-1 {
		return fmt.Errorf("night 2 backed up %d databases and reported %v; %d and the failure of %s were expected", n, err, len(school.names)-1, broken)
	}

	a.chapter("The drill: every snapshot of night 2 is restored elsewhere and compared, table by table")
	drill, err := restore.Drill(ctx, store, restore.DrillOptions{Query: catalog.Query{Run: night2.Run}, BinDir: bin, Scratch: scratch.Options{BinDir: bin}})
	a.drill(drill)
	if err != nil {
		return err
	}

	a.chapter("The accident: a pupil deletes all invoices, and gets last night's database back")
	if err := accident(ctx, a, pg.DSN(), store, school, bin); err != nil {
		return err
	}

	a.chapter("Retention: the last snapshot of each database is kept")
	plan, err := backup.PlanRetention(ctx, store, backup.Retention{Default: backup.Policy{Last: 1}}, time.Now())
	if err != nil {
		return err
	}
	deleted, err := backup.ApplyRetention(ctx, store, plan)
	a.retention(plan, deleted)
	return err
}
