package restore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/restore"
	"github.com/runbook-go/runbook/restore/scratch"
)

// The server is lost: roles and all databases come back on a new one.
func TestAllOntoANewServer(t *testing.T) {
	s := pgtest.Start(t)
	role(t, s, "boss", "LOGIN PASSWORD 'verifier' CONNECTION LIMIT 5")
	role(t, s, "clerk", "")
	s.Exec(t, "", `GRANT boss TO clerk; ALTER ROLE boss SET work_mem TO '3MB'; COMMENT ON ROLE boss IS 'it''s; the \! boss'`)
	store := &memory{}
	want := make(map[string]string)
	for _, name := range []string{"first", "second", "third", "broken"} {
		fixture(t, s, name)
		s.Exec(t, name, `ALTER TABLE shop.bill OWNER TO boss; GRANT SELECT ON shop.bill TO clerk; ALTER DATABASE `+name+` OWNER TO boss`)
		store.backUp(t, s, name) // an older one
		if snap := store.backUp(t, s, name); name == "broken" {
			store.damage(snap.ID, func(b []byte) []byte { return b[:len(b)-10] })
		}
		want[name] = string(s.PlainDump(t, name))
	}
	store.backUpGlobals(t, string(s.Run(t, "pg_dumpall", "postgres", "--globals-only")))

	fresh, err := scratch.Start(t.Context(), scratch.Options{})
	require.NoError(t, err)
	defer fresh.Close()
	latest, err := restore.Latest(t.Context(), store, catalog.Query{})
	require.NoError(t, err)
	require.Len(t, latest, 5)
	require.Equal(t, catalog.Globals, latest[0].Kind)
	report, err := restore.All(t.Context(), fresh.DSN(), store, latest, restore.Options{})
	var d *restore.DatabaseError
	require.ErrorAs(t, err, &d)
	require.Equal(t, "broken", d.Database)
	require.ErrorContains(t, err, "1 restores failed")
	require.Contains(t, report.Globals.Roles, "boss")
	require.Contains(t, report.Globals.Existing, "postgres")
	require.Len(t, report.Databases, 4)

	there, err := pgconn.Parse(fresh.DSN())
	require.NoError(t, err)
	for _, r := range report.Databases {
		if r.Database == "broken" {
			require.Error(t, r.Err)
			continue
		}
		require.NoError(t, r.Err)
		require.Equal(t, catalog.L4, r.Level)
		var dump bytes.Buffer
		require.NoError(t, runbook.Local{}.Run(t.Context(), runbook.Cmd{
			Path: s.Tools().Path("pg_dump"), Args: append([]string{"--restrict-key=fixed"}, there.Args(r.Database)...), Env: there.Env(), Stdout: &dump,
		}))
		require.Equal(t, want[r.Database], dump.String())
	}
	again, err := restore.All(t.Context(), fresh.DSN(), store, latest, restore.Options{KeepExisting: true})
	require.ErrorContains(t, err, `"broken"`)
	for _, r := range again.Databases {
		require.Equal(t, r.Database != "broken", r.Kept, r.Database)
	}
	require.Contains(t, again.String(), "0 databases restored, 3 left alone, 1 failed")
	text, err := json.Marshal(again)
	require.NoError(t, err)
	require.Contains(t, string(text), `"error":"restore database \"broken\"`)

	read := func(c *pgconn.Server, sql string) (v string) {
		conn, err := c.Connect(t.Context(), "")
		require.NoError(t, err)
		defer conn.Close(t.Context())
		require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&v))
		return v
	}
	require.Equal(t, "first,postgres,second,template0,template1,third", read(there, `SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database`))
	const boss = `SELECT concat_ws('|', rolcanlogin, rolconnlimit, rolpassword, shobj_description(oid, 'pg_authid'), (SELECT setconfig FROM pg_db_role_setting WHERE setrole = a.oid),
		(SELECT count(*) FROM pg_auth_members WHERE roleid = a.oid)) FROM pg_authid a WHERE rolname = 'boss'`
	require.Equal(t, read(s.Conn(), boss), read(there, boss))
}

