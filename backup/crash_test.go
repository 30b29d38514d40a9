//go:build unix

package backup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/pgtest"
)

// crashJob is what a child that will be killed is told, through its environment.
type crashJob struct {
	DSN, Dir string
	Step     int // before which it kills itself; -1 counts the steps and prints the number
}

const crashEnv = "RUNBOOK_TEST_CRASH"

func TestMain(m *testing.M) {
	if job := os.Getenv(crashEnv); job != "" {
		crashChild(job)
		return
	}
	pgtest.Main(m)
}

// crashLease is short, so that a test need not wait long for a dead child's lease.
const crashLease = 500 * time.Millisecond

func crashNight(ctx context.Context, dsn string, target runbook.Target) (*backup.Report, error) {
	store, err := filestore.New(target, filestore.Options{LeaseTTL: crashLease, Owner: fmt.Sprint("pid ", os.Getpid())})
	if err != nil {
		return nil, err
	}
	report, err := backup.Run(ctx, dsn, store, backup.Options{Select: backup.Selection{Include: []string{"crash_*"}}, SweepAfter: time.Nanosecond, Workers: 2})
	if err != nil {
		return report, err
	}
	plan, err := backup.PlanRetention(ctx, store, backup.Retention{Default: backup.Policy{Last: 1}}, time.Now())
	if err != nil {
		return report, err
	}
	_, err = backup.ApplyRetention(ctx, store, plan)
	return report, err
}

func crashChild(text string) {
	var job crashJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		panic(err)
	}
	dir, err := dirtarget.Open(job.Dir, dirtarget.Options{})
	if err != nil {
		panic(err)
	}
	k := &killer{Target: dir, at: int64(job.Step)}
	if _, err := crashNight(context.Background(), job.DSN, k); err != nil {
		panic(err)
	}
	fmt.Println("steps", k.steps.Load())
}

// killer kills its own process at one step: before a call, in the middle of a Put, or after a call had its effect.
type killer struct {
	runbook.Target
	at    int64
	steps atomic.Int64
}

func (k *killer) step() {
	if k.steps.Add(1)-1 == k.at {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {} // until the signal is delivered
	}
}

func (k *killer) Put(ctx context.Context, key string, r io.Reader) error {
	k.step()
	err := k.Target.Put(ctx, key, &killerReader{k: k, r: r})
	k.step()
	return err
}

func (k *killer) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	k.step()
	return k.Target.Open(ctx, key)
}

func (k *killer) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	k.step()
	return k.Target.List(ctx, prefix)
}

func (k *killer) Delete(ctx context.Context, key string) error {
	k.step()
	err := k.Target.Delete(ctx, key)
	k.step()
	return err
}

// killerReader makes the second and the last read of a Put a step.
type killerReader struct {
	k     *killer
	r     io.Reader
	reads int
}

func (r *killerReader) Read(p []byte) (int, error) {
	if r.reads++; r.reads == 2 {
		r.k.step()
	}
	n, err := r.r.Read(p[:min(len(p), 512)])
	if err == io.EOF {
		r.k.step()
	}
	return n, err
}

func (k *killer) Unwrap() runbook.Target { return k.Target }

// A run and a retention are killed at every step of what they do to the store, on a real directory. Whatever happens: what is listed restores, what
// was listed before still is, and one undisturbed run later nothing is left over.
func TestCrash(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "crash_a")
	create(t, server, "crash_b")
	steps := crashSteps(t, server)
	var done int
	for step := 0; step < steps; step += crashStride {
		done++
		t.Run(fmt.Sprint("step ", step), func(t *testing.T) { crashAt(t, server, step) })
	}
	t.Logf("killed at %d of %d steps", done, steps)
}

func crashCommand(t *testing.T, server *pgtest.Server, dir string, step int) *exec.Cmd {
	t.Helper()
	job, err := json.Marshal(crashJob{server.DSN(), dir, step})
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+string(job))
	cmd.Stderr = t.Output()
	return cmd
}

