package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/pgname"
)

// copyBuffer is the size in bytes of the pieces in which archives are moved.
const copyBuffer = 256 << 10

// witness watches an archive pass, and says in the end whether it is the one that the manifest describes.
type witness struct {
	m      *catalog.Manifest
	walker *pgarchive.Walker
	hash   hash.Hash
	size   int64
}

func newWitness(m *catalog.Manifest) *witness {
	return &witness{m: m, walker: pgarchive.NewWalker(), hash: sha256.New()}
}

func (w *witness) Write(p []byte) (int, error) {
	w.hash.Write(p)
	w.size += int64(len(p))
	return w.walker.Write(p)
}

// close must be called once. readErr is what kept the archive from being read to its end, or nil.
func (w *witness) close(readErr error) (*pgarchive.Summary, error) {
	if readErr != nil {
		w.walker.Abort()
		return nil, &ArchiveError{w.m.ID, readErr}
	}
	summary, err := w.walker.Close()
	if err != nil {
		return nil, &ArchiveError{w.m.ID, err}
	}
	if err := checkSum(w.m, w.size, w.hash); err != nil {
		return nil, &ArchiveError{w.m.ID, err}
	}
	diffs := w.m.Content.Diff(&summary.Content)
	if w.m.Content.Definitions != summary.Content.Definitions {
		diffs = append(diffs, "definitions differ from those that the manifest describes")
	}
	if len(diffs) > 0 {
		return nil, &ArchiveError{w.m.ID, &MismatchError{diffs}}
	}
	return summary, nil
}

func checkSum(m *catalog.Manifest, size int64, h hash.Hash) error {
	if got := hex.EncodeToString(h.Sum(nil)); got != m.Archive.SHA256 || size != m.Archive.Size {
		return fmt.Errorf("it has %d bytes with SHA-256 %s, but %d with %s were stored", size, got, m.Archive.Size, m.Archive.SHA256)
	}
	return nil
}

// part returns what content says about the data of some tables only.
func part(c *catalog.Content, tables []Name) *catalog.Content {
	wanted := make(map[Name]bool, len(tables))
	for _, n := range tables {
		wanted[n] = true
	}
	p := &catalog.Content{}
	for _, t := range c.Tables {
		if wanted[Name{t.Schema, t.Name}] {
			p.Tables = append(p.Tables, t)
		}
	}
	return p
}

// verify dumps the scratch database again and compares its content with what was recorded.
func (j *job) verify(ctx context.Context) error {
	args := []string{"--format=custom", "--compress=0"}
	if j.plan.Encoding != "" {
		args = append(args, "--encoding="+j.plan.Encoding)
	}
	walker := pgarchive.NewWalker()
	err := j.o.Runner.Run(ctx, runbook.Cmd{
		Path: j.tool("pg_dump"), Args: append(args, j.server.Args(j.scratch)...),
		Env: j.server.Env(), Stdout: walker, Stderr: io.Discard,
	})
	if err != nil {
		walker.Abort()
		return fmt.Errorf("dump the restored database: %w", err)
	}
	summary, err := walker.Close()
	if err != nil {
		return fmt.Errorf("dump the restored database: %w", err)
	}
	want, got := j.plan.Manifest.Content, &summary.Content
	if j.plan.Part {
		want, got = part(want, j.plan.Tables), part(got, j.plan.Tables)
		if len(want.Tables) != len(j.plan.Tables) {
			return errors.New("the plan names tables that the manifest does not have")
		}
	}
	j.report.Rows = got.Rows()
	diffs := want.Diff(got)
	if !j.plan.Part && want.Definitions != got.Definitions {
		diffs = append(diffs, j.definitions(summary.TOC)...)
	}
	if len(diffs) > 0 {
		return &MismatchError{diffs}
	}
	return nil
}

// definitions compares what was restored with what the archive defines. It returns what counts as a difference and warns of the rest: expressions that PostgreSQL
// writes in another way after a restore, and everything if the versions differ.
func (j *job) definitions(got []pgarchive.Entry) (diffs []string) {
	d := pgarchive.CompareDefinitions(j.toc, got)
	if len(d.Rewritten) > 0 {
		j.warn("PostgreSQL writes the definition in another way than before the dump: %s", strings.Join(d.Rewritten, ", "))
	}
	for _, list := range []struct {
		what    string
		objects []string
	}{{"are missing", d.Missing}, {"should not be there", d.Extra}, {"are of another text", d.Changed}} {
		if len(list.objects) > 0 {
			diffs = append(diffs, fmt.Sprintf("definitions differ: these %s: %s", list.what, strings.Join(list.objects, ", ")))
		}
	}
	if !j.plan.Definition {
		for _, diff := range diffs {
			j.warn("%s, as may be between versions of PostgreSQL", diff)
		}
		return nil
	}
	return diffs
}

func (j *job) neutralise(ctx context.Context) error {
	conn, err := j.server.Connect(ctx, j.scratch)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	_, err = conn.PgConn().Exec(ctx, j.o.Neutralise).ReadAll()
	return err
}

// probeDSN returns a connection string for the scratch database, password included.
func (j *job) probeDSN() string {
	var dsn strings.Builder
	dsn.WriteString(strings.TrimPrefix(j.server.Args(j.scratch)[1], "--dbname="))
	for _, secret := range j.server.Secrets() {
		dsn.WriteString(" " + pgname.Conninfo("password", secret))
	}
	return dsn.String()
}