func TestGlobalsLeaveExistingRolesAlone(t *testing.T) {
	s := pgtest.Start(t)
	role(t, s, "present", "NOLOGIN")
	role(t, s, "to_come", "")
	s.Exec(t, "", "DROP ROLE to_come")
	store := &memory{}
	snap := store.backUpGlobals(t, `-- comment; with a semicolon
\restrict abcDEF123

SET standard_conforming_strings = on;
CREATE ROLE present;
ALTER ROLE present WITH SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$secret';
ALTER ROLE present SET work_mem TO '1GB';
COMMENT ON ROLE present IS 'changed; \! really';
CREATE ROLE to_come;
ALTER ROLE to_come WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$secret$$;';
COMMENT ON ROLE to_come IS 'it''s
\! a line; /* no comment */ -- nor this';
ALTER ROLE to_come IN DATABASE nowhere SET work_mem TO '1GB';
CREATE TABLESPACE elsewhere OWNER to_come LOCATION '/var/lib/production';
GRANT present TO to_come GRANTED BY postgres;
GRANT to_come TO present;
GRANT SET ON PARAMETER work_mem TO to_come;
\unrestrict abcDEF123
`)
	report, err := restore.All(t.Context(), s.DSN(), store, []*catalog.Snapshot{snap}, restore.Options{})
	require.NoError(t, err)
	require.Equal(t, []string{"to_come"}, report.Globals.Roles)
	require.Equal(t, []string{"present"}, report.Globals.Existing)
	require.Equal(t, "f|f|", one[string](t, s, "", `SELECT concat_ws('|', rolsuper, rolcanlogin, coalesce(rolconfig::text, '')) FROM pg_roles WHERE rolname = 'present'`))
	require.Equal(t, "t|it's\n\\! a line; /* no comment */ -- nor this",
		one[string](t, s, "", `SELECT concat_ws('|', rolcanlogin, shobj_description(oid, 'pg_authid')) FROM pg_roles WHERE rolname = 'to_come'`))
	require.Equal(t, int64(1), one[int64](t, s, "", `SELECT count(*) FROM pg_auth_members WHERE 'present'::regrole IN (roleid, member)`))
	require.Equal(t, int64(0), one[int64](t, s, "", `SELECT count(*) FROM pg_tablespace WHERE spcname = 'elsewhere'`))
	s.Exec(t, "", "REVOKE ALL ON PARAMETER work_mem FROM to_come")
}

// One statement that does not belong there, and nothing is run.
func TestGlobalsRefuseWhatDoesNotBelong(t *testing.T) {
	s := pgtest.Start(t)
	for name, hostile := range map[string]string{
		"psql command":         "\\! touch /tmp/pwned\n",
		"psql in the line":     "CREATE ROLE \\! x;\n",
		"backquotes":           "\\unrestrict `touch /tmp/pwned`\n",
		"restrict inside":      "CREATE ROLE evil\n\\restrict abc\n;\n",
		"restrict and more":    "\\restrict abc \\! touch\n",
		"do block":             "DO $$ BEGIN EXECUTE 'CREATE ROLE evil'; END $$;\n",
		"dollar quote":         "COMMENT ON ROLE x IS $a$ ; $a$; DROP DATABASE postgres;\n",
		"copy program":         "COPY (SELECT 1) TO PROGRAM 'id';\n",
		"alter system":         "ALTER SYSTEM SET archive_command = 'id';\n",
		"create role and more": "CREATE ROLE evil IN ROLE postgres;\n",
		"drop role":            "DROP ROLE postgres;\n",
		"unicode identifier":   "CREATE ROLE U&\"evil\";\n",
		"open quote":           "COMMENT ON ROLE x IS 'never ends;\n",
		"open comment":         "/* /* */ CREATE ROLE evil;\n",
		"grant on table":       "GRANT ALL ON TABLE pg_authid TO x;\n",
		"zero byte":            "CREATE ROLE evil\x00;\n",
	} {
		store := &memory{}
		snap := store.backUpGlobals(t, "CREATE ROLE harmless;\n"+hostile)
		report, err := restore.All(t.Context(), s.DSN(), store, []*catalog.Snapshot{snap}, restore.Options{})
		var archive *restore.ArchiveError
		require.ErrorAs(t, err, &archive, name)
		require.Zero(t, report.Globals.Run, name)
		require.Equal(t, int64(0), one[int64](t, s, "", `SELECT count(*) FROM pg_roles WHERE rolname IN ('harmless', 'evil')`), name)
	}
	// What the server refuses is told without its text, which may hold a password, and harms nothing else.
	store := &memory{}
	snap := store.backUpGlobals(t, "CREATE ROLE harmless; ALTER ROLE harmless WITH PASSWORD 'verifier' 'sesame'; ALTER ROLE harmless WITH NONSENSE 'sesame'; COMMENT ON ROLE harmless IS 'x';")
	report, err := restore.All(t.Context(), s.DSN(), store, []*catalog.Snapshot{snap}, restore.Options{})
	require.ErrorContains(t, err, `alter role (role "harmless")`)
	require.NotContains(t, err.Error(), "sesame")
	require.Equal(t, 2, report.Globals.Run)
	s.Exec(t, "", "DROP ROLE harmless")

	// Damaged globals are not run at all.
	store.damage(snap.ID, func(b []byte) []byte { return []byte(strings.Replace(string(b), "harmless", "wretched", -1)) })
	_, err = restore.All(t.Context(), s.DSN(), store, []*catalog.Snapshot{snap}, restore.Options{})
	var archive *restore.ArchiveError
	require.True(t, errors.As(err, &archive))
}
