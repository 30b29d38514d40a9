package restore

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/pgarchive"
)

func TestSplitSQL(t *testing.T) {
	list, err := splitSQL(`a 'it''s; \' ; b "x;""y" /* ; /* ; */ ; */ z; c $$;$$ $t$;$$;$t$ $1; d E'\';' -- e;` + "\n; é_1$x\r\n;;")
	require.NoError(t, err)
	var texts []string
	for _, s := range list {
		texts = append(texts, s.text)
	}
	require.Equal(t, []string{`a 'it''s; \'`, `b "x;""y" /* ; /* ; */ ; */ z`, `c $$;$$ $t$;$$;$t$ $1`, `d E'\';' -- e;`, `é_1$x`}, texts)
	require.Equal(t, `x;"y`, list[1].tokens[1].text)
}

func FuzzSplitSQL(f *testing.F) {
	f.Add(`CREATE ROLE "a;b"; COMMENT ON ROLE x IS 'y''z'; \restrict a`)
	f.Add(`$a$;$a$ /* -- */ E'\''`)
	f.Fuzz(func(t *testing.T, script string) {
		list, err := splitSQL(script)
		if err != nil {
			return
		}
		for _, s := range list {
			again, err := splitSQL(s.text)
			require.NoError(t, err)
			require.Len(t, again, 1)
			require.Equal(t, len(s.tokens), len(again[0].tokens))
			for _, tok := range s.tokens {
				require.True(t, 0 <= tok.pos && tok.pos < tok.end && tok.end <= len(s.text))
			}
		}
	})
}

func TestMapGrants(t *testing.T) {
	role := func(r string) string { return "<" + r + ">" }
	list, err := mapGrants(`REVOKE ALL ON TABLE "to".x FROM PUBLIC;
GRANT SELECT(a),UPDATE(b) ON TABLE s."from" TO bob,"Al ""ice" WITH GRANT OPTION;
SET SESSION AUTHORIZATION bob;
GRANT ALL ON SCHEMA s TO "public" GRANTED BY carl;
RESET SESSION AUTHORIZATION;
ALTER DEFAULT PRIVILEGES FOR ROLE x IN SCHEMA "for" REVOKE ALL ON TYPES  FROM x;`, role)
	require.NoError(t, err)
	require.Equal(t, []string{
		`REVOKE ALL ON TABLE "to".x FROM PUBLIC`,
		`GRANT SELECT(a),UPDATE(b) ON TABLE s."from" TO "<bob>","<Al ""ice>" WITH GRANT OPTION`,
		`SET SESSION AUTHORIZATION "<bob>"`,
		`GRANT ALL ON SCHEMA s TO "<public>" GRANTED BY "<carl>"`,
		`RESET SESSION AUTHORIZATION`,
		`ALTER DEFAULT PRIVILEGES FOR ROLE "<x>" IN SCHEMA "for" REVOKE ALL ON TYPES  FROM "<x>"`,
	}, list)
}

func TestNamedRoles(t *testing.T) {
	for defn, want := range map[string][]string{
		`CREATE POLICY p ON "to".t FOR SELECT TO a, "B c" USING (x = 'to d');`: {"a", "B c"},
		`CREATE POLICY p ON s.t TO PUBLIC USING (true);`:                       nil,
		`CREATE POLICY p ON s.t USING (true);`:                                 nil,
		`CREATE USER MAPPING FOR bob SERVER s OPTIONS ("user" 'x');`:           {"bob"},
	} {
		require.Equal(t, want, namedRoles(defn), defn)
	}
}

func TestSplitIdentifiers(t *testing.T) {
	for list, want := range map[string][]string{
		``: nil, `""`: {""}, `"$user", public`: {"$user", "public"}, `"a ""b"",c" ,d`: {`a "b",c`, "d"}, `pg_catalog`: {"pg_catalog"},
	} {
		got, ok := splitIdentifiers(list)
		require.True(t, ok, list)
		require.Equal(t, want, got, list)
	}
	for _, list := range []string{`a,`, `"a`, `a b`, `,`} {
		_, ok := splitIdentifiers(list)
		require.False(t, ok, list)
	}
	require.Equal(t, `'$user', 'it''s'`, settingValue("search_path", `"$user", "it's"`))
	require.Equal(t, `'a, b'`, settingValue("my.list", `a, b`))
	require.Equal(t, `"my"."list"`, settingName("my.list"))
}

