package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/pgarchive"
)

// draft returns a manifest with what is known before a dump begins.
func (r *run) draft(kind catalog.Kind) *catalog.Manifest {
	now := r.o.Now().UTC()
	return &catalog.Manifest{
		Version: catalog.FormatVersion, ID: catalog.NewID(now), Run: r.report.Run, Kind: kind,
		Cluster: r.report.Cluster, Tool: r.report.Tool, Started: now, Verified: make(map[catalog.Level]time.Time),
	}
}

// backUp makes and stores a snapshot of one database.
func (r *run) backUp(ctx context.Context, c Choice, dumped func()) (*catalog.Manifest, error) {
	m := r.draft(catalog.Database)
	m.Database, m.Labels, m.Roles = c.Database.Name, r.labels(c), c.Database.Roles
	m.Properties = &c.Database.Properties
	var err error
	if m.LSN, m.Extensions, err = r.look(ctx, c.Database.Name); err != nil {
		return nil, &stageError{StageConnect, err}
	}
	return m, r.first().Put(ctx, m, func(ctx context.Context, w io.Writer) error {
		defer dumped()
		return r.dump(ctx, m, w)
	})
}

func (r *run) labels(c Choice) map[string]string {
	labels := make(map[string]string)
	for _, from := range []map[string]string{r.o.Labels, c.Labels} {
		maps.Copy(labels, from)
	}
	return labels
}

// look reads what only a connection to the database can tell, and proves that there can be one.
func (r *run) look(ctx context.Context, database string) (lsn string, extensions map[string]string, err error) {
	conn, err := r.server.Connect(ctx, database)
	if err != nil {
		return "", nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return inside(ctx, conn)
}

// dump streams pg_dump's archive to w. The archive is walked as it passes, so that a dump that is cut or malformed fails although pg_dump may
// have exited 0, and so that every table is counted and hashed without reading anything twice.
func (r *run) dump(ctx context.Context, m *catalog.Manifest, w io.Writer) error {
	walker := pgarchive.NewWalker()
	args := append([]string{"--format=custom", "--compress=0", "--lock-wait-timeout=" + fmt.Sprint(r.o.LockTimeout.Milliseconds())},
		r.server.Args(m.Database)...)
	err := runInto(ctx, r.o.Runner, runbook.Cmd{Path: r.tools.Path("pg_dump"), Args: args, Env: r.server.Env()},
		io.MultiWriter(&stagedWriter{StageWalk, walker}, &stagedWriter{StageStore, w}, r.tracker.writer(m.Database)), pipeGrace)
	if err != nil {
		walker.Abort()
		if _, staged := errors.AsType[*stageError](err); staged {
			return err
		}
		return &stageError{StageDump, err}
	}
	m.Verified[catalog.L0] = r.o.Now().UTC()
	summary, err := walker.Close()
	if err != nil {
		return &stageError{StageWalk, err}
	}
	m.Verified[catalog.L1] = r.o.Now().UTC()
	m.Archive.Format = "custom " + summary.Header.Version.String()
	m.Content = &summary.Content
	return nil
}

// backUpGlobals makes and stores a snapshot of roles and tablespaces.
func (r *run) backUpGlobals(ctx context.Context, _ func()) (*catalog.Manifest, error) {
	m := r.draft(catalog.Globals)
	m.Archive.Format, m.Labels = "sql", r.o.Labels
	args := []string{"--globals-only"}
	if !r.o.RolePasswords {
		args = append(args, "--no-role-passwords")
	}
	args = append(args, r.server.Args(r.server.Maintenance())...)
	return m, r.first().Put(ctx, m, func(ctx context.Context, w io.Writer) error {
		end := &tail{max: 256}
		err := r.o.Runner.Run(ctx, runbook.Cmd{
			Path: r.tools.Path("pg_dumpall"), Args: args, Env: r.server.Env(), Stdout: io.MultiWriter(w, end),
		})
		if err != nil {
			return &stageError{StageDump, err}
		}
		m.Verified[catalog.L0] = r.o.Now().UTC()
		if !end.contains("-- PostgreSQL database cluster dump complete") {
			return &stageError{StageWalk, errors.New("what pg_dumpall wrote has no end: it was cut short")}
		}
		m.Verified[catalog.L1] = r.o.Now().UTC()
		return nil
	})
}

// stagedWriter tells in which stage a write went wrong.
type stagedWriter struct {
	stage Stage
	w     io.Writer
}

func (s *stagedWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		err = &stageError{s.stage, err}
	}
	return n, err
}
