package restore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/restore"
)

var long = flag.Bool("long", false, "run the whole matrices of crashes, cancels and losses")

// crash is what a child process is told to do, and where to die.
type crash struct {
	DSN, Archive, Manifest, Spool string
	Jobs                          int
	Undo                          bool
	Stage                         int // number of the stage at whose beginning it kills itself; -1 is never
}

const crashEnv = "RUNBOOK_RESTORE_CRASH"

// crashChild is this test binary as the child that is killed.
func crashChild() bool {
	var c crash
	if text := os.Getenv(crashEnv); text == "" {
		return false
	} else if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err)
	}
	var n int
	o := restore.Options{Replace: true, Jobs: c.Jobs, SpoolDir: c.Spool, Walk: restore.WalkNever, Events: restore.Events{Stage: func(i restore.StageInfo) {
		if n == c.Stage {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			time.Sleep(time.Minute)
		}
		n++
		fmt.Println(i.Stage)
	}}}
	err := func() error {
		if c.Undo {
			_, err := restore.Undo(context.Background(), c.DSN, "crash", o)
			return err
		}
		m, err := os.ReadFile(c.Manifest)
		if err != nil {
			return err
		}
		archive, err := os.ReadFile(c.Archive)
		if err != nil {
			return err
		}
		snap := &catalog.Snapshot{}
		if err := json.Unmarshal(m, &snap.Manifest); err != nil {
			return err
		}
		store := &memory{archives: map[string][]byte{snap.ID: archive}}
		plan, err := restore.NewPlan(context.Background(), c.DSN, store, snap, o)
		if err != nil {
			return err
		}
		_, err = restore.Run(context.Background(), c.DSN, store, plan, o)
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// start runs the child and returns the stages that it began. after, if not 0, is when to kill it.
func (c crash) start(t *testing.T, after time.Duration) (stages []string, killed bool) {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crashEnv+"="+string(text))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Start())
	if after > 0 {
		timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	err = cmd.Wait()
	for s := range bytes.FieldsSeq(out.Bytes()) {
		stages = append(stages, string(s))
	}
	if err != nil {
		require.Equal(t, -1, cmd.ProcessState.ExitCode(), "the child failed by itself: %s", errs.String())
	}
	return stages, err != nil
}

