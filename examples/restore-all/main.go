// Restore-all brings a lost server back: its roles and the newest snapshot of every database, onto a new server.
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
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/restore"
)

const help = `restore-all brings a lost server back. It creates the roles first, then restores the newest snapshot of every database,
several at a time, and compares each with its snapshot table by table before it gets its name. A database that exists is
left alone and counts as failed, unless -replace is given.

  restore-all -dsn "host=/var/run/postgresql user=postgres" -target file:///srv/backup

Exit status: 0 every database is back, 1 something failed (the others are back), 2 wrong use.

`

// outcome is what -json prints.
type outcome struct {
	Chosen []chosen           `json:"chosen"`
	Report *restore.AllReport `json:"report,omitempty"`
	Failed map[string]string  `json:"failed,omitempty"` // database to what went wrong
	Error  string             `json:"error,omitempty"`
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
	list := flag.Bool("list", false, "list what would be restored and do nothing")
	asJSON := flag.Bool("json", false, "print one JSON object instead of text")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), help+targetHelp)
		flag.PrintDefaults()
	}
	flag.Parse()
	if dsn == "" || target == "" || flag.NArg() > 0 || o.Parallel < 1 {
		fmt.Fprintln(os.Stderr, "restore-all: give -dsn and -target, and nothing but flags; -h tells more")
		os.Exit(2)
	}
	o.Events.Progress = progress()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	out := &outcome{}
	err := run(ctx, dsn, target, identity, query, *list, o, out)
	stop()
	if err != nil {
		out.Error = err.Error()
		fmt.Fprintln(os.Stderr, "restore-all:", err)
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

func run(ctx context.Context, dsn, targetURL, identity string, query catalog.Query, list bool, o restore.Options, out *outcome) error {
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
	if out.Report == nil {
		return err
	}
	out.Failed = make(map[string]string)
	for _, r := range out.Report.Databases {
		if r.Err != nil {
			out.Failed[r.Database] = r.Err.Error()
		}
	}
	return errors.Join(err, listErr)
}
