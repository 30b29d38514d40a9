// Restore-drill proves that snapshots can be restored, by restoring them into a throw-away server and comparing every table.
package main

import (
	"context"
	"flag"

	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/examples/internal/cli"
	"github.com/runbook-go/runbook/restore"
)

const help = `restore-drill restores snapshots that were not proven yet into a throw-away PostgreSQL server on this machine, compares
every table with what was recorded when the snapshot was made, and keeps the outcome beside the snapshot as evidence. The
newest snapshot of the database whose last proof is oldest comes first. No live database is touched. Run it on a machine
with room for the largest databases.

  restore-drill -target file:///srv/backup -budget 2h -again 720h

What -budget leaves no time for is taken by the next drill, and is no failure.
Exit status: 0 everything that was tried is proven, 1 something was not, 2 wrong use.

`

// outcome is what -json prints.
type outcome struct {
	Report *restore.DrillReport `json:"report,omitempty"`
	cli.Failure
}

func main() {
	var target, identity string
	var o restore.DrillOptions
	flag.StringVar(&target, "target", "", "`URL` of where the snapshots are kept")
	flag.StringVar(&identity, "identity", "", "`file` with the age identity that decrypts the snapshots")
	flag.StringVar(&o.Query.Database, "database", "", "take snapshots of this `database` only")
	flag.StringVar(&o.Query.Run, "run", "", "take snapshots of this backup `run` only")
	flag.DurationVar(&o.Budget, "budget", 0, "begin no further snapshot after this `time`, such as 2h (default: no bound)")
	flag.DurationVar(&o.Again, "again", 0, "also take snapshots whose proof is older than this `age`, such as 720h (default: never)")
	flag.IntVar(&o.Parallel, "parallel", 2, "restore `n` snapshots at a time")
	flag.StringVar(&o.DSN, "dsn", "", "make the copies on this server instead, a `connection string`; they are dropped again")
	flag.StringVar(&o.Scratch.Dir, "dir", "", "`directory` in which the throw-away server is made (default: the temporary one)")
	program := cli.Parse("restore-drill", help)
	if target == "" || flag.NArg() > 0 || o.Parallel < 1 {
		program.Refuse("give -target, and nothing but flags")
	}
	o.Events.Progress = cli.RestoreProgress()
	out := &outcome{}
	program.Run(out, func(ctx context.Context) error {
		store, done, err := cli.OpenStore(ctx, target, identity, filestore.Options{})
		if err != nil {
			return err
		}
		defer done()
		out.Report, err = restore.Drill(ctx, store, o)
		return err
	})
}

func (o *outcome) String() string {
	if o.Report == nil {
		return ""
	}
	return o.Report.String()
}