// A run that is killed at any moment leaves a live database that is whole and can be opened, and nothing that Heal or the next run does not remove.
func TestKilledAnywhere(t *testing.T) {
	s := pgtest.Start(t)
	s.CreateDatabase(t, "crash")
	dropLeftovers(t, s)
	s.Exec(t, "crash", "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000); SELECT lo_from_bytea(77, 'x')")
	store := &memory{}
	snap := store.backUp(t, s, "crash")
	dir := t.TempDir()
	c := crash{DSN: s.DSN(), Archive: filepath.Join(dir, "archive"), Manifest: filepath.Join(dir, "manifest"), Spool: t.TempDir(), Jobs: 1, Stage: -1}
	require.NoError(t, os.WriteFile(c.Archive, store.archives[snap.ID], 0o600))
	m, err := json.Marshal(snap.Manifest)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(c.Manifest, m, 0o600))
	s.Exec(t, "crash", "DELETE FROM t WHERE a > 700")

	// check looks at what a killed child left, and heals.
	check := func(what any) {
		t.Helper()
		rows := countLive(t, s, "crash")
		require.Contains(t, []int{700, 1000}, rows, what)
		_, err := restore.Heal(t.Context(), s.DSN())
		require.NoError(t, err, what)
		require.Empty(t, databases(t, s, "__restore_"), what)
		require.LessOrEqual(t, len(databases(t, s, "__old_")), 1, what)
		if rows != 1000 {
			require.Empty(t, databases(t, s, "__old_"), what)
			return
		}
		if len(databases(t, s, "__old_")) == 1 { // so that the next one has something to do
			_, err = restore.Undo(t.Context(), s.DSN(), "crash", restore.Options{})
			require.NoError(t, err, what)
			_, err = restore.Purge(t.Context(), s.DSN(), restore.Options{Now: func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }})
			require.NoError(t, err, what)
			require.Empty(t, databases(t, s, "__old_"), what)
		}
	}
	stages, killed := c.start(t, 0)
	require.False(t, killed)
	require.Greater(t, len(stages), 9)
	check("not killed")

	kills := 0
	for i, stage := range stages {
		if !*long && stage != "mark" && stage != "verify" && stage != "swapped" {
			continue
		}
		c.Stage = i
		_, killed := c.start(t, 0)
		require.True(t, killed, stage)
		kills++
		check(stage)
	}

	// At any other moment.
	c.Stage = -1
	random := rand.New(rand.NewPCG(7, 7))
	moments := 2
	if *long {
		moments = 60
	}
	begin := time.Now()
	c.start(t, 0)
	whole := time.Since(begin)
	check("not killed")
	for range moments {
		after := time.Duration(random.Int64N(int64(whole)))
		c.Jobs = 1 + random.IntN(2)
		if _, killed := c.start(t, after); killed {
			kills++
		}
		check(after)
	}

	// The next run heals without being asked to, spooled archives included.
	c.Jobs = 2
	c.Stage = indexOf(t, stages, "restore") + 1 // one more than without jobs: spool
	_, killed = c.start(t, 0)
	require.True(t, killed)
	kills++
	r := mustRun(t, s.DSN(), store, snap, restore.Options{Replace: true, SpoolDir: c.Spool})
	require.Len(t, r.Healed, 1)
	files, err := os.ReadDir(c.Spool)
	require.NoError(t, err)
	require.Empty(t, files)
	require.Equal(t, 1000, one[int](t, s, "crash", "SELECT count(*) FROM t"))

	// An undo that is killed.
	c.Undo = true
	for i := range 4 {
		c.Stage = i
		c.start(t, 0)
		kills++
		require.Contains(t, []int{700, 1000}, countLive(t, s, "crash"))
		require.Len(t, databases(t, s, "__old_"), 1)
	}
	t.Logf("%d kills", kills)
}

// countLive counts the rows of t. It fails if the database is gone or closed, or refuses more than the one time that a session meets with which a swap overlaps:
// the backend of a killed client may be in the middle of one.
func countLive(t *testing.T, s *pgtest.Server, database string) (rows int) {
	t.Helper()
	require.True(t, one[bool](t, s, "", "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datallowconn)", database), "the name is missing or closed")
	conn, err := s.Conn().Connect(t.Context(), database)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "3D000" && strings.Contains(pg.Detail, "just been dropped or renamed") {
		conn, err = s.Conn().Connect(t.Context(), database)
	}
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&rows))
	return rows
}

func indexOf(t *testing.T, list []string, what string) int {
	t.Helper()
	for i, s := range list {
		if s == what {
			return i
		}
	}
	t.Fatalf("no %s in %s", what, list)
	return -1
}

// A run in progress is not healed away, and a second one on the same database is refused.
func TestLivingRunIsLeftAlone(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "alive")
	store := &memory{}
	snap := store.backUp(t, s, "alive")
	o := restore.Options{Replace: true}
	o.Events.Stage = func(i restore.StageInfo) {
		if i.Stage != restore.StageVerify {
			return
		}
		dropped, err := restore.Heal(context.Background(), s.DSN())
		require.NoError(t, err)
		require.Empty(t, dropped)
		_, err = tryRun(t, s.DSN(), store, snap, restore.Options{Replace: true, LockTimeout: time.Millisecond})
		require.ErrorContains(t, err, "another run works on this database")
		_, err = restore.Undo(context.Background(), s.DSN(), "alive", restore.Options{LockTimeout: time.Millisecond})
		require.ErrorContains(t, err, "another run works on this database")
		// The same through another maintenance database, where PostgreSQL's advisory locks are others.
		_, err = tryRun(t, s.DSN()+" dbname=template1", store, snap, restore.Options{Replace: true, LockTimeout: time.Millisecond})
		require.ErrorContains(t, err, "another run works on this database")
	}
	mustRun(t, s.DSN(), store, snap, o)
}

