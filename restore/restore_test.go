package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/restore"
)

// schema has one of everything that a restore may lose.
const schema = `
CREATE SCHEMA shop;
CREATE TYPE shop.mood AS ENUM ('sad', 'ok');
CREATE TABLE shop.customer (id serial PRIMARY KEY, name text NOT NULL, mood shop.mood DEFAULT 'ok');
CREATE TABLE shop.bill (id bigint GENERATED ALWAYS AS IDENTITY, customer int REFERENCES shop.customer, total numeric(10,2), doc jsonb);
CREATE INDEX bill_customer ON shop.bill (customer);
INSERT INTO shop.customer (name) SELECT 'customer ' || i || E' \t\\ "é' FROM generate_series(1, 500) i;
INSERT INTO shop.bill (customer, total, doc) SELECT 1 + i % 500, i / 7.0, jsonb_build_object('i', i) FROM generate_series(1, 3000) i;
CREATE TABLE public.other (a int, b bytea);
INSERT INTO public.other SELECT i, decode(md5(i::text), 'hex') FROM generate_series(1, 100) i;
CREATE VIEW shop.total AS SELECT customer, sum(total) FROM shop.bill GROUP BY customer;
CREATE MATERIALIZED VIEW shop.rich AS SELECT * FROM shop.total WHERE sum > 100;
CREATE FUNCTION shop.twice(i int) RETURNS int LANGUAGE sql AS 'SELECT 2 * i';
COMMENT ON TABLE shop.bill IS 'what they owe; it''s "much"';
SELECT lo_from_bytea(4711, 'large and small'), lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex'));
`

func fixture(t testing.TB, s *pgtest.Server, name string) {
	t.Helper()
	s.CreateDatabase(t, name)
	s.Exec(t, name, schema)
	dropLeftovers(t, s)
}

// dropLeftovers removes at the end of a test what it restored.
func dropLeftovers(t testing.TB, s *pgtest.Server) {
	t.Cleanup(func() {
		conn, err := s.Conn().Connect(context.Background(), "")
		require.NoError(t, err)
		defer conn.Close(context.Background())
		rows, err := conn.Query(context.Background(), `SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')`)
		require.NoError(t, err)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		for _, n := range names {
			_, err := conn.Exec(context.Background(), "DROP DATABASE IF EXISTS "+pgname.Ident(n)+" WITH (FORCE)")
			require.NoError(t, err)
		}
	})
}

// role creates a role that is dropped at the end of the test, with what it owns in other databases dropped before.
func role(t testing.TB, s *pgtest.Server, name, options string) {
	t.Helper()
	t.Cleanup(func() {
		conn, err := s.Conn().Connect(context.Background(), "")
		require.NoError(t, err)
		defer conn.Close(context.Background())
		_, err = conn.Exec(context.Background(), "DROP ROLE IF EXISTS "+pgname.Ident(name))
		require.NoError(t, err)
	})
	s.Exec(t, "", "CREATE ROLE "+pgname.Ident(name)+" "+options)
}

func mustPlan(t testing.TB, dsn string, store catalog.Store, snap *catalog.Snapshot, o restore.Options) *restore.Plan {
	t.Helper()
	p, err := restore.NewPlan(t.Context(), dsn, store, snap, o)
	require.NoError(t, err)
	return p
}

func mustRun(t testing.TB, dsn string, store catalog.Store, snap *catalog.Snapshot, o restore.Options) *restore.Report {
	t.Helper()
	p := mustPlan(t, dsn, store, snap, o)
	require.NoError(t, p.Err(), p)
	r, err := restore.Run(t.Context(), dsn, store, p, o)
	require.NoError(t, err, p)
	return r
}

func tryRun(t testing.TB, dsn string, store catalog.Store, snap *catalog.Snapshot, o restore.Options) (*restore.Report, error) {
	t.Helper()
	p, err := restore.NewPlan(t.Context(), dsn, store, snap, o)
	if err != nil {
		return nil, err
	}
	return restore.Run(t.Context(), dsn, store, p, o)
}

