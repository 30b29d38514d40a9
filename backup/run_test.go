package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/targettest"
	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/internal/redact/redacttest"
)

func newStore(t testing.TB, target runbook.Target, o filestore.Options) *filestore.Store {
	t.Helper()
	s, err := filestore.New(target, o)
	require.NoError(t, err)
	return s
}

func create(t testing.TB, server *pgtest.Server, name string) {
	t.Helper()
	server.CreateDatabase(t, name)
	server.Exec(t, name, `CREATE TABLE article (id int PRIMARY KEY, name text); INSERT INTO article SELECT i, 'article ' || i FROM generate_series(1, 100) i;
		CREATE TABLE empty (); CREATE SEQUENCE s; SELECT nextval('s'); SELECT lo_from_bytea(0, 'large');`)
}

// later runs a statement at the end of the test.
func later(t testing.TB, server *pgtest.Server, sql string) {
	t.Helper()
	t.Cleanup(func() {
		conn, err := server.Conn().Connect(context.Background(), "")
		require.NoError(t, err)
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), sql)
		require.NoError(t, err)
	})
}

func snapshots(t testing.TB, store catalog.Store) map[string]*catalog.Snapshot {
	t.Helper()
	found := make(map[string]*catalog.Snapshot)
	for s, err := range store.List(t.Context(), catalog.Query{}) {
		require.NoError(t, err)
		require.NotContains(t, found, s.Database)
		found[s.Database] = s
	}
	return found
}

