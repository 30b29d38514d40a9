package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/examples/internal/cli"
	"github.com/runbook-go/runbook/restore"
)

// job is what the command line asks for.
type job struct {
	dsn, target, identity, database, snapshot string
	list, plan, undo, purge                   bool
	o                                         restore.Options
}

func (j *job) run(ctx context.Context, out *outcome) (err error) {
	switch {
	case j.undo:
		out.Report, err = restore.Undo(ctx, j.dsn, j.database, j.o)
	case j.database != "":
		err = j.restore(ctx, out)
	}
	if err == nil && j.purge {
		out.Purged, err = restore.Purge(ctx, j.dsn, j.o)
	}
	return err
}

func (j *job) restore(ctx context.Context, out *outcome) error {
	store, done, err := cli.OpenStore(ctx, j.target, j.identity, filestore.Options{})
	if err != nil {
		return err
	}
	defer done()
	query := catalog.Query{Kind: catalog.Database, Database: j.database, ID: j.snapshot}
	if j.list {
		out.Snapshots, err = all(ctx, store, query)
		return err
	}
	found, err := restore.Latest(ctx, store, query)
	switch {
	case err != nil && j.snapshot == "":
		return err // the newest may be the one that cannot be read
	case len(found) == 0:
		return errors.Join(fmt.Errorf("database %q, snapshot %q: %w on the target", j.database, j.snapshot, fs.ErrNotExist), err)
	case len(found) > 1:
		return fmt.Errorf("%d servers have a database %q on the target; choose a snapshot from -list", len(found), j.database)
	}
	if out.Plan, err = restore.NewPlan(ctx, j.dsn, store, found[0], j.o); err != nil {
		return err
	}
	if err := out.Plan.Err(); err != nil || j.plan {
		return err
	}
	out.Report, err = restore.Run(ctx, j.dsn, store, out.Plan, j.o)
	return err
}

func all(ctx context.Context, store catalog.Store, q catalog.Query) (list []*catalog.Snapshot, err error) {
	for s, e := range store.List(ctx, q) {
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		s.Content = nil // the counts and hashes of all tables
		list = append(list, s)
	}
	return list, err
}

// command runs a maintenance command without a shell. What it prints goes to standard error.
func command(ctx context.Context, line string) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	env := []string{"PATH=" + os.Getenv("PATH")}
	return runbook.Local{}.Run(ctx, runbook.Cmd{Path: words[0], Args: words[1:], Env: env, Stdout: os.Stderr, Stderr: os.Stderr})
}