func TestRestoreBesideIsByteForByte(t *testing.T) {
	s := pgtest.Start(t)
	role(t, s, `own"er`, "")
	role(t, s, "reader", "")
	role(t, s, "grantor", "")
	dropLeftovers(t, s)
	for name, prepare := range map[string]string{
		"empty":                                 "",
		`we"ird 'näme; -- =x /.. ` + "\n" + `\`: schema,
		"--option=x": schema + `ALTER TABLE shop.bill OWNER TO "own""er"; GRANT SELECT ON shop.bill TO reader;
			ALTER TABLE shop.customer ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON shop.customer FOR SELECT TO reader USING (id < 10);`,
		strings.Repeat("n", 63): schema,
	} {
		t.Run(name[:min(len(name), 8)], func(t *testing.T) {
			s.CreateDatabase(t, name)
			id := pgname.Ident(name)
			s.Exec(t, "", `ALTER DATABASE `+id+` OWNER TO "own""er"; COMMENT ON DATABASE `+id+` IS 'a "comment" of ''ours'' \'`)
			s.Exec(t, "", `ALTER DATABASE `+id+` SET search_path TO "$user", 'we, ird', public; ALTER DATABASE `+id+` SET work_mem TO '5MB';
				ALTER DATABASE `+id+` SET my.own TO 'a, "b" ''c'''; ALTER ROLE reader IN DATABASE `+id+` SET temp_tablespaces TO ''`)
			s.Exec(t, "", `REVOKE ALL ON DATABASE `+id+` FROM PUBLIC; GRANT CONNECT ON DATABASE `+id+` TO grantor WITH GRANT OPTION`)
			s.Exec(t, "", `SET ROLE grantor; GRANT CONNECT ON DATABASE `+id+` TO reader; RESET ROLE`)
			s.Exec(t, "", `ALTER DATABASE `+id+` CONNECTION LIMIT 0`)
			s.Exec(t, name, prepare)
			store := &memory{}
			snap := store.backUp(t, s, name)
			for _, o := range []restore.Options{{As: "copy"}, {As: "copy2", Jobs: 2, SpoolDir: t.TempDir()}} {
				if o.Jobs > 1 && !*long && name != "--option=x" {
					continue
				}
				r := mustRun(t, s.DSN(), store, snap, o)
				require.Equal(t, catalog.L4, r.Level)
				require.Equal(t, snap.Content.Rows(), r.Rows)
				require.Empty(t, r.Warnings)
				require.Equal(t, string(s.PlainDump(t, name)), string(s.PlainDump(t, o.As)))
				got, _ := readProperties(t, s, o.As)
				want := *snap.Properties
				require.ElementsMatch(t, want.ACL, got.ACL)
				got.ACL, want.ACL = nil, nil
				require.Equal(t, want, got)
				if o.SpoolDir != "" {
					files, err := os.ReadDir(o.SpoolDir)
					require.NoError(t, err)
					require.Empty(t, files)
				}
				s.Exec(t, "", "DROP DATABASE "+o.As)
			}
			require.Empty(t, databases(t, s, "__restore_", "__old_"))
		})
	}
}

func TestDefaultPrivilegesComeBack(t *testing.T) {
	s := pgtest.Start(t)
	role(t, s, "anybody", "LOGIN")
	fixture(t, s, "plainacl")
	store := &memory{}
	snap := store.backUp(t, s, "plainacl")
	require.True(t, snap.Properties.DefaultACL)
	mustRun(t, s.DSN(), store, snap, restore.Options{As: "plainacl2"})
	require.True(t, one[bool](t, s, "", `SELECT has_database_privilege('anybody', 'plainacl2', 'CONNECT') AND has_database_privilege('anybody', 'plainacl2', 'TEMP')
		AND NOT has_database_privilege('anybody', 'plainacl2', 'CREATE')`))
}