func archive(t testing.TB, store catalog.Store, m *catalog.Manifest) []byte {
	t.Helper()
	r, err := store.Open(t.Context(), m)
	require.NoError(t, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	return data
}

func result(t testing.TB, report *backup.Report, database string) backup.Result {
	t.Helper()
	for _, r := range report.Results {
		if r.Database == database {
			return r
		}
	}
	require.Fail(t, "no result", "for database %q in\n%s", database, report)
	return backup.Result{}
}

func TestRun(t *testing.T) {
	server := pgtest.Start(t)
	hostile := []string{"run_Dupont", "run host=evil dbname=x", "run -f /tmp/x", `run "q'u\o`, "run\nline", "run/../..", "run É"}
	for _, name := range hostile {
		create(t, server, name)
	}
	server.CreateDatabase(t, "decoy")
	server.CreateDatabase(t, "run_template", "IS_TEMPLATE true")
	later(t, server, `ALTER DATABASE run_template IS_TEMPLATE false`)
	server.CreateDatabase(t, "run_closed", "ALLOW_CONNECTIONS false")
	server.Exec(t, "", `ALTER DATABASE "run_Dupont" SET search_path TO "$user", public, "odd, one"; ALTER DATABASE "run_Dupont" CONNECTION LIMIT 7;
		COMMENT ON DATABASE "run_Dupont" IS 'of a pupil'; REVOKE TEMPORARY ON DATABASE "run_Dupont" FROM PUBLIC`)

	memory := targettest.NewMemory()
	store := newStore(t, memory, filestore.Options{})
	metrics := filepath.Join(t.TempDir(), "backup.prom")
	var mu sync.Mutex
	var finished []string
	report, err := backup.Run(t.Context(), server.DSN(), store, backup.Options{
		Select: backup.Selection{Include: []string{"run*"}}, Workers: 3, Labels: map[string]string{"site": "lycee"}, MetricsFile: metrics,
		Events: backup.Events{Finished: func(r backup.Result) { mu.Lock(); defer mu.Unlock(); finished = append(finished, r.Database) }},
	})
	require.NoError(t, err, "%s", report)
	require.Equal(t, len(hostile), report.Count(backup.BackedUp), "%s", report)
	require.Equal(t, 2, report.Count(backup.Skipped), "%s", report)
	require.Contains(t, result(t, report, "run_template").Reason, "template")
	require.Contains(t, result(t, report, "run_closed").Reason, "allows no connections")
	require.ElementsMatch(t, append([]string{""}, hostile...), finished)

	found := snapshots(t, store)
	require.Len(t, found, len(hostile)+1, "the globals and no decoy")
	for _, name := range hostile {
		s := found[name]
		require.NotNil(t, s, name)
		level, _ := s.Proven()
		require.Equal(t, catalog.L2, level)
		require.EqualValues(t, 100, s.Content.Rows())
		require.Len(t, s.Content.Tables, 2)
		require.EqualValues(t, 1, s.Content.LargeObjects.Count)
		require.Equal(t, "lycee", s.Labels["site"])
		require.Equal(t, "1.0", s.Extensions["plpgsql"])
		require.NotEmpty(t, s.LSN)
		require.Equal(t, server.Version(), s.Cluster.Version)

		// The outside: a stock pg_restore brings back the same dump.
		server.CreateDatabase(t, "copy")
		file := filepath.Join(t.TempDir(), "archive")
		require.NoError(t, os.WriteFile(file, archive(t, store, &s.Manifest), 0o600))
		server.Run(t, "pg_restore", "copy", "--exit-on-error", file)
		require.Equal(t, string(server.PlainDump(t, name)), string(server.PlainDump(t, "copy")))
		server.Exec(t, "", "DROP DATABASE copy")
	}
	p := found["run_Dupont"].Properties
	require.Equal(t, 7, p.ConnectionLimit)
	require.Equal(t, "of a pupil", p.Comment)
	require.Equal(t, []catalog.Setting{{Name: "search_path", Value: `"$user", public, "odd, one"`}}, p.Settings)
	require.False(t, p.DefaultACL)
	require.Contains(t, p.ACL, catalog.Grant{Grantor: "postgres", Privilege: "CONNECT"})
	require.NotContains(t, p.ACL, catalog.Grant{Grantor: "postgres", Privilege: "TEMPORARY"})
	require.Equal(t, "UTF8", p.Encoding)

	require.Contains(t, string(archive(t, store, &found[""].Manifest)), "CREATE ROLE postgres")
	text, err := os.ReadFile(metrics)
	require.NoError(t, err)
	require.Contains(t, string(text), `runbook_backup_success{database="run\nline"} 1`)
	require.Contains(t, string(text), `runbook_backup_success{database="run \"q'u\\o"} 1`)
}

func TestOneBrokenDatabaseHarmsNoOther(t *testing.T) {
	server := pgtest.Start(t)
	for _, name := range []string{"iso_a", "iso_locked", "iso_broken", "iso_z"} {
		create(t, server, name)
	}
	holder := server.Connect(t, "iso_locked")
	_, err := holder.Exec(t.Context(), "BEGIN; LOCK TABLE article IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	var path string
	require.NoError(t, server.Connect(t, "iso_broken").QueryRow(t.Context(),
		`SELECT current_setting('data_directory') || '/' || pg_relation_filepath('article')`).Scan(&path))
	server.Exec(t, "", "CHECKPOINT") // or the server would miss the file when it writes back
	require.NoError(t, os.Remove(path))

	memory := targettest.NewMemory()
	store := newStore(t, memory, filestore.Options{})
	report, err := backup.Run(t.Context(), server.DSN(), store, backup.Options{
		Select: backup.Selection{Include: []string{"iso_*"}}, LockTimeout: 200 * time.Millisecond, NoGlobals: true,
	})
	require.Error(t, err)
	require.Equal(t, 2, report.Count(backup.BackedUp), "%s", report)
	require.Equal(t, 2, report.Count(backup.Failed), "%s", report)
	locked, ok := errors.AsType[*backup.DatabaseError](result(t, report, "iso_locked").Err)
	require.True(t, ok)
	require.Equal(t, backup.StageDump, locked.Stage)
	require.True(t, locked.Retryable)
	require.Contains(t, locked.Hint, "LockTimeout")
	require.ErrorContains(t, err, `database "iso_broken": dump`)
	require.Len(t, snapshots(t, store), 2)
	for o, err := range memory.List(t.Context(), "") {
		require.NoError(t, err)
		require.NotContains(t, o.Key, "locked")
		require.NotContains(t, o.Key, "broken")
		require.NotContains(t, o.Key, "lease")
	}
}

func TestAllOrNothing(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "all_a")
	create(t, server, "all_b")
	staging, store := newStore(t, targettest.NewMemory(), filestore.Options{}), newStore(t, targettest.NewMemory(), filestore.Options{})
	fail := true
	o := backup.Options{
		Select: backup.Selection{Include: []string{"all_*"}}, Staging: staging,
		Hooks: backup.Hooks{BeforeDatabase: func(_ context.Context, database string) error {
			if fail && database == "all_b" {
				return errors.New("not today")
			}
			return nil
		}},
	}
	report, err := backup.Run(t.Context(), server.DSN(), store, o)
	require.ErrorContains(t, err, "not today")
	require.Equal(t, 2, report.Count(backup.Failed), "%s", report)
	require.Empty(t, snapshots(t, store))
	require.Len(t, snapshots(t, staging), 2, "what was dumped stays until it is replaced")

	fail = false
	report, err = backup.Run(t.Context(), server.DSN(), store, o)
	require.NoError(t, err, "%s", report)
	require.Len(t, snapshots(t, store), 3)
	require.Empty(t, snapshots(t, staging))
}

func TestDryRunChangesNothing(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "dry")
	memory := targettest.NewMemory()
	report, err := backup.Run(t.Context(), server.DSN(), newStore(t, memory, filestore.Options{}), backup.Options{
		Select: backup.Selection{Names: []string{"dry"}}, DryRun: true,
	})
	require.NoError(t, err)
	require.Equal(t, backup.Planned, result(t, report, "dry").Status)
	for range memory.List(t.Context(), "") {
		t.Error("something was stored")
	}
}

