// Restore-all brings a lost server back: its roles and the newest snapshot of every database, onto a new server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/examples/internal/cli"
	"github.com/runbook-go/runbook/restore"
)

const help = `restore-all brings a lost server back. It creates the roles first, then restores the newest snapshot of every database,
several at a time, and compares each with its snapshot table by table before it gets its name. A database that exists
counts as failed and is left alone. With -keep-existing it is left alone without that, for a second run after a failure; with
-replace it is replaced.

  restore-all -dsn "host=/var/run/postgresql user=postgres" -target file:///srv/backup

Exit status: 0 every database is back, 1 something failed (the others are back), 2 wrong use.

`

// outcome is what -json prints.
type outcome struct {
	Chosen []chosen           `json:"chosen"`
	Report *restore.AllReport `json:"report,omitempty"`
	cli.Failure
}

type chosen struct {
	Snapshot string    `json:"snapshot"`
	Cluster  string    `json:"cluster"`
	Kind     string    `json:"kind"`
	Database string    `json:"database,omitempty"`
	Started  time.Time `json:"started"`
}

func main() {
	var dsn, target, identity string
	var query catalog.Query
	var o restore.Options
	flag.StringVar(&dsn, "dsn", "", "how to reach the new server, a libpq `connection string` with host and user")
	flag.StringVar(&target, "target", "", "`URL` of where the snapshots are kept")
	flag.StringVar(&identity, "identity", "", "`file` with the age identity that decrypts the snapshots")
	flag.StringVar(&query.SystemID, "cluster", "", "system `identifier` of the lost server, if the target holds several servers' snapshots")
	flag.IntVar(&o.Parallel, "parallel", 2, "restore `n` databases at a time")
	flag.BoolVar(&o.Replace, "replace", false, "replace databases that exist; what they were is kept for 7 days")
	flag.BoolVar(&o.CreateRoles, "create-roles", false, "create roles that are still missing, without the right to log in")
	flag.BoolVar(&o.KeepExisting, "keep-existing", false, "leave databases alone that exist: a second run restores what is missing")
	list := flag.Bool("list", false, "list what would be restored and do nothing")
	program := cli.Parse("restore-all", help)
	switch {
	case dsn == "" || target == "" || flag.NArg() > 0 || o.Parallel < 1:
		program.Refuse("give -dsn and -target, and nothing but flags")
	case o.Replace && o.KeepExisting:
		program.Refuse("give -replace or -keep-existing, and not both")
	}
	o.Events.Progress = cli.RestoreProgress()
	out := &outcome{}
	program.Run(out, func(ctx context.Context) error { return run(ctx, dsn, target, identity, query, *list, o, out) })
}

func run(ctx context.Context, dsn, target, identity string, query catalog.Query, list bool, o restore.Options, out *outcome) error {
	store, done, err := cli.OpenStore(ctx, target, identity, filestore.Options{})
	if err != nil {
		return err
	}
	defer done()
	snapshots, listErr := restore.Latest(ctx, store, query) // what can be read is restored although something else cannot
	clusters := make(map[string]bool)
	for _, s := range snapshots {
		clusters[s.Cluster.SystemID] = true
		out.Chosen = append(out.Chosen, chosen{s.ID, s.Cluster.SystemID, string(s.Kind), s.Database, s.Started})
	}
	switch {
	case list:
		return listErr
	case len(snapshots) == 0:
		return errors.Join(errors.New("no snapshot is on the target"), listErr)
	case len(clusters) > 1:
		return fmt.Errorf("the target holds snapshots of %d servers; look at -list and choose one with -cluster", len(clusters))
	}
	out.Report, err = restore.All(ctx, dsn, store, snapshots, o)
	return errors.Join(err, listErr)
}

func (o *outcome) String() string {
	if o.Report != nil {
		return o.Report.String()
	}
	var b strings.Builder
	for _, c := range o.Chosen {
		fmt.Fprintf(&b, "%s  cluster %s  %s  %s %q\n", c.Snapshot, c.Cluster, c.Started.Local().Format(time.DateTime), c.Kind, c.Database)
	}
	return b.String()
}