func TestReplaceUndoPurge(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "erp")
	s.Exec(t, "", "COMMENT ON DATABASE erp IS 'the comment'")
	store := &memory{}
	before := string(s.PlainDump(t, "erp"))
	snap := store.backUp(t, s, "erp")
	s.Exec(t, "erp", "DELETE FROM shop.bill; DROP VIEW shop.total CASCADE; INSERT INTO public.other VALUES (7)")
	s.Exec(t, "", "COMMENT ON DATABASE erp IS 'a later comment'; ALTER DATABASE erp CONNECTION LIMIT 7")
	after := string(s.PlainDump(t, "erp"))

	p := mustPlan(t, s.DSN(), store, snap, restore.Options{})
	require.ErrorContains(t, p.Err(), "set Options.Replace")
	_, err := restore.Run(t.Context(), s.DSN(), store, p, restore.Options{})
	require.ErrorContains(t, err, "set Options.Replace")

	now := time.Now()
	o := restore.Options{Replace: true, Now: func() time.Time { return now }}
	p = mustPlan(t, s.DSN(), store, snap, o)
	require.True(t, p.Walked)
	require.Contains(t, p.String(), "by a swap")
	r, err := restore.Run(t.Context(), s.DSN(), store, p, o)
	require.NoError(t, err)
	require.Less(t, r.Down, time.Second)
	require.Equal(t, before, string(s.PlainDump(t, "erp")))
	require.Equal(t, "the comment", one[string](t, s, "", `SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'erp'`))
	require.False(t, one[bool](t, s, "", `SELECT datallowconn FROM pg_database WHERE datname = $1`, r.Old))

	olds, err := restore.Olds(t.Context(), s.DSN())
	require.NoError(t, err)
	require.Len(t, olds, 1)
	require.Equal(t, "erp", olds[0].Database)
	require.Equal(t, r.Old, olds[0].Name)

	// Undo gives back what was there, all of it, and can be undone.
	u, err := restore.Undo(t.Context(), s.DSN(), "erp", o)
	require.NoError(t, err)
	require.Equal(t, after, string(s.PlainDump(t, "erp")))
	require.Equal(t, "a later comment", one[string](t, s, "", `SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'erp'`))
	require.Equal(t, int32(7), one[int32](t, s, "", `SELECT datconnlimit FROM pg_database WHERE datname = 'erp'`))
	require.NotEqual(t, r.Old, u.Old, "in the same second")
	_, err = restore.Undo(t.Context(), s.DSN(), "erp", o)
	require.NoError(t, err)
	require.Equal(t, before, string(s.PlainDump(t, "erp")))
	require.Len(t, databases(t, s, "__old_"), 1)

	// Purge waits for the end of the window, and spares what is only alike.
	s.CreateDatabase(t, "mine__old_20260101T000000Z")
	s.CreateDatabase(t, "forged__old_20260101T000000Z")
	s.Exec(t, "", `DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE forged__old_20260101T000000Z IS %L',
		(SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname LIKE 'erp\_\_old%')); END $$`)
	purged, err := restore.Purge(t.Context(), s.DSN(), o)
	require.NoError(t, err)
	require.Empty(t, purged)
	now = now.Add(8 * 24 * time.Hour)
	s.Exec(t, "", "ALTER DATABASE erp RENAME TO erp_gone")
	_, err = restore.Purge(t.Context(), s.DSN(), o)
	require.ErrorContains(t, err, "last copy")
	require.Len(t, databases(t, s, "erp__old_"), 1)
	s.Exec(t, "", "ALTER DATABASE erp_gone RENAME TO erp")
	purged, err = restore.Purge(t.Context(), s.DSN(), o)
	require.NoError(t, err)
	require.Len(t, purged, 1)
	require.Equal(t, []string{"forged__old_20260101T000000Z", "mine__old_20260101T000000Z"}, databases(t, s, "__old_"))
	_, err = restore.Undo(t.Context(), s.DSN(), "erp", o)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Clients that connect again at once, as a pooler does, must not keep the swap from happening, and must never see a database that is missing for longer