func TestWhatIsNotFoundIsAnErrorAndTheRestIsBackedUp(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "there")
	store := newStore(t, targettest.NewMemory(), filestore.Options{})
	report, err := backup.Run(t.Context(), server.DSN(), store, backup.Options{Select: backup.Selection{Names: []string{"there", "gone"}}})
	require.ErrorContains(t, err, `database "gone" does not exist`)
	require.Equal(t, 1, report.Count(backup.BackedUp))
}

func TestADatabaseDroppedWhileTheRunGoesOnIsSkipped(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "drop_a")
	create(t, server, "drop_b")
	store := newStore(t, targettest.NewMemory(), filestore.Options{})
	report, err := backup.Run(t.Context(), server.DSN(), store, backup.Options{
		Select: backup.Selection{Include: []string{"drop_*"}},
		Hooks: backup.Hooks{BeforeRun: func(context.Context, []backup.Choice) error {
			server.Exec(t, "", "DROP DATABASE drop_b")
			return nil
		}},
	})
	require.NoError(t, err, "%s", report)
	require.Equal(t, backup.Skipped, result(t, report, "drop_b").Status)
	require.Contains(t, result(t, report, "drop_b").Reason, "dropped")
}

func TestASecondRunIsRefusedWhileTheFirstLives(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "lease_db")
	memory := targettest.NewMemory()
	o := backup.Options{Select: backup.Selection{Names: []string{"lease_db"}}}
	o.Hooks.BeforeDatabase = func(ctx context.Context, _ string) error {
		_, err := backup.Run(ctx, server.DSN(), newStore(t, memory, filestore.Options{Owner: "second"}), backup.Options{})
		held, ok := errors.AsType[*catalog.HeldError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, "first", held.Owner)
		return nil
	}
	_, err := backup.Run(t.Context(), server.DSN(), newStore(t, memory, filestore.Options{Owner: "first"}), o)
	require.NoError(t, err)
}

func TestTimeOutAndCancel(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "slow")
	holder := server.Connect(t, "slow")
	_, err := holder.Exec(t.Context(), "BEGIN; LOCK TABLE article IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	memory := targettest.NewMemory()
	store := newStore(t, memory, filestore.Options{})
	o := backup.Options{Select: backup.Selection{Names: []string{"slow"}}, NoGlobals: true}

	o.DatabaseTimeout = 300 * time.Millisecond
	report, err := backup.Run(t.Context(), server.DSN(), store, o)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "database's time-out")
	require.Equal(t, 1, report.Count(backup.Failed))

	o.DatabaseTimeout, o.RunTimeout = 0, 300*time.Millisecond
	_, err = backup.Run(t.Context(), server.DSN(), store, o)
	require.ErrorContains(t, err, "run's time-out")

	o.RunTimeout = 0
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("the operator pressed ^C")
	time.AfterFunc(300*time.Millisecond, func() { cancel(stop) })
	_, err = backup.Run(ctx, server.DSN(), store, o)
	require.ErrorIs(t, err, stop)
	for o := range memory.List(t.Context(), "") {
		t.Errorf("%s is left", o.Key)
	}
}

