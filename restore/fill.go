package restore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/internal/pgname"
)

// restore runs pg_restore on the scratch database.
func (j *job) restore(ctx context.Context) (err error) {
	p := j.plan
	args := []string{"--exit-on-error"}
	add := func(when bool, more ...string) {
		if when {
			args = append(args, more...)
		}
	}
	add(p.Ownership != OwnersKept, "--no-owner")
	add(p.Ownership != OwnersKept || !p.Privileges, "--no-acl")
	add(!p.Spaces, "--no-tablespaces")
	add(p.Jobs == 1, "--single-transaction")
	add(p.Jobs > 1, "--jobs="+strconv.Itoa(p.Jobs))
	if p.List != "" {
		list, err := j.file(os.TempDir(), "list")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(list.Name())) }()
		_, err = list.WriteString(p.List)
		if err := errors.Join(err, list.Close()); err != nil {
			return err
		}
		args = append(args, "--use-list="+list.Name())
	}
	args = slices.Concat(args, j.server.Args(j.scratch))
	if p.Jobs > 1 {
		return j.spooled(ctx, args)
	}
	j.stage(StageRestore)
	return j.streamed(ctx, args)
}

// file creates a file that only its owner can read, under a name by which a later run knows whose it is.
func (j *job) file(dir, kind string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, fileName(j.key.hash())+kind+"-"+rand.Text()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

// streamed feeds pg_restore from the store. What passes is verified to the last byte, those included that pg_restore does not need, and if it failed too: a damaged
// archive is then the better explanation.
func (j *job) streamed(ctx context.Context, args []string) error {
	archive, err := j.store.Open(ctx, j.plan.Manifest)
	if err != nil {
		return &ArchiveError{j.plan.Manifest.ID, err}
	}
	defer archive.Close()
	r, w := io.Pipe()
	damage := make(chan error, 1)
	go func() {
		err := j.pump(w, archive)
		w.CloseWithError(err)
		damage <- err
	}()
	runErr := j.pgRestore(ctx, args, r)
	r.Close()
	if err := <-damage; err != nil {
		if ctx.Err() != nil && runErr != nil {
			return runErr
		}
		return err
	}
	return runErr
}

// pump copies the archive to w and to a witness. If w takes no more, the witness still gets the rest.
func (j *job) pump(w io.Writer, archive io.Reader) error {
	seen := newWitness(j.plan.Manifest)
	progress := newMeter(j.plan.Database, j.plan.Manifest.Archive.Size, j.o.Events.Progress, j.o.Now)
	buf := make([]byte, copyBuffer)
	for {
		n, err := archive.Read(buf)
		if n > 0 {
			if _, e := seen.Write(buf[:n]); e != nil {
				_, e = seen.close(e)
				return e
			}
			if w != nil {
				if _, e := w.Write(buf[:n]); e != nil {
					w = nil
				}
			}
			progress.Write(buf[:n])
		}
		if err == io.EOF {
			summary, err := seen.close(nil)
			if err == nil {
				j.toc = summary.TOC
			}
			return err
		}
		if err != nil {
			_, err = seen.close(err)
			return err
		}
	}
}

// spooled keeps the archive in a file, verifies it and lets pg_restore seek in it.
func (j *job) spooled(ctx context.Context, args []string) (err error) {
	j.stage(StageSpool)
	if j.o.SpoolDir == "" {
		return fmt.Errorf("%d jobs need a SpoolDir", j.plan.Jobs)
	}
	f, err := j.file(j.o.SpoolDir, "spool")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if err := errors.Join(j.spool(ctx, f), f.Close()); err != nil {
		return err
	}
	j.stage(StageRestore)
	return j.pgRestore(ctx, append(args, f.Name()), nil)
}

func (j *job) spool(ctx context.Context, f *os.File) error {
	archive, err := j.store.Open(ctx, j.plan.Manifest)
	if err != nil {
		return &ArchiveError{j.plan.Manifest.ID, err}
	}
	defer archive.Close()
	out := &stickyWriter{w: f}
	err = j.pump(out, archive)
	return errors.Join(err, out.err)
}

// stickyWriter remembers its first error.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if s.err == nil {
		s.err = err
	}
	return n, err
}