// than the swap takes, or half restored.
func TestSwapUnderReconnectingSessions(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "busy")
	store := &memory{}
	snap := store.backUp(t, s, "busy")
	s.Exec(t, "busy", "DELETE FROM shop.bill WHERE id > 1000")

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := make(map[int64]int)
	var gap time.Duration
	for range 6 {
		wg.Go(func() {
			last := time.Now()
			for ctx.Err() == nil {
				conn, err := s.Conn().Connect(ctx, "busy")
				for err == nil {
					var n int64
					if err = conn.QueryRow(ctx, "SELECT count(*) FROM shop.bill").Scan(&n); err == nil {
						mu.Lock()
						counts[n]++
						gap, last = max(gap, time.Since(last)), time.Now()
						mu.Unlock()
					}
				}
				if conn != nil {
					conn.Close(context.Background())
				}
			}
		})
	}
	r := mustRun(t, s.DSN(), store, snap, restore.Options{Replace: true})
	require.Positive(t, r.Ended)
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return counts[3000] > 5 }, 10*time.Second, 10*time.Millisecond)
	stop()
	wg.Wait()
	t.Logf("down %s, longest gap of a client %s, %d sessions ended", r.Down, gap, r.Ended)
	for n := range counts {
		require.Contains(t, []int64{1000, 3000}, n)
	}
}

func TestSwapNamesWhoRemains(t *testing.T) {
	s := pgtest.Start(t)
	role(t, s, "plain", "LOGIN CREATEDB PASSWORD 'plain'")
	fixture(t, s, "held")
	store := &memory{}
	snap := store.backUp(t, s, "held")
	s.Exec(t, "", "ALTER DATABASE held OWNER TO plain")
	super := s.Connect(t, "held") // an ordinary role may not end a superuser's session
	p := mustPlan(t, userDSN(s, "plain"), store, snap, restore.Options{Replace: true})
	require.NoError(t, p.Err())
	_, err := restore.Run(t.Context(), userDSN(s, "plain"), store, p, restore.Options{Replace: true, SwapTimeout: time.Millisecond})
	var d *restore.DatabaseError
	require.ErrorAs(t, err, &d)
	require.Equal(t, restore.StageSwap, d.Stage)
	require.True(t, d.Retryable)
	require.ErrorContains(t, err, fmt.Sprintf("process %d of postgres", super.PgConn().PID()))
	require.NoError(t, super.Ping(t.Context()), "the live database is untouched")
	require.Empty(t, databases(t, s, "__restore_", "__old_"))
}

// userDSN connects as another role whose password is its name.
func userDSN(s *pgtest.Server, user string) string {
	return strings.NewReplacer("user='postgres'", "user='"+user+"'").Replace(dropPassword(s.DSN())) + " password='" + user + "'"
}

func dropPassword(dsn string) string {
	fields := strings.Fields(dsn)
	return strings.Join(slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, "password=") }), " ")
}

func TestRoleWithOnlyCreateDB(t *testing.T) {
	s := pgtest.Start(t)
	role(t, s, "maker", "LOGIN CREATEDB PASSWORD 'maker'")
	role(t, s, "someone", "")
	fixture(t, s, "theirs")
	s.Exec(t, "theirs", `CREATE EXTENSION hstore; COMMENT ON EXTENSION hstore IS 'ours'; COMMENT ON EXTENSION hstore IS 'data type for storing sets of (key, value) pairs';
		ALTER TABLE shop.bill OWNER TO someone; GRANT SELECT ON shop.bill TO someone; COMMENT ON SCHEMA public IS 'mine'`)
	store := &memory{}
	snap := store.backUp(t, s, "theirs")
	r := mustRun(t, userDSN(s, "maker"), store, snap, restore.Options{As: "copied"})
	require.Equal(t, catalog.L4, r.Level)
	require.Equal(t, "maker", one[string](t, s, "copied", "SELECT relowner::regrole::text FROM pg_class WHERE oid = 'shop.bill'::regclass"))
	require.Equal(t, "maker", one[string](t, s, "copied", "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'copied'"))

	// Over its own live database, too.
	s.Exec(t, "copied", "DELETE FROM public.other")
	mustRun(t, userDSN(s, "maker"), store, snap, restore.Options{As: "copied", Replace: true})
	require.Equal(t, int64(100), one[int64](t, s, "copied", "SELECT count(*) FROM public.other"))
	_, err := restore.Undo(t.Context(), userDSN(s, "maker"), "copied", restore.Options{})
	require.NoError(t, err)
	require.Equal(t, int64(0), one[int64](t, s, "copied", "SELECT count(*) FROM public.other"))

	// What needs a superuser is a problem beforehand, not a failure half-way.
	s.Exec(t, "theirs", `CREATE EXTENSION file_fdw`)
	snap = store.backUp(t, s, "theirs")
	p := mustPlan(t, userDSN(s, "maker"), store, snap, restore.Options{As: "copied3"})
	require.ErrorContains(t, p.Err(), `extension "file_fdw" can only be created by a superuser`)
	p = mustPlan(t, userDSN(s, "maker"), store, snap, restore.Options{Replace: true})
	require.ErrorContains(t, p.Err(), "only its owner or a superuser can replace it")
}