// pg_dump is replaced by one that misbehaves: each kind must fail the dump and leave nothing.
func TestADumpThatLies(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "lies")
	for name, lie := range map[string]struct {
		bend func([]byte) []byte
		want backup.Stage
	}{
		"cut at its last byte": {func(b []byte) []byte { return b[:len(b)-1] }, backup.StageWalk},
		"cut in the middle":    {func(b []byte) []byte { return b[:len(b)/2] }, backup.StageWalk},
		"empty":                {func(b []byte) []byte { return nil }, backup.StageWalk},
		"no archive":           {func(b []byte) []byte { return []byte("pg_dump: warning") }, backup.StageWalk},
		"something behind it":  {func(b []byte) []byte { return append(b, 0) }, backup.StageWalk},
	} {
		t.Run(name, func(t *testing.T) {
			memory := targettest.NewMemory()
			report, err := backup.Run(t.Context(), server.DSN(), newStore(t, memory, filestore.Options{}), backup.Options{
				Select: backup.Selection{Names: []string{"lies"}}, NoGlobals: true,
				Runner: runbook.RunnerFunc(func(ctx context.Context, c runbook.Cmd) error {
					var whole bytes.Buffer
					out := c.Stdout
					c.Stdout = &whole
					if err := (runbook.Local{}).Run(ctx, c); err != nil {
						return err
					}
					_, err := out.Write(lie.bend(whole.Bytes()))
					return err
				}),
			})
			e, ok := errors.AsType[*backup.DatabaseError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, lie.want, e.Stage, "%v", err)
			require.Equal(t, 1, report.Count(backup.Failed))
			for o := range memory.List(t.Context(), "") {
				t.Errorf("%s is left", o.Key)
			}
		})
	}
}

func TestGlobalsThatAreCutShort(t *testing.T) {
	server := pgtest.Start(t)
	memory := targettest.NewMemory()
	report, err := backup.Run(t.Context(), server.DSN(), newStore(t, memory, filestore.Options{}), backup.Options{
		Select: backup.Selection{Names: []string{"postgres"}},
		Runner: runbook.RunnerFunc(func(ctx context.Context, c runbook.Cmd) error {
			if filepath.Base(c.Path) != "pg_dumpall" {
				return runbook.Local{}.Run(ctx, c)
			}
			_, err := io.WriteString(c.Stdout, "CREATE ROLE x;\n")
			return err
		}),
	})
	require.ErrorContains(t, err, "globals: walk")
	require.Equal(t, backup.Failed, report.Globals.Status)
	require.Equal(t, 1, report.Count(backup.BackedUp))
}

