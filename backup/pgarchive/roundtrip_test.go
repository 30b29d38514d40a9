package pgarchive_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const owner, other = "archive_owner", "archive_other"

// rich makes a database from rich.sql and the roles that the tests need.
func rich(t testing.TB, name string) *pgtest.Server {
	t.Helper()
	s := pgtest.Start(t)
	s.Exec(t, "", `DO $$ BEGIN CREATE ROLE `+owner+`; CREATE ROLE `+other+` SUPERUSER; EXCEPTION WHEN duplicate_object THEN END $$`)
	s.CreateDatabase(t, name)
	sql, err := os.ReadFile("testdata/rich.sql")
	require.NoError(t, err)
	s.Exec(t, name, strings.ReplaceAll(string(sql), ":owner", owner))
	s.Exec(t, name, `COMMENT ON DATABASE `+quote(name)+` IS 'a comment that names it: `+name+`'; ALTER DATABASE `+quote(name)+` SET work_mem = '5MB'`)
	return s
}

func walk(t testing.TB, archive []byte) *pgarchive.Summary {
	t.Helper()
	s, err := pgarchive.Walk(bytes.NewReader(archive))
	require.NoError(t, err)
	return s
}

func TestContentSurvivesEveryWayOfRestoring(t *testing.T) {
	const source = `Specibike "Dupont"`
	s := rich(t, source)
	archive := s.Dump(t, source)
	file := filepath.Join(t.TempDir(), "archive")
	require.NoError(t, os.WriteFile(file, archive, 0o600))
	want := walk(t, archive)
	require.Equal(t, source, want.Header.Database)
	require.Len(t, want.Content.Tables, 11)
	require.EqualValues(t, 53, want.Content.LargeObjects.Count)

	for name, restore := range map[string]struct {
		args   []string
		suffix string
		exact  bool // nothing is left out
	}{
		"plain":     {nil, "", true},
		"jobs":      {[]string{"--jobs=2"}, "", true},
		"one":       {[]string{"--single-transaction"}, "", true},
		"noowner":   {[]string{"--no-owner", "--no-acl", "--role=" + other}, "OWNER " + other, false},
		"nobody":    {[]string{"--no-owner", "--no-acl", "--single-transaction"}, "", false},
		"encoding":  {[]string{"--no-acl"}, "ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0", false},
		"listed by": {[]string{"--use-list=" + listFile(t, want.TOC, nil)}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			copied := "copy " + name
			s.CreateDatabase(t, copied, restore.suffix)
			s.Exec(t, copied, "SELECT lo_unlink(lo_create(0)) FROM generate_series(1, 100)") // other OIDs
			s.Run(t, "pg_restore", copied, append(restore.args, "--exit-on-error", file)...)
			got := walk(t, s.Dump(t, copied))
			require.Empty(t, want.Content.Diff(&got.Content))
			if want.Content.Definitions != got.Content.Definitions {
				require.Equal(t, definitions(want.TOC), definitions(got.TOC))
			}
			if restore.exact { // but for the comment and the settings of the database itself
				require.Equal(t, want.Content.Entries-2, got.Content.Entries)
			}
			got.Content.Entries = want.Content.Entries
			require.Equal(t, want.Content, got.Content)
		})
	}
}

// definitions helps to see what differs.
func definitions(toc []pgarchive.Entry) (defs []string) {
	for _, e := range toc {
		defs = append(defs, strings.Join([]string{e.Desc, e.Namespace, e.Tag, e.Defn}, "|"))
	}
	return defs
}