// Bytes that are not those that were stored must never get the live name, whatever the store says.
func TestDamagedArchive(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "damaged")
	store := &memory{}
	snap := store.backUp(t, s, "damaged")
	good := store.archives[snap.ID]
	live := string(s.PlainDump(t, "damaged"))
	inRow := strings.Index(string(good), "customer 77 ")
	for name, change := range map[string]func([]byte) []byte{
		"truncated by 100 bytes": func(b []byte) []byte { return b[:len(b)-100] },
		"truncated by one byte":  func(b []byte) []byte { return b[:len(b)-1] },
		"flipped bit in a row":   func(b []byte) []byte { b[inRow] ^= 1; return b },
		"flipped bit in the TOC": func(b []byte) []byte { b[60] ^= 1; return b },
		"one byte more":          func(b []byte) []byte { return append(b, 0) },
		"another database's":     func([]byte) []byte { s.Exec(t, "damaged", "SELECT 1"); return []byte("PGDMP nonsense") },
	} {
		t.Run(name, func(t *testing.T) {
			store.damage(snap.ID, change)
			defer store.damage(snap.ID, func([]byte) []byte { return good })
			var archive *restore.ArchiveError
			_, err := tryRun(t, s.DSN(), store, snap, restore.Options{Replace: true})
			require.ErrorAs(t, err, &archive, "found beforehand")
			o := restore.Options{Replace: true, Walk: restore.WalkNever, Level: catalog.L3} // without any other proof
			_, err = tryRun(t, s.DSN(), store, snap, o)
			require.ErrorAs(t, err, &archive, "found while restoring")
			require.NotContains(t, err.Error(), "password")
			o.Jobs, o.SpoolDir = 2, t.TempDir()
			_, err = tryRun(t, s.DSN(), store, snap, o)
			require.ErrorAs(t, err, &archive, "found while spooling")
			require.Empty(t, databases(t, s, "__restore_", "__old_"))
			require.Equal(t, live, string(s.PlainDump(t, "damaged")))
		})
	}
	t.Run("a store that breaks off", func(t *testing.T) {
		store.reader = func(_ string, r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, int64(len(good)/2)), brokenReader{})
		}
		defer func() { store.reader = nil }()
		_, err := tryRun(t, s.DSN(), store, snap, restore.Options{Replace: true, Walk: restore.WalkNever})
		require.ErrorIs(t, err, errBroken)
		require.Empty(t, databases(t, s, "__restore_", "__old_"))
	})
}

type brokenReader struct{}

var errBroken = errors.New("the link broke")

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