// The password of the server, once from the connection string and once from a pgpass file, the verifier of a role and an age identity are looked for in
// everything that others can see.
func TestSecretsAreNowhereToBeSeen(t *testing.T) {
	server := pgtest.Start(t)
	password := server.Conn().Secrets()[0]
	create(t, server, "secret_db")
	server.Exec(t, "", `CREATE ROLE keeper PASSWORD 'Tr0ub4dor&3'`)
	later(t, server, `DROP ROLE keeper`)
	var verifier string
	require.NoError(t, server.Connect(t, "").QueryRow(t.Context(), `SELECT rolpassword FROM pg_authid WHERE rolname = 'keeper'`).Scan(&verifier))
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	secrets := []string{password, verifier, identity.String()}

	passfile := filepath.Join(t.TempDir(), "pgpass")
	require.NoError(t, os.WriteFile(passfile, []byte("*:*:*:*:"+password+"\n"), 0o600))
	fromFile := strings.Replace(server.DSN(), pgname.Conninfo("password", password), pgname.Conninfo("passfile", passfile), 1)
	require.NotContains(t, fromFile, password)
	wrong := strings.Replace(server.DSN(), password, "wrong"+password, 1)

	var log, seen bytes.Buffer
	stop := redacttest.Watch(secrets...)
	recorder := &redacttest.Recorder{Runner: runbook.Local{}}
	memory := targettest.NewMemory()
	for _, dsn := range []string{server.DSN(), fromFile, wrong} {
		store := newStore(t, memory, filestore.Options{Recipients: []string{identity.Recipient().String()}, Identity: []byte(identity.String()), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		report, err := backup.Run(t.Context(), dsn, store, backup.Options{
			Select: backup.Selection{Names: []string{"secret_db", "gone"}}, Runner: recorder, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Events: backup.Events{Started: func(i backup.StartInfo) { fmt.Fprintln(&seen, i) }, Finished: func(r backup.Result) { fmt.Fprintln(&seen, r) }},
		})
		require.Error(t, err)
		data, jsonErr := json.Marshal(report)
		require.NoError(t, jsonErr)
		fmt.Fprintln(&seen, err, report, string(data))
		require.Equal(t, dsn != wrong, report.Count(backup.BackedUp) == 1, "%s", report)
	}
	leaks, looked := stop()
	require.Empty(t, leaks)
	require.Positive(t, looked)
	require.NotEmpty(t, recorder.Commands())
	for o, err := range memory.List(t.Context(), "") {
		require.NoError(t, err)
		r, err := memory.Open(t.Context(), o.Key)
		require.NoError(t, err)
		content, err := io.ReadAll(r)
		require.NoError(t, err)
		seen.Write(content)
		require.NotEmpty(t, content)
	}
	for _, secret := range secrets {
		require.NotContains(t, seen.String(), secret)
		require.NotContains(t, log.String(), secret)
	}
	require.Empty(t, recorder.Leaks(secrets...))
	for s, err := range newStore(t, memory, filestore.Options{Identity: []byte(identity.String())}).List(t.Context(), catalog.Query{Kind: catalog.Globals}) {
		require.NoError(t, err)
		sql := archive(t, newStore(t, memory, filestore.Options{Identity: []byte(identity.String())}), &s.Manifest)
		require.NotContains(t, string(sql), "SCRAM-SHA-256$", "role passwords are stored only if asked for")
	}
}

func TestRetentionOnAStore(t *testing.T) {
	server := pgtest.Start(t)
	create(t, server, "keep")
	memory := targettest.NewMemory()
	store := newStore(t, memory, filestore.Options{})
	now := time.Date(2026, 11, 1, 2, 0, 0, 0, time.UTC)
	for range 5 {
		_, err := backup.Run(t.Context(), server.DSN(), store, backup.Options{
			Select: backup.Selection{Names: []string{"keep"}}, NoGlobals: true, Now: func() time.Time { return now },
		})
		require.NoError(t, err)
		now = now.AddDate(0, 0, 1)
	}
	var all []*catalog.Snapshot
	for s, err := range store.List(t.Context(), catalog.Query{}) {
		require.NoError(t, err)
		all = append(all, s)
	}
	require.NoError(t, store.Record(t.Context(), &all[1].Manifest, catalog.Evidence{At: now, Passed: true, Level: catalog.L4}))
	plan, err := backup.PlanRetention(t.Context(), store, backup.Retention{Default: backup.Policy{Last: 2}}, now)
	require.NoError(t, err)
	n, _ := plan.Deletions()
	require.Equal(t, 2, n, "%s", plan)

	// Between plan and execution the proven one turns out to be bad and an older one to be the newest proven.
	require.NoError(t, store.Record(t.Context(), &all[1].Manifest, catalog.Evidence{At: now.Add(time.Hour), Passed: false, Level: catalog.L4}))
	require.NoError(t, store.Record(t.Context(), &all[0].Manifest, catalog.Evidence{At: now, Passed: true, Level: catalog.L4}))
	done, err := backup.ApplyRetention(t.Context(), store, plan)
	require.ErrorContains(t, err, "newest that was proven restorable")
	require.Len(t, done, 1)
	var left []string
	for s, err := range store.List(t.Context(), catalog.Query{}) {
		require.NoError(t, err)
		left = append(left, s.ID)
	}
	require.Equal(t, []string{all[0].ID, all[1].ID, all[3].ID, all[4].ID}, left)
}

func TestOptionsReportEveryProblem(t *testing.T) {
	_, err := backup.Run(t.Context(), "host=/nowhere user=x", nil, backup.Options{Workers: -1, LockTimeout: -1, MetricsFile: "x.txt"})
	for _, want := range []string{"workers", "lock time-out", ".prom"} {
		require.ErrorContains(t, err, want)
	}
	_, err = backup.Run(t.Context(), "host=/nowhere user=x", newStore(t, targettest.NewMemory(), filestore.Options{}), backup.Options{})
	require.ErrorContains(t, err, "/nowhere")
}