// Heal drops nothing that only looks like ours.
func TestHealSparesStrangers(t *testing.T) {
	s := pgtest.Start(t)
	dropLeftovers(t, s)
	spared := []string{"x__restore_01234567_abcdefgh", "y__restore_01234567_abcdefgh", "z__restore_1", "w__restore_01234567_abcdefgh"}
	for _, name := range spared {
		s.CreateDatabase(t, name)
	}
	const mark = `runbook restore {"kind":"scratch","live":"x","oid":1,"at":"2026-01-01T00:00:00Z"}`
	s.Exec(t, "", `COMMENT ON DATABASE y__restore_01234567_abcdefgh IS '`+mark+`'; ALTER DATABASE z__restore_1 CONNECTION LIMIT 1918986354`)
	s.Exec(t, "", `COMMENT ON DATABASE w__restore_01234567_abcdefgh IS 'mine'; ALTER DATABASE w__restore_01234567_abcdefgh CONNECTION LIMIT 1918986354`)
	dropped, err := restore.Heal(t.Context(), s.DSN())
	require.NoError(t, err)
	require.Empty(t, dropped)
	require.Len(t, databases(t, s, "__restore_"), 4)

	// One that was killed before it got its mark is ours by its connection limit.
	s.Exec(t, "", `ALTER DATABASE x__restore_01234567_abcdefgh CONNECTION LIMIT 1918986354`)
	dropped, err = restore.Heal(t.Context(), s.DSN())
	require.NoError(t, err)
	require.Equal(t, []string{"x__restore_01234567_abcdefgh"}, dropped)
}

// A mark alone is not enough either: an administrator may have renamed what we kept, and means to keep it.
func TestPurgeSparesWhatWasRenamed(t *testing.T) {
	s := pgtest.Start(t)
	dropLeftovers(t, s)
	s.CreateDatabase(t, "renamed")
	store := &memory{}
	snap := store.backUp(t, s, "renamed")
	r := mustRun(t, s.DSN(), store, snap, restore.Options{Replace: true})
	s.Exec(t, "", `ALTER DATABASE "`+r.Old+`" RENAME TO precious`)
	purged, err := restore.Purge(t.Context(), s.DSN(), restore.Options{Now: func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }})
	require.NoError(t, err)
	require.Empty(t, purged)
	require.Len(t, databases(t, s, "precious"), 1)
	_, err = restore.Undo(t.Context(), s.DSN(), "renamed", restore.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

// When a client is killed in CREATE DATABASE its backend goes on, and the database appears only later. The backend holds the lock until then.
func TestHealWaitsForACreateInFlight(t *testing.T) {
	s := pgtest.Start(t)
	dropLeftovers(t, s)
	const name = "x__restore_01234567_abcdefgh"
	orphan, err := s.Conn().Connect(t.Context(), "")
	require.NoError(t, err)
	_, err = orphan.Exec(t.Context(), fmt.Sprintf("SELECT pg_advisory_lock(%d, %d)", 0x72626b72, 0x01234567))
	require.NoError(t, err)
	created := make(chan error, 1)
	go func() {
		time.Sleep(500 * time.Millisecond)
		_, err := orphan.Exec(context.Background(), "CREATE DATABASE "+name+" TEMPLATE template0 CONNECTION LIMIT 1918986354")
		orphan.Close(context.Background())
		created <- err
	}()
	dropped, err := restore.Heal(t.Context(), s.DSN())
	require.NoError(t, <-created)
	require.NoError(t, err)
	require.Equal(t, []string{name}, dropped)
	require.Empty(t, databases(t, s, "__restore_"))
}