// A scratch database that is not what the snapshot was, for whatever reason, must fail the verification.
func TestVerifyFindsWhatIsLost(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "proof")
	store := &memory{}
	snap := store.backUp(t, s, "proof")
	for name, test := range map[string]struct{ harm, want string }{
		"a row":              {"DELETE FROM public.other WHERE a = 50", `table "public"."other" has 99 rows, not 100`},
		"a row swapped":      {"UPDATE public.other SET a = 7 WHERE a = 8", "their content differs"},
		"a row too many":     {"INSERT INTO public.other VALUES (1)", "has 101 rows"},
		"a table":            {"DROP TABLE public.other", `"public"."other" is missing`},
		"a sequence":         {"SELECT setval('shop.customer_id_seq', 7)", "sequence positions differ"},
		"a large object":     {"SELECT lo_unlink(4711)", "large objects differ"},
		"a large object bit": {"SELECT lo_put(4711, 3, 'X')", "large objects differ"},
		"a view":             {"DROP VIEW shop.total CASCADE", "definitions differ"},
		"an index":           {"DROP INDEX shop.bill_customer", "definitions differ"},
		"a constraint":       {"ALTER TABLE shop.bill DROP CONSTRAINT bill_customer_fkey", "definitions differ"},
		"a function body":    {"CREATE OR REPLACE FUNCTION shop.twice(i int) RETURNS int LANGUAGE sql AS 'SELECT 3 * i'", "definitions differ"},
		"a comment":          {"COMMENT ON TABLE shop.bill IS NULL", "definitions differ"},
	} {
		switch name {
		case "a row too many", "a table", "an index", "a comment", "a constraint", "a large object bit":
			if !*long {
				continue
			}
		}
		t.Run(name, func(t *testing.T) {
			o := restore.Options{As: "proof2", Events: restore.Events{Stage: func(i restore.StageInfo) {
				if i.Stage == restore.StageVerify {
					s.Exec(t, i.Scratch, test.harm)
				}
			}}}
			_, err := tryRun(t, s.DSN(), store, snap, o)
			var mismatch *restore.MismatchError
			require.ErrorAs(t, err, &mismatch)
			require.ErrorContains(t, err, test.want)
			require.Empty(t, databases(t, s, "__restore_", "proof2"))
		})
	}
}

func TestMappingAndPrivileges(t *testing.T) {
	s := pgtest.Start(t)
	for _, r := range []string{"alice", "bob", "carol", "dave"} {
		role(t, s, r, "")
	}
	fixture(t, s, "mapped")
	s.Exec(t, "mapped", `
		ALTER DATABASE mapped OWNER TO alice; ALTER SCHEMA shop OWNER TO alice; ALTER TABLE shop.bill OWNER TO alice; ALTER TABLE shop.customer OWNER TO alice;
		ALTER FUNCTION shop.twice OWNER TO alice; ALTER TYPE shop.mood OWNER TO alice; ALTER LARGE OBJECT 4711 OWNER TO alice; ALTER VIEW shop.total OWNER TO alice;
		GRANT SELECT (id) ON shop.bill TO bob WITH GRANT OPTION; ALTER DEFAULT PRIVILEGES FOR ROLE alice IN SCHEMA shop GRANT SELECT ON TABLES TO bob;
		GRANT EXECUTE ON FUNCTION shop.twice TO bob; REVOKE ALL ON FUNCTION shop.twice FROM PUBLIC`)
	store := &memory{}
	snap := store.backUp(t, s, "mapped")
	mustRun(t, s.DSN(), store, snap, restore.Options{As: "mapped2", Roles: map[string]string{"alice": "carol", "bob": "dave"}})
	swap := strings.NewReplacer("alice", "carol", "bob", "dave")
	require.Equal(t, swap.Replace(string(s.PlainDump(t, "mapped"))), string(s.PlainDump(t, "mapped2")))
	require.Equal(t, "carol", one[string](t, s, "", "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'mapped2'"))

	mustRun(t, s.DSN(), store, snap, restore.Options{As: "mapped3", NoACL: true})
	dump := string(s.PlainDump(t, "mapped3"))
	require.NotContains(t, dump, "GRANT ")
	require.Contains(t, dump, "ALTER TABLE shop.bill OWNER TO alice")

	mustRun(t, s.DSN(), store, snap, restore.Options{As: "mapped4", Owner: "dave"})
	dump = string(s.PlainDump(t, "mapped4"))
	require.NotContains(t, dump, "alice")
	require.NotContains(t, dump, "postgres")
	require.Contains(t, dump, "ALTER TABLE shop.bill OWNER TO dave")

	// Roles that are missing are a problem, or are created without the right to log in.
	for _, name := range []string{"mapped", "mapped2", "mapped3"} {
		s.Exec(t, "", "DROP DATABASE "+name)
	}
	s.Exec(t, "", `DROP ROLE alice; DROP ROLE bob`)
	p := mustPlan(t, s.DSN(), store, snap, restore.Options{})
	require.ErrorContains(t, p.Err(), `role "alice" does not exist`)
	require.ErrorContains(t, p.Err(), `role "bob" does not exist`)
	r := mustRun(t, s.DSN(), store, snap, restore.Options{CreateRoles: true})
	require.Equal(t, []string{"alice", "bob"}, r.NewRoles)
	require.False(t, one[bool](t, s, "", `SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname IN ('alice', 'bob')`))
}