func TestContentIsTheSameHoweverItIsDumped(t *testing.T) {
	const name = "dumped"
	s := rich(t, name)
	want := walk(t, s.Dump(t, name))
	file := filepath.Join(t.TempDir(), "archive")
	for _, args := range [][]string{{"-Z9"}, {}, {"-Z0", "--file=" + file}, {"--file=" + file}} {
		archive := s.Run(t, "pg_dump", name, append([]string{"--format=custom"}, args...)...)
		if len(archive) == 0 {
			var err error
			archive, err = os.ReadFile(file)
			require.NoError(t, err)
		}
		require.Equal(t, want.Content, walk(t, archive).Content, "%q", args)
	}

	inserts := walk(t, s.Run(t, "pg_dump", name, "-Fc", "-Z0", "--inserts"))
	require.Len(t, inserts.Content.Tables, len(want.Content.Tables))
	for _, table := range inserts.Content.Tables {
		require.EqualValues(t, -1, table.Rows, "rows of INSERT statements are not counted")
		require.Len(t, table.SHA256, 64)
	}

	schema := walk(t, s.Run(t, "pg_dump", name, "-Fc", "--schema-only"))
	require.Empty(t, schema.Content.Tables)
	require.Zero(t, schema.Content.LargeObjects)

	data := walk(t, s.Run(t, "pg_dump", name, "-Fc", "--data-only"))
	require.Equal(t, want.Content.Tables, data.Content.Tables)
	require.Equal(t, want.Content.LargeObjects, data.Content.LargeObjects)
	require.Equal(t, want.Content.Sequences, data.Content.Sequences)
}

func TestContentIsWhatTheServerSays(t *testing.T) {
	const name = "counted"
	s := rich(t, name)
	content := walk(t, s.Dump(t, name)).Content
	conn := s.Connect(t, name)
	for _, table := range content.Tables {
		var rows, size int64
		var sum string
		from := quote(table.Schema) + "." + quote(table.Name)
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM ONLY "+from).Scan(&rows))
		require.Equal(t, rows, table.Rows, table.Name)
		if table.Name == "no_columns" || table.Name == `ligne "x"`+"\n"+`\. de vente` { // COPY to a file cannot be asked for the columns that pg_dump names
			continue
		}
		text := copyOut(t, s, name, from)
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT length($1::bytea), encode(sha256($1::bytea), 'hex')", text).Scan(&size, &sum))
		require.Equal(t, catalog.Table{Schema: table.Schema, Name: table.Name, Rows: rows, Bytes: size, SHA256: sum}, table)
	}
	var count, size int64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*), sum(length(lo_get(oid))) FROM pg_largeobject_metadata").Scan(&count, &size))
	require.Equal(t, count, content.LargeObjects.Count)
	require.Equal(t, size, content.LargeObjects.Bytes)
}