func TestMarks(t *testing.T) {
	keep := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := mark{Kind: kindOld, Live: "é\"\n", OID: 7, At: keep, Keep: &keep, Comment: `it's "x"`, Open: true}
	got, ok := parseMark(m.comment())
	require.True(t, ok)
	require.Equal(t, m, got)
	for _, comment := range []string{"", "runbook restore ", `{"kind":"old"}`, `runbook restore {"kind":"other"}`, `runbook restore {"kind":"old","x":1}`, m.comment() + "{}"} {
		_, ok := parseMark(comment)
		require.False(t, ok, comment)
	}
	// Names: of the form, within 63 bytes, and telling the lock.
	for _, live := range []string{"x", strings.Repeat("é", 31) + "x", "a\nb"} {
		key := lockKey{live: live}
		name := key.scratchName()
		require.LessOrEqual(t, len(name), maxName)
		d := database{name: name, limit: birthLimit}
		hash, ours := d.scratchHash()
		require.True(t, ours, name)
		require.Equal(t, key.hash(), hash)
		require.NotEqual(t, name, key.scratchName())
		require.Regexp(t, oldForm, oldName(live, keep))
		require.LessOrEqual(t, len(oldName(live, keep)), maxName)
	}
	require.NotEqual(t, lockKey{live: "x"}.hash(), lockKey{live: "x", drill: "y"}.hash())
}

func TestGrantStatements(t *testing.T) {
	p := &catalog.Properties{Owner: "o", ACL: []catalog.Grant{
		{Grantee: "c", Grantor: "b", Privilege: "CONNECT"}, // needs the next one
		{Grantee: "b", Grantor: "o", Privilege: "CONNECT", Grantable: true},
		{Grantee: "", Grantor: "o", Privilege: "TEMPORARY"},
		{Grantee: "gone", Grantor: "o", Privilege: "CREATE"},
		{Grantee: "c", Grantor: "c", Privilege: "CREATE"}, // from nowhere
	}}
	known := func(r string) bool { return r != "gone" }
	same := func(r string) string { return r }
	got, missing := grantStatements("d", "o", p, false, false, same, known)
	require.Equal(t, []string{
		`REVOKE ALL ON DATABASE "d" FROM PUBLIC`, `REVOKE ALL ON DATABASE "d" FROM "o"`,
		`GRANT CONNECT ON DATABASE "d" TO "b" WITH GRANT OPTION`, `GRANT TEMPORARY ON DATABASE "d" TO PUBLIC`,
		`SET LOCAL ROLE "b"; GRANT CONNECT ON DATABASE "d" TO "c"; RESET ROLE`,
	}, got)
	require.Len(t, missing, 2)
	got, _ = grantStatements("d", "me", p, false, true, same, known)
	require.Contains(t, got, `GRANT CONNECT ON DATABASE "d" TO "c"`)
	got, _ = grantStatements("d", "o", p, true, false, same, known)
	require.Equal(t, []string{`GRANT CONNECT, TEMPORARY ON DATABASE "d" TO PUBLIC`}, got)
}

func TestCreateDatabase(t *testing.T) {
	p := &catalog.Properties{Encoding: "UTF8", Collate: "fr_FR.UTF-8", Ctype: "C", Provider: "icu", Locale: "fr-FR", ICURules: "& a < b", Tablespace: "fast"}
	require.Equal(t, `CREATE DATABASE "a""b" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'fr_FR.UTF-8' LC_CTYPE 'C' LOCALE_PROVIDER "icu" ICU_LOCALE 'fr-FR'`+
		` ICU_RULES '& a < b' TABLESPACE "fast" CONNECTION LIMIT 1918986354`, createDatabase(`a"b`, p, "", true, 160000))
	require.Equal(t, `CREATE DATABASE "x" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' CONNECTION LIMIT 1918986354`,
		createDatabase("x", p, "C", false, 140000))
}

// survey of a server that suits the manifest below.
func suitable() (*Plan, *survey, []pgarchive.Entry) {
	m := &catalog.Manifest{
		ID: "20261121T031500Z-aaaaaaaaaaaaaaaa", Database: "erp", Tool: "pg_dump (PostgreSQL) 15.18", Cluster: catalog.Cluster{Version: 150018},
		Properties: &catalog.Properties{Owner: "boss", Encoding: "UTF8", Collate: "fr_FR.UTF-8", Ctype: "fr_FR.UTF-8", Provider: "libc", SizeOnServer: 1000},
		Extensions: map[string]string{"hstore": "1.8"}, Content: &catalog.Content{}, Roles: []string{"boss"},
	}
	s := &survey{
		version: 150018, user: "postgres", maintenance: "postgres", superuser: true, createDB: true, free: -1, inherits: map[string]bool{"postgres": true},
		roles: map[string]bool{"boss": true, "postgres": true}, extensions: map[string]extension{"hstore": {"1.8", true}}, locales: map[string]bool{"fr_fr.utf8": true},
	}
	toc := []pgarchive.Entry{{DumpID: 1, Desc: "EXTENSION", Tag: "hstore"}, {DumpID: 2, Desc: "COMMENT", Tag: "EXTENSION hstore"}, {DumpID: 3, Desc: "TABLE", Tag: "t", Namespace: "public", Owner: "boss"}}
	return &Plan{Database: "erp", Manifest: m, Tool: 150018, Free: -1}, s, toc
}