func TestSelection(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "whole")
	store := &memory{}
	snap := store.backUp(t, s, "whole")
	r := mustRun(t, s.DSN(), store, snap, restore.Options{As: "part1", Tables: []restore.Name{{Schema: "shop", Name: "bill"}}})
	require.Equal(t, int64(3000), r.Rows)
	require.Equal(t, int64(3000), one[int64](t, s, "part1", "SELECT count(*) FROM shop.bill"))
	require.Equal(t, "{bill}", one[string](t, s, "part1", "SELECT array_agg(relname)::text FROM pg_class WHERE relkind = 'r' AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"))
	require.Equal(t, int64(3001), one[int64](t, s, "part1", "INSERT INTO shop.bill (customer) VALUES (1) RETURNING id"), "its sequence came along")
	require.True(t, one[bool](t, s, "part1", "SELECT to_regclass('shop.bill_customer') IS NOT NULL"), "its index came along")

	mustRun(t, s.DSN(), store, snap, restore.Options{As: "part2", Schemas: []string{"shop"}})
	require.Equal(t, int64(500), one[int64](t, s, "part2", "SELECT count(*) FROM shop.customer"))
	require.Equal(t, int64(500), one[int64](t, s, "part2", "SELECT count(*) FROM shop.total"))
	require.False(t, one[bool](t, s, "part2", "SELECT to_regclass('public.other') IS NOT NULL"))

	p := mustPlan(t, s.DSN(), store, snap, restore.Options{As: "part3", Tables: []restore.Name{{Schema: "shop", Name: "nothing"}}})
	require.ErrorContains(t, p.Err(), `relation "shop"."nothing" is not in the snapshot`)

	// What was chosen is compared.
	_, err := tryRun(t, s.DSN(), store, snap, restore.Options{As: "part4", Schemas: []string{"shop"}, Events: restore.Events{Stage: func(i restore.StageInfo) {
		if i.Stage == restore.StageVerify {
			s.Exec(t, i.Scratch, "DELETE FROM shop.bill WHERE id = 5")
		}
	}}})
	require.ErrorContains(t, err, "has 2999 rows, not 3000")
}