func copyOut(t *testing.T, s *pgtest.Server, database, from string) []byte {
	out := bytes.NewBuffer([]byte{})
	_, err := s.Connect(t, database).PgConn().CopyTo(t.Context(), out, "COPY "+from+" TO stdout")
	require.NoError(t, err)
	return out.Bytes()
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func TestEveryChangeInADatabaseChangesItsContent(t *testing.T) {
	const name = "changing"
	s := rich(t, name)
	before := walk(t, s.Dump(t, name)).Content
	for _, sql := range []string{
		"UPDATE dots SET line = '\\..' WHERE line = '\\.'",
		"DELETE FROM child",
		"INSERT INTO no_columns DEFAULT VALUES",
		"SELECT lo_put(70001, 5, 'X')",
		"SELECT lo_unlink(70002)",
		"SELECT nextval('untouched')",
		"SELECT setval('untouched', 1, true)",
		"ALTER TABLE empty ALTER b SET NOT NULL",
		"DROP POLICY mine ON ref",
		"COMMENT ON TABLE ref IS 'new'",
		"ALTER EVENT TRIGGER log_ddl DISABLE",
		"DROP EXTENSION hstore CASCADE",
	} {
		s.Exec(t, name, sql)
		after := walk(t, s.Dump(t, name)).Content
		after.Entries = before.Entries
		if sql != "SELECT setval('untouched', 1, true)" { // where nextval has put it
			require.NotEqual(t, before, after, sql)
		}
		before = after
	}
	for _, sql := range []string{
		"ALTER TABLE ref OWNER TO " + other, "GRANT ALL ON ref TO PUBLIC", "ALTER DATABASE changing OWNER TO " + other,
		"COMMENT ON DATABASE changing IS 'else'", "ALTER LARGE OBJECT 80001 OWNER TO " + owner, "ALTER SCHEMA public OWNER TO pg_database_owner",
		"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "VACUUM FULL",
	} {
		s.Exec(t, name, sql)
		after := walk(t, s.Dump(t, name)).Content
		after.Entries = before.Entries
		require.Equal(t, before, after, sql)
	}
}

// PostgreSQL itself writes some expressions in another form once it has read them back. Definitions then differ, once, although nothing was lost.
func TestDefinitionsThatPostgreSQLRewrites(t *testing.T) {
	s := pgtest.Start(t)
	dump := func(from string) ([]byte, catalog.Content) {
		archive := s.Dump(t, from)
		return archive, walk(t, archive).Content
	}
	restore := func(to string, archive []byte) {
		s.CreateDatabase(t, to)
		file := filepath.Join(t.TempDir(), "archive")
		require.NoError(t, os.WriteFile(file, archive, 0o600))
		s.Run(t, "pg_restore", to, "--exit-on-error", file)
	}
	s.CreateDatabase(t, "in 1")
	s.Exec(t, "in 1", "CREATE TABLE t (c varchar CHECK (c IN ('a', 'b')))")
	archive, first := dump("in 1")
	restore("in 2", archive)
	archive, second := dump("in 2")
	restore("in 3", archive)
	_, third := dump("in 3")
	require.Empty(t, first.Diff(&second))
	require.NotEqual(t, first.Definitions, second.Definitions)
	require.Equal(t, second, third)
}

func listFile(t *testing.T, toc []pgarchive.Entry, keep func(pgarchive.Entry) bool) string {
	file := filepath.Join(t.TempDir(), "list")
	require.NoError(t, os.WriteFile(file, pgarchive.List(toc, keep), 0o600))
	return file
}

func TestListRestoresWhatItNames(t *testing.T) {
	const name = "listed"
	s := rich(t, name)
	archive := s.Dump(t, name)
	toc := walk(t, archive).TOC
	require.Equal(t, []string{owner, s.Conn().User()}, pgarchive.Roles(toc))
	require.Equal(t, []string{"hstore", "pg_trgm"}, pgarchive.Extensions(toc))

	file := filepath.Join(t.TempDir(), "archive")
	require.NoError(t, os.WriteFile(file, archive, 0o600))
	keep := func(e pgarchive.Entry) bool {
		return e.Desc != "EVENT TRIGGER" && e.Desc != "TABLE DATA" && !strings.HasPrefix(e.Desc, "PUBLICATION") && e.Desc != "BLOBS"
	}
	s.CreateDatabase(t, "part")
	s.Run(t, "pg_restore", "part", "--exit-on-error", "--use-list="+listFile(t, toc, keep), file)
	got := walk(t, s.Dump(t, "part"))
	for _, e := range got.TOC {
		require.NotContains(t, []string{"EVENT TRIGGER", "PUBLICATION"}, e.Desc)
	}
	require.Zero(t, got.Content.Rows())
	require.Len(t, got.Content.Tables, 11)
	require.EqualValues(t, 53, got.Content.LargeObjects.Count)
	require.Zero(t, got.Content.LargeObjects.Bytes)

	// What pg_restore -l lists, we list, one line each, with the same dump IDs in the same order.
	want := dumpIDs(s.Run(t, "pg_restore", "", "--list", file))
	ours := dumpIDs(pgarchive.List(toc, func(e pgarchive.Entry) bool {
		return e.Desc != "ENCODING" && e.Desc != "STDSTRINGS" && e.Desc != "SEARCHPATH" && e.Desc != "DATABASE" && e.Desc != "DATABASE PROPERTIES" &&
			!strings.HasPrefix(e.Tag, "DATABASE ")
	}))
	require.Equal(t, want, ours)
}

func dumpIDs(list []byte) (ids []string) {
	for line := range strings.Lines(string(list)) {
		if id, _, ok := strings.Cut(line, ";"); ok && id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}
