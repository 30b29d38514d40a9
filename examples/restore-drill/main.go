// Restore-drill proves that snapshots can be restored, by restoring them into a throw-away server and comparing every table.
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

	"github.com/runbook-go/runbook/backup/filestore"
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
	Failed map[string]string    `json:"failed,omitempty"` // snapshot to what went wrong
	Error  string               `json:"error,omitempty"`
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
	asJSON := flag.Bool("json", false, "print one JSON object instead of text")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), help+targetHelp)
		flag.PrintDefaults()
	}
	flag.Parse()
	if target == "" || flag.NArg() > 0 || o.Parallel < 1 {
		fmt.Fprintln(os.Stderr, "restore-drill: give -target, and nothing but flags; -h tells more")
		os.Exit(2)
	}
	o.Events.Progress = progress()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	out := &outcome{}
	err := run(ctx, target, identity, o, out)
	stop()
	if err != nil {
		out.Error = err.Error()
		fmt.Fprintln(os.Stderr, "restore-drill:", err)
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

func run(ctx context.Context, targetURL, identity string, o restore.DrillOptions, out *outcome) error {
	target, done, err := openTarget(ctx, targetURL)
	if err != nil {
		return err
	}
	defer done()
	var so filestore.Options
	if identity != "" {
		if so.Identity, err = os.ReadFile(identity); err != nil {
			return err
		}
	}
	store, err := filestore.New(target, so)
	if err != nil {
		return err
	}
	out.Report, err = restore.Drill(ctx, store, o)
	if out.Report == nil {
		return err
	}
	out.Failed = make(map[string]string)
	for _, d := range out.Report.Drilled {
		if d.Err != nil {
			out.Failed[d.Snapshot] = d.Err.Error()
		}
	}
	return err
}

func (o *outcome) print() {
	if o.Report == nil {
		return
	}
	proven := 0
	for _, d := range o.Report.Drilled {
		if d.Err != nil {
			fmt.Printf("NOT PROVEN %q, snapshot %s: %v\n", d.Database, d.Snapshot, d.Err)
			continue
		}
		proven++
		fmt.Printf("proven     %q, snapshot %s: %s, restored in %s, compared in %s\n", d.Database, d.Snapshot, d.Evidence.Level,
			d.Evidence.Restore.Round(time.Millisecond), d.Evidence.Verify.Round(time.Millisecond))
	}
	for _, warning := range o.Report.Warnings {
		fmt.Println("warning:", warning)
	}
	fmt.Printf("%d of %d snapshots proven restorable, %d left for the next drill\n", proven, len(o.Report.Drilled), len(o.Report.Left))
}