func TestHooks(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "hooked")
	store := &memory{}
	snap := store.backUp(t, s, "hooked")
	for fails, want := range map[string]string{
		"":           "Before BeforeSwap AfterSwap:false After:false",
		"Before":     "Before After:true",
		"BeforeSwap": "Before BeforeSwap AfterSwap:true After:true",
		"AfterSwap":  "Before BeforeSwap AfterSwap:false After:true",
		"After":      "Before BeforeSwap AfterSwap:false After:false",
		"cancel":     "Before BeforeSwap AfterSwap:true After:true",
	} {
		t.Run(fails, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var calls []string
			hook := func(name string, after bool, err error, ctx context.Context) error {
				if after {
					require.NoError(t, ctx.Err(), "an After hook must be able to work")
					name = strings.Join([]string{name, fmt.Sprint(err != nil)}, ":")
				}
				calls = append(calls, name)
				if fails == "cancel" && name == "BeforeSwap" {
					cancel()
				}
				if base, _, _ := strings.Cut(name, ":"); base == fails {
					return errors.New("the site did not answer")
				}
				return nil
			}
			o := restore.Options{Replace: true, Level: catalog.L3, Hooks: restore.Hooks{
				Before:     func(ctx context.Context, _ *restore.Plan) error { return hook("Before", false, nil, ctx) },
				BeforeSwap: func(ctx context.Context, _ *restore.Plan) error { return hook("BeforeSwap", false, nil, ctx) },
				AfterSwap:  func(ctx context.Context, _ *restore.Plan, err error) error { return hook("AfterSwap", true, err, ctx) },
				After:      func(ctx context.Context, _ *restore.Plan, err error) error { return hook("After", true, err, ctx) },
			}}
			r, err := restore.Run(ctx, s.DSN(), store, mustPlan(t, s.DSN(), store, snap, o), o)
			require.Equal(t, want, strings.Join(calls, " "))
			switch fails {
			case "":
				require.NoError(t, err)
			case "cancel":
				require.ErrorIs(t, err, context.Canceled)
			default:
				require.ErrorContains(t, err, "the site did not answer")
			}
			require.Equal(t, fails == "" || strings.HasPrefix(fails, "After"), r.Old != "", "replaced or not")
			require.Empty(t, databases(t, s, "__restore_"))
			require.Equal(t, int64(3000), one[int64](t, s, "hooked", "SELECT count(*) FROM shop.bill"))
		})
	}
}

func TestCancelAtEveryStageLeavesNothing(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "cancelled")
	store := &memory{}
	snap := store.backUp(t, s, "cancelled")
	var stages []restore.Stage
	mustRun(t, s.DSN(), store, snap, restore.Options{As: "done", Events: restore.Events{Stage: func(i restore.StageInfo) { stages = append(stages, i.Stage) }}})
	require.Greater(t, len(stages), 9)
	for _, at := range stages {
		if at == restore.StageSwapped || !*long && at != restore.StageMark && at != restore.StageRestore && at != restore.StageVerify && at != restore.StageSwap {
			continue
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("the operator stopped it")
		o := restore.Options{As: "cancelled2", Events: restore.Events{Stage: func(i restore.StageInfo) {
			if i.Stage == at {
				cancel(stop)
			}
		}}}
		_, err := restore.Run(ctx, s.DSN(), store, mustPlan(t, s.DSN(), store, snap, o), o)
		require.ErrorIs(t, err, stop, at)
		require.Empty(t, databases(t, s, "__restore_", "cancelled2"), at)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	s := pgtest.Start(t)
	fixture(t, s, "secret")
	role(t, s, "spy", "LOGIN CREATEDB PASSWORD 'correct-horse'")
	dsn := strings.ReplaceAll(userDSN(s, "spy"), "password='spy'", "password='correct-horse'")
	store := &memory{}
	snap := store.backUp(t, s, "secret")
	var seen strings.Builder
	var withPassword int
	o := restore.Options{
		As: "secret2", Probe: func(_ context.Context, dsn string) error {
			require.Contains(t, dsn, "correct-horse")
			return fmt.Errorf("the application does not start with %s", dsn)
		},
		Runner: runbook.RunnerFunc(func(ctx context.Context, c runbook.Cmd) error {
			fmt.Fprintln(&seen, c.Path, c.Args)
			if slices.Contains(c.Env, "PGPASSWORD=correct-horse") {
				withPassword++
			}
			return runbook.Local{}.Run(ctx, c)
		}),
		Events: restore.Events{
			Stage:    func(i restore.StageInfo) { fmt.Fprintln(&seen, i) },
			Progress: func(i restore.ProgressInfo) { fmt.Fprintln(&seen, i) },
			Warning:  func(i restore.WarningInfo) { fmt.Fprintln(&seen, i) },
		},
	}
	p := mustPlan(t, dsn, store, snap, o)
	r, err := restore.Run(t.Context(), dsn, store, p, o)
	require.ErrorContains(t, err, "the application does not start")
	require.Equal(t, 2, withPassword)
	require.NotContains(t, fmt.Sprint(seen.String(), err, r, p), "correct-horse")
}
