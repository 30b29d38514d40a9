// Restore-one brings one database back from its snapshots, over the live one if asked to, and can take that back.
package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/examples/internal/cli"
	"github.com/runbook-go/runbook/restore"
)

const help = `restore-one restores the newest snapshot of a database, or the one that -snapshot names, into a database beside the live
one, and compares it with the snapshot table by table. Only if everything is equal it takes the name. The live database
stays untouched until then, and is kept for 7 days; -undo brings it back.

  restore-one -dsn "host=/var/run/postgresql user=postgres" -target file:///srv/backup -replace \
    -before "systemctl stop openerp" -after "systemctl start openerp" SpecibikeDupont

Flags come before the name. -list, -plan and -undo say or do just that.
Exit status: 0 done, 1 it failed or the plan has a problem (the live database is as it was), 2 wrong use.

`

// outcome is what -json prints.
type outcome struct {
	Snapshots []*catalog.Snapshot `json:"snapshots,omitempty"`
	Plan      *restore.Plan       `json:"plan,omitempty"`
	Report    *restore.Report     `json:"report,omitempty"`
	Purged    []restore.Old       `json:"purged,omitempty"`
	cli.Failure
}

func main() {
	j := job{}
	flag.StringVar(&j.dsn, "dsn", "", "how to reach the server, a libpq `connection string` with host and user")
	flag.StringVar(&j.target, "target", "", "`URL` of where the snapshots are kept")
	flag.StringVar(&j.identity, "identity", "", "`file` with the age identity that decrypts the snapshots")
	flag.StringVar(&j.snapshot, "snapshot", "", "restore the snapshot with this `ID`; -list shows them")
	flag.StringVar(&j.o.As, "as", "", "restore under another `name`")
	flag.BoolVar(&j.o.Replace, "replace", false, "the database exists and is to be replaced")
	flag.BoolVar(&j.o.CreateRoles, "create-roles", false, "create the roles that are missing, without the right to log in")
	flag.BoolVar(&j.list, "list", false, "list the snapshots of the database")
	flag.BoolVar(&j.plan, "plan", false, "show the plan and do nothing")
	flag.BoolVar(&j.undo, "undo", false, "take the latest replacement of the database back")
	flag.BoolVar(&j.purge, "purge", false, "afterwards, or without a name, drop the databases kept for an undo whose time is over")
	before := flag.String("before", "", "`command` to run first, such as one that stops the site; without a shell: words are split at blanks")
	after := flag.String("after", "", "`command` to run at the end, whatever happened, such as one that starts the site")
	short := flag.Bool("short", false, "run them around the exchange of the databases only, so that the site is off for a moment")
	program := cli.Parse("restore-one", help)
	j.database = flag.Arg(0)
	if j.dsn == "" || flag.NArg() > 1 || j.database == "" && !j.purge || j.database != "" && j.target == "" && !j.undo {
		program.Refuse("give -dsn, -target and then the name of one database")
	}
	first := func(ctx context.Context, _ *restore.Plan) error { return command(ctx, *before) }
	last := func(ctx context.Context, _ *restore.Plan, _ error) error { return command(ctx, *after) }
	if *short {
		j.o.Hooks.BeforeSwap, j.o.Hooks.AfterSwap = first, last
	} else {
		j.o.Hooks.Before, j.o.Hooks.After = first, last
	}
	j.o.Events.Progress = cli.RestoreProgress()
	out := &outcome{}
	program.Run(out, func(ctx context.Context) error { return j.run(ctx, out) })
}

func (o *outcome) String() string {
	var b strings.Builder
	for _, s := range o.Snapshots {
		level, _ := s.Proven()
		fmt.Fprintf(&b, "%s  %s  %s  archive of %.1f MB\n", s.ID, s.Finished.Local().Format(time.DateTime), level, float64(s.Archive.Size)/1e6)
	}
	if o.Plan != nil {
		b.WriteString(o.Plan.String())
	}
	if o.Report != nil {
		if o.Report.Snapshot == "" && o.Error == "" {
			fmt.Fprintf(&b, "undone: %q is again what it was before\n", o.Report.Database)
		}
		b.WriteString(o.Report.String())
	}
	for _, old := range o.Purged {
		fmt.Fprintf(&b, "dropped %q, which %q replaced on %s\n", old.Name, old.Database, old.Replaced.Local().Format(time.DateTime))
	}
	return b.String()
}
