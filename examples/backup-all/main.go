// Backup-all backs up every database whose name follows a code, and the roles, to a backup server.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/filestore"
)

const help = `backup-all dumps every PostgreSQL database that matches, and the server's roles, to a backup server, reads back and
compares what it stored, and deletes snapshots that no rule keeps any more. Without -match and -regexp it takes every
database.

  backup-all -dsn "host=/var/run/postgresql user=postgres" -target file:///srv/backup -match 'Specibike*' -keep-daily 14

Exit status: 0 all is backed up, 1 something failed (the rest is backed up), 2 wrong use.

`

// job is what the command line asks for.
type job struct {
	dsn, target string
	backup      backup.Options
	store       filestore.Options
	keep        backup.Policy
}

// outcome is what -json prints.
type outcome struct {
	Report    *backup.Report         `json:"report,omitempty"`
	Retention *backup.RetentionPlan  `json:"retention,omitempty"`
	Deleted   []backup.RetentionLine `json:"deleted,omitempty"`
	Error     string                 `json:"error,omitempty"`
}

func main() {
	var j job
	flag.StringVar(&j.dsn, "dsn", "", "how to reach the server, a libpq `connection string` with host and user")
	flag.StringVar(&j.target, "target", "", "`URL` of where the snapshots are kept")
	list := func(to *[]string) func(string) error {
		return func(s string) error { *to = append(*to, s); return nil }
	}
	flag.Func("match", "take databases whose name matches the `pattern` (* ? [a-z]); repeatable", list(&j.backup.Select.Include))
	flag.Func("exclude", "leave out what matches the `pattern`; repeatable", list(&j.backup.Select.Exclude))
	flag.Func("regexp", "take databases whose whole name matches the `regexp`; its named groups become labels", func(s string) (err error) {
		j.backup.Select.Regexp, err = regexp.Compile(s)
		return err
	})
	flag.IntVar(&j.backup.Workers, "workers", 0, "so `many` databases at a time (default: one a core, if connections are free)")
	flag.BoolVar(&j.backup.RolePasswords, "globals-passwords", false, "keep the roles' password verifiers too; needs a superuser")
	flag.BoolVar(&j.backup.DryRun, "dry-run", false, "tell what would be backed up and deleted, and change nothing")
	flag.StringVar(&j.backup.MetricsFile, "metrics", "", "write figures for node_exporter's textfile collector to this `file`, FILE.prom")
	flag.Func("recipient", "encrypt to this age public `key`; repeatable", list(&j.store.Recipients))
	flag.Int64Var(&j.store.UploadLimit, "limit", 0, "send at most so many `bytes` a second")
	flag.IntVar(&j.keep.Last, "keep-last", 0, "keep the newest `n` snapshots of each database, of all that are on the target")
	flag.IntVar(&j.keep.Daily, "keep-daily", 0, "keep one snapshot a day, of the last `n` days that have one")
	flag.IntVar(&j.keep.Weekly, "keep-weekly", 0, "the same for `n` weeks")
	flag.IntVar(&j.keep.Monthly, "keep-monthly", 0, "the same for `n` months")
	flag.IntVar(&j.keep.Yearly, "keep-yearly", 0, "the same for `n` years")
	asJSON := flag.Bool("json", false, "print one JSON object instead of text")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), help+targetHelp)
		flag.PrintDefaults()
	}
	flag.Parse()
	if j.dsn == "" || j.target == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "backup-all: give -dsn and -target, and nothing but flags; -h tells more")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	out := &outcome{}
	err := j.run(ctx, out)
	stop()
	if err != nil {
		out.Error = err.Error()
		fmt.Fprintln(os.Stderr, "backup-all:", err)
	}
	if *asJSON {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(out))
	} else {
		out.print(os.Stdout)
	}
	if err != nil {
		os.Exit(1)
	}
}

func (j *job) run(ctx context.Context, out *outcome) error {
	target, done, err := openTarget(ctx, j.target)
	if err != nil {
		return err
	}
	defer done()
	host, _ := os.Hostname()
	j.store.Owner = fmt.Sprintf("backup-all on %s, process %d", cmp.Or(host, "an unnamed host"), os.Getpid())
	store, err := filestore.New(target, j.store)
	if err != nil {
		return err
	}
	j.backup.Events.Progress = progress()
	out.Report, err = backup.Run(ctx, j.dsn, store, j.backup)
	// A night that stored nothing deletes nothing.
	if j.keep == (backup.Policy{}) || ctx.Err() != nil || !j.backup.DryRun && out.Report.Count(backup.BackedUp) == 0 {
		return err
	}
	plan, planErr := backup.PlanRetention(ctx, store, backup.Retention{Default: j.keep, Location: time.Local}, time.Now())
	out.Retention = plan
	if planErr != nil || j.backup.DryRun {
		return errors.Join(err, planErr)
	}
	var applyErr error
	out.Deleted, applyErr = backup.ApplyRetention(ctx, store, plan)
	return errors.Join(err, applyErr)
}

func (o *outcome) print(w io.Writer) {
	if o.Report != nil {
		fmt.Fprint(w, o.Report)
	}
	if o.Retention != nil {
		fmt.Fprint(w, o.Retention)
	}
}

// progress shows on a terminal how far the run is.
func progress() func(backup.ProgressInfo) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(p backup.ProgressInfo) {
		mb := float64(p.Bytes) / 1e6
		fmt.Fprintf(os.Stderr, "\r\033[K%d of %d done, %.1f MB/s, %s left; %q %.1f MB\r", p.Done, p.Total, p.Rate/1e6, p.ETA, p.Database, mb)
	}
}
