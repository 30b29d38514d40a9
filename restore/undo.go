package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/wording"
)

// Old is a database that was moved aside by a swap.
type Old struct {
	Name      string    `json:"name"`     // that it has now
	Database  string    `json:"database"` // that it was
	Replaced  time.Time `json:"replaced"` // when
	KeepUntil time.Time `json:"keep_until"`
	Snapshot  string    `json:"snapshot,omitempty"` // whose restore replaced it
	mark      mark
}

// Olds lists the databases of a server that were moved aside, newest first.
func Olds(ctx context.Context, dsn string) ([]Old, error) {
	_, conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	return readOlds(ctx, conn)
}

func readOlds(ctx context.Context, conn *pgx.Conn) (olds []Old, err error) {
	list, err := readDatabases(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if !d.isOld() {
			continue
		}
		old := Old{Name: d.name, Database: d.mark.Live, Replaced: d.mark.At, Snapshot: d.mark.Snapshot, mark: d.mark}
		if d.mark.Keep != nil {
			old.KeepUntil = *d.mark.Keep
		}
		olds = append(olds, old)
	}
	slices.SortStableFunc(olds, func(a, b Old) int { return b.Replaced.Compare(a.Replaced) })
	return olds, nil
}

// setAside makes the exchange keep the live database.
func (x *exchange) setAside(ctx context.Context, conn *pgx.Conn, live *database, snapshot string, now time.Time, keep time.Duration) error {
	until := now.Add(keep)
	x.oldMark = mark{Kind: kindOld, Live: live.name, OID: live.oid, Snapshot: snapshot, At: now, Keep: &until, Open: live.open, Comment: live.comment}
	for at := now; ; at = at.Add(time.Second) { // another swap in the same second, or of a name that is cut to the same
		x.old = oldName(live.name, at)
		taken, err := readDatabase(ctx, conn, x.old)
		if err != nil || taken == nil {
			return err
		}
	}
}

// Undo takes the latest swap of a database back: the database that was moved aside gets its name again, with the comment it had, and the present one is moved aside in
// turn. So an Undo can be undone by another one. It matches [fs.ErrNotExist] if nothing is kept. That the kept database is the one that was replaced is verified by
// its identity on the server (its OID); it was closed to sessions in between. Hooks are called as by [Run], with a plan that has a name only.
func Undo(ctx context.Context, dsn, name string, o Options) (*Report, error) {
	o = o.withDefaults()
	j := &job{plan: &Plan{Database: name, Manifest: &catalog.Manifest{}, Replaces: true}, key: lockKey{live: name}, o: o, report: &Report{Database: name}}
	err := j.run(ctx, dsn, func(ctx context.Context) error {
		return j.around(ctx, o.Hooks.BeforeSwap, o.Hooks.AfterSwap, StageBeforeSwap, StageAfterSwap, func() error { return j.undo(ctx) })
	})
	return j.report, err
}

func (j *job) undo(ctx context.Context) error {
	name := j.plan.Database
	j.stage(StageSwap)
	olds, err := readOlds(ctx, j.conn)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(olds, func(o Old) bool { return o.Database == name })
	if i < 0 {
		return fmt.Errorf("undo: no database that %q replaced is kept: %w", name, fs.ErrNotExist)
	}
	old := olds[i]
	x := &exchange{live: name, incoming: old.Name, oid: old.mark.OID}
	x.final = finalStatements(name, old.mark.Comment, 0)[:1]
	x.final = append(x.final, allowStatement(name, old.mark.Open))
	live, err := readDatabase(ctx, j.conn, name)
	if err != nil {
		return err
	}
	if live != nil {
		if err := x.setAside(ctx, j.conn, live, "", j.o.Now().UTC(), j.o.UndoWindow); err != nil {
			return err
		}
	}
	if err := j.exchange(ctx, x); err != nil {
		return err
	}
	j.stage(StageSwapped)
	return nil
}

// Purge drops the databases that were moved aside and whose time is over, and returns them. One whose live database is gone is kept, as it may be the
// last copy.
func Purge(ctx context.Context, dsn string, o Options) (purged []Old, err error) {
	o = o.withDefaults()
	server, conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	olds, err := readOlds(ctx, conn)
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, old := range olds {
		if ctx.Err() != nil {
			return purged, errors.Join(context.Cause(ctx), wording.Failures("purges", failures))
		}
		if old.mark.Keep == nil || o.Now().Before(*old.mark.Keep) {
			continue
		}
		hash := lockKey{live: old.Database}.hash()
		got, err := lock(ctx, conn, hash, o.LockTimeout)
		if err != nil || !got {
			failures = append(failures, fail(old.Database, StageLock, cmp.Or(err, errors.New("another run works on this database"))))
			continue
		}
		dropped, err := purgeLocked(ctx, server, conn, old)
		err = errors.Join(err, unlock(ctx, conn, hash))
		if dropped {
			purged = append(purged, old)
		}
		if err != nil {
			failures = append(failures, fail(old.Database, StageDrop, err))
		}
	}
	return purged, wording.Failures("purges", failures)
}

// purgeLocked drops old unless something changed since it was listed.
func purgeLocked(ctx context.Context, server *pgconn.Server, conn *pgx.Conn, old Old) (dropped bool, err error) {
	live, err := readDatabase(ctx, conn, old.Database)
	if err != nil {
		return false, err
	}
	if live == nil {
		return false, fmt.Errorf("%q is kept: the database %q that took its place is gone, and it may be the last copy", old.Name, old.Database)
	}
	d, err := readDatabase(ctx, conn, old.Name)
	if err != nil || d == nil || !d.isOld() || d.oid != old.mark.OID {
		return false, err
	}
	err = drop(ctx, server, conn, old.Name)
	return err == nil, err
}
