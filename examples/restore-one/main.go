// Restore-one brings one database back from its snapshots, over the live one if asked to, and can take that back.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/runbook-go/runbook/backup/catalog"
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
	Error     string              `json:"error,omitempty"`
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
	asJSON := flag.Bool("json", false, "print one JSON object instead of text")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), help+targetHelp)
		flag.PrintDefaults()
	}
	flag.Parse()
	j.database = flag.Arg(0)
	if j.dsn == "" || flag.NArg() > 1 || j.database == "" && !j.purge || j.database != "" && j.target == "" && !j.undo {
		fmt.Fprintln(os.Stderr, "restore-one: give -dsn, -target and then the name of one database; -h tells more")
		os.Exit(2)
	}
	first := func(ctx context.Context, _ *restore.Plan) error { return command(ctx, *before) }
	last := func(ctx context.Context, _ *restore.Plan, _ error) error { return command(ctx, *after) }
	if *short {
		j.o.Hooks.BeforeSwap, j.o.Hooks.AfterSwap = first, last
	} else {
		j.o.Hooks.Before, j.o.Hooks.After = first, last
	}
	j.o.Events.Progress = progress()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	out := &outcome{}
	err := j.run(ctx, out)
	stop()
	if err != nil {
		out.Error = err.Error()
		fmt.Fprintln(os.Stderr, "restore-one:", err)
	}
	if *asJSON {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(out))
	} else {
		out.print()
	}
	if err != nil {
		os.Exit(1)
	}
}

func (o *outcome) print() {
	for _, s := range o.Snapshots {
		level, _ := s.Proven()
		fmt.Printf("%s  %s  %s  archive of %.1f MB\n", s.ID, s.Finished.Local().Format(time.DateTime), level, float64(s.Archive.Size)/1e6)
	}
	if o.Plan != nil {
		fmt.Print(o.Plan)
	}
	switch r := o.Report; {
	case r == nil || o.Error != "":
	case r.Snapshot == "":
		fmt.Printf("undone: %q is again what it was before; down for %s\n", r.Database, r.Down.Round(time.Millisecond))
	default:
		fmt.Printf("done: %q is snapshot %s, proven at %s, %d rows compared; restored in %s, down for %s\n",
			r.Database, r.Snapshot, r.Level, r.Rows, r.Restore.Round(time.Millisecond), r.Down.Round(time.Millisecond))
	}
	if r := o.Report; r != nil && r.Old != "" {
		fmt.Printf("the database that lost the name is kept as %q until %s\n", r.Old, r.KeepUntil.Local().Format(time.DateTime))
	}
	for _, old := range o.Purged {
		fmt.Printf("dropped %q, which %q replaced on %s\n", old.Name, old.Database, old.Replaced.Local().Format(time.DateTime))
	}
}