func crashSteps(t *testing.T, server *pgtest.Server) int {
	t.Helper()
	dir := t.TempDir()
	prepareCrash(t, server, dir)
	out, err := crashCommand(t, server, dir, -1).Output()
	require.NoError(t, err)
	steps, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(string(out), "steps ")))
	require.NoError(t, err)
	require.Greater(t, steps, 40)
	return steps
}

// prepareCrash puts two nights into a directory, so that there is something to lose and something to delete.
func prepareCrash(t *testing.T, server *pgtest.Server, dir string) (newest map[string]time.Time) {
	t.Helper()
	target, err := dirtarget.Open(dir, dirtarget.Options{})
	require.NoError(t, err)
	defer target.Close()
	store := newStore(t, target, filestore.Options{})
	for range 2 {
		_, err := backup.Run(t.Context(), server.DSN(), store, backup.Options{Select: backup.Selection{Include: []string{"crash_*"}}})
		require.NoError(t, err)
	}
	return newestOf(t, store, nil)
}

// newestOf returns when the newest snapshot of each database was begun, and shows each snapshot to see.
func newestOf(t *testing.T, store catalog.Store, see func(*catalog.Snapshot)) map[string]time.Time {
	t.Helper()
	newest := make(map[string]time.Time)
	for s, err := range store.List(t.Context(), catalog.Query{}) {
		require.NoError(t, err)
		if s.Started.After(newest[s.Database]) {
			newest[s.Database] = s.Started
		}
		if see != nil {
			see(s)
		}
	}
	return newest
}

func crashAt(t *testing.T, server *pgtest.Server, step int) {
	dir := t.TempDir()
	before := prepareCrash(t, server, dir)
	err := crashCommand(t, server, dir, step).Run()
	require.ErrorContains(t, err, "killed", "the child must die at its step")

	target, err := dirtarget.Open(dir, dirtarget.Options{})
	require.NoError(t, err)
	defer target.Close()
	store := newStore(t, target, filestore.Options{})
	after := newestOf(t, store, func(s *catalog.Snapshot) { provable(t, server, store, s) })
	for database, at := range before {
		require.False(t, after[database].Before(at), "the newest snapshot of %q was lost", database)
	}

	time.Sleep(crashLease) // it needs no human
	report, err := crashNight(t.Context(), server.DSN(), target)
	require.NoError(t, err, "%s", report)
	var used []string
	for s, err := range store.List(t.Context(), catalog.Query{}) {
		require.NoError(t, err)
		require.Equal(t, report.Run, s.Run, "retention keeps the last one")
		used = append(used, s.Stored[0].Key, strings.NewReplacer(".dump.zst", ".json", ".sql.zst", ".json").Replace(s.Stored[0].Key))
	}
	require.Len(t, used, 6)
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			files = append(files, filepath.ToSlash(name))
		}
		return err
	}))
	require.ElementsMatch(t, used, files, "something is left over")
}

// provable makes sure that a listed snapshot restores: its archive is whole, holds what the manifest says and, in the full matrix, comes back from
// pg_restore as the same content.
func provable(t *testing.T, server *pgtest.Server, store catalog.Store, s *catalog.Snapshot) {
	t.Helper()
	data := archive(t, store, &s.Manifest)
	if s.Kind == catalog.Globals {
		require.Contains(t, string(data), "cluster dump complete")
		return
	}
	summary, err := pgarchive.Walk(strings.NewReader(string(data)))
	require.NoError(t, err)
	require.Empty(t, s.Content.Diff(&summary.Content))
	if crashStride > 1 {
		return
	}
	server.CreateDatabase(t, "crashcopy")
	file := filepath.Join(t.TempDir(), "archive")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	server.Run(t, "pg_restore", "crashcopy", "--exit-on-error", file)
	summary, err = pgarchive.Walk(strings.NewReader(string(server.Dump(t, "crashcopy"))))
	require.NoError(t, err)
	require.Empty(t, s.Content.Diff(&summary.Content))
	require.Equal(t, s.Content.Definitions, summary.Content.Definitions)
	server.Exec(t, "", "DROP DATABASE crashcopy")
}
