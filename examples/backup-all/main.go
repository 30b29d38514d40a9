// Backup-all backs up every database whose name follows a code, and the roles, to a backup server.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/examples/internal/cli"
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
	cli.Failure
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
	program := cli.Parse("backup-all", help)
	if j.dsn == "" || j.target == "" || flag.NArg() > 0 {
		program.Refuse("give -dsn and -target, and nothing but flags")
	}
	j.backup.Events.Progress = cli.BackupProgress()
	out := &outcome{}
	program.Run(out, func(ctx context.Context) error { return j.run(ctx, out) })
}

func (j *job) run(ctx context.Context, out *outcome) error {
	host, _ := os.Hostname()
	j.store.Owner = fmt.Sprintf("backup-all on %s, process %d", cmp.Or(host, "an unnamed host"), os.Getpid())
	store, done, err := cli.OpenStore(ctx, j.target, "", j.store)
	if err != nil {
		return err
	}
	defer done()
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

func (o *outcome) String() string {
	var b strings.Builder
	if o.Report != nil {
		b.WriteString(o.Report.String())
	}
	if o.Retention != nil {
		b.WriteString(o.Retention.String())
	}
	return b.String()
}