func TestPlanProblems(t *testing.T) {
	for name, test := range map[string]struct {
		change func(p *Plan, s *survey, o *Options)
		want   string // problem, or empty
		warns  string
	}{
		"fine":          {func(*Plan, *survey, *Options) {}, "", ""},
		"older server":  {func(_ *Plan, s *survey, _ *Options) { s.version = 140011 }, "older than the snapshot's 15", "definitions are compared"},
		"newer server":  {func(_ *Plan, s *survey, _ *Options) { s.version = 170001 }, "", "definitions are compared for information only"},
		"no extension":  {func(_ *Plan, s *survey, _ *Options) { s.extensions = nil }, `extension "hstore" is not installed`, ""},
		"other version": {func(_ *Plan, s *survey, _ *Options) { s.extensions["hstore"] = extension{"1.9", true} }, "", "version 1.9 here and was 1.8"},
		"no role":       {func(_ *Plan, s *survey, _ *Options) { delete(s.roles, "boss") }, `role "boss" does not exist`, ""},
		"role mapped": {func(_ *Plan, s *survey, o *Options) {
			delete(s.roles, "boss")
			o.Roles = map[string]string{"boss": "postgres"}
		}, "", ""},
		"role created":          {func(_ *Plan, s *survey, o *Options) { delete(s.roles, "boss"); o.CreateRoles = true }, "", ""},
		"role made one":         {func(_ *Plan, s *survey, o *Options) { delete(s.roles, "boss"); o.Owner = "postgres" }, "", "privileges on objects are not restored"},
		"no room":               {func(_ *Plan, s *survey, _ *Options) { s.free = 999 }, "about 1 kB are needed on the server and 999 B are free", ""},
		"room":                  {func(_ *Plan, s *survey, _ *Options) { s.free = 1000 }, "", ""},
		"unknown locale":        {func(_ *Plan, s *survey, _ *Options) { s.locales = nil }, "", `may not know the locale "fr_FR.UTF-8"`},
		"no icu":                {func(p *Plan, _ *survey, _ *Options) { p.Manifest.Properties.Provider = "icu" }, "no icu locales", ""},
		"exists":                {func(_ *Plan, s *survey, _ *Options) { s.live = &database{} }, `"erp" exists`, ""},
		"replaced":              {func(_ *Plan, s *survey, o *Options) { s.live, o.Replace = &database{}, true }, "", ""},
		"replaces own database": {func(_ *Plan, s *survey, o *Options) { s.live, o.Replace, s.maintenance = &database{}, true, "erp" }, "name another one", ""},
		"not its owner": {func(_ *Plan, s *survey, o *Options) {
			s.live, o.Replace, s.superuser, s.liveOwner = &database{}, true, false, "boss"
		}, "only its owner", "privileges on objects are not restored"},
		"no right to create": {func(_ *Plan, s *survey, _ *Options) { s.superuser, s.createDB = false, false }, "give it CREATEDB", "privileges on objects are not restored"},
		"template":           {func(p *Plan, _ *survey, _ *Options) { p.Database = "template1" }, "belongs to the server", ""},
		"our own form":       {func(p *Plan, _ *survey, _ *Options) { p.Database = "x__old_20260101T000000Z" }, "our own scratch or replaced", ""},
	} {
		p, s, toc := suitable()
		o := Options{}.withDefaults()
		test.change(p, s, &o)
		p.decide(toc, s, o)
		text := p.String()
		if test.want == "" {
			require.NoError(t, p.Err(), name)
		} else {
			require.ErrorContains(t, p.Err(), test.want, name)
			require.Contains(t, text, "PROBLEM", name)
		}
		if test.warns == "" {
			require.Empty(t, p.Warnings, name)
		} else {
			require.Contains(t, strings.Join(p.Warnings, "\n"), test.warns, name)
		}
	}
}

func TestOptionsReportEveryProblem(t *testing.T) {
	err := Options{Level: catalog.L2, Jobs: 4, Owner: "x", Roles: map[string]string{"a": "b"}, Timeout: -1, Parallel: -1}.withDefaults().validate()
	for _, want := range []string{"level L2", "SpoolDir", "exclude each other", "time-out: -1ns", "parallel"} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, Options{}.withDefaults().validate())
}