func (j *job) pgRestore(ctx context.Context, args []string, stdin io.Reader) error {
	return j.o.Runner.Run(ctx, runbook.Cmd{Path: j.tool("pg_restore"), Args: args, Env: j.server.Env(), Stdin: stdin})
}

// dress gives the scratch database its owner, its objects their owners, and its settings, as the dump was made with them in force.
func (j *job) dress(ctx context.Context) error {
	p := j.plan
	j.stage(StageOwners)
	if err := j.transaction(ctx, ownerStatement(j.scratch, p.Owner)); err != nil {
		return fmt.Errorf("give the database to role %q: %w", p.Owner, err)
	}
	if err := j.reown(ctx); err != nil {
		return err
	}
	j.stage(StageSettings)
	roles, err := readSet(ctx, j.conn, `SELECT rolname FROM pg_catalog.pg_roles`)
	if err != nil {
		return err
	}
	statements, missing := settingStatements(j.scratch, p.Manifest.Properties.Settings, p.role, func(r string) bool { return roles[r] })
	for _, what := range missing {
		j.warn("setting %s is not restored: there is no such role", what)
	}
	for _, s := range statements {
		_, err := j.conn.Exec(ctx, s)
		switch sqlState(err) {
		case "42501", "42704": // insufficient privilege, undefined object
			j.warn("a setting is not restored: %s: %v", s, err)
		default:
			if err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
	}
	return nil
}

// reown maps owners and privileges, in the scratch database itself.
func (j *job) reown(ctx context.Context) error {
	if len(j.plan.Reown) == 0 {
		return nil
	}
	conn, err := j.server.Connect(ctx, j.scratch)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	for _, s := range j.plan.Reown {
		if _, err := tx.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err) // closing the connection rolls back
		}
	}
	return tx.Commit(ctx)
}

// take gives the scratch database its privileges and its name.
func (j *job) take(ctx context.Context) error {
	p := j.plan
	j.stage(StageProperties)
	roles, err := readSet(ctx, j.conn, `SELECT rolname FROM pg_catalog.pg_roles`)
	if err != nil {
		return err
	}
	statements, missing := grantStatements(j.scratch, p.Owner, p.Manifest.Properties, !p.Privileges, p.Ownership == OwnersOne, p.role,
		func(r string) bool { return roles[r] })
	for _, what := range missing {
		j.warn("a privilege on the database is not restored: %s", what)
	}
	if err := j.transaction(ctx, statements...); err != nil {
		return err
	}
	return j.around(ctx, j.o.Hooks.BeforeSwap, j.o.Hooks.AfterSwap, StageBeforeSwap, StageAfterSwap, func() error { return j.swap(ctx) })
}

func (j *job) swap(ctx context.Context) error {
	p, props := j.plan, j.plan.Manifest.Properties
	j.stage(StageSwap)
	x := &exchange{live: p.Database, incoming: j.scratch, oid: j.oid, final: finalStatements(p.Database, props.Comment, props.ConnectionLimit)}
	live, err := readDatabase(ctx, j.conn, p.Database)
	if err != nil {
		return err
	}
	if live != nil && !p.Replaces {
		return fmt.Errorf("database %s was created meanwhile; plan again", pgname.Ident(p.Database))
	}
	if live != nil {
		if err := x.setAside(ctx, j.conn, live, p.Manifest.ID, j.o.Now().UTC(), p.KeepOld); err != nil {
			return err
		}
	}
	if err := j.exchange(ctx, x); err != nil {
		return err
	}
	j.scratch = ""
	j.stage(StageSwapped)
	return nil
}

// exchange runs x and reports it.
func (j *job) exchange(ctx context.Context, x *exchange) error {
	done, err := x.run(ctx, j.server, j.conn, j.o.SwapTimeout)
	j.report.Ended = done.ended
	if err != nil {
		return err
	}
	if x.old != "" {
		j.report.Old, j.report.Down, j.report.KeepUntil = x.old, done.down, *x.oldMark.Keep
	}
	return nil
}
