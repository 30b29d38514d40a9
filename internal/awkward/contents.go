package awkward

import "embed"

//go:embed *.sql
var files embed.FS

// contents returns databases whose content is hard to dump or to restore; the files beside say what is in them.
func contents() []Database {
	read := func(name string) string {
		text, err := files.ReadFile(name + ".sql")
		if err != nil {
			panic(err) // a file of this package
		}
		return string(text)
	}
	databases := []Database{
		{Name: "empty"},
		{Name: "without public", SQL: "DROP SCHEMA public"},
		{
			Name: "properties", SQL: "CREATE TABLE t (n int)",
			Cluster: `
				ALTER DATABASE {} OWNER TO awkward_owner;
				COMMENT ON DATABASE {} IS E'it''s a\n\\comment; \\! echo "x"';
				REVOKE ALL ON DATABASE {} FROM PUBLIC;
				GRANT CONNECT, TEMPORARY ON DATABASE {} TO "awkward ""reader""" WITH GRANT OPTION;
				ALTER DATABASE {} SET search_path = "$user", public, "it's ""odd"", isn't it";
				ALTER DATABASE {} SET application_name = E'it''s \\ x';
				ALTER DATABASE {} SET work_mem = '12MB';
				ALTER DATABASE {} SET my.own = '';
				ALTER ROLE awkward_owner IN DATABASE {} SET search_path = public, other;
				ALTER ROLE awkward_owner IN DATABASE {} SET statement_timeout = '5min';
				ALTER ROLE awkward_owner SET lock_timeout = '1min';
				ALTER DATABASE {} CONNECTION LIMIT 7`,
		},
		{Name: "closed", SQL: "CREATE TABLE t (n int); INSERT INTO t VALUES (1)", Cluster: "ALTER DATABASE {} CONNECTION LIMIT 0"},
		{
			Name: "read only", SQL: "CREATE TABLE t (n int); INSERT INTO t VALUES (1)",
			Cluster: "ALTER DATABASE {} SET default_transaction_read_only = on",
		},
		{
			Name: "latin1", Options: "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'",
			SQL: "CREATE TABLE \"été\" (ÿ text); INSERT INTO \"été\" VALUES ('àéîõü ÿ'), ('')",
		},
		{
			Name: "sql_ascii", Options: "TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'",
			SQL: `CREATE TABLE bytes (t text); INSERT INTO bytes VALUES ('é'), (E'\xe9'), (E'\xff\xfe\x80')`,
		},
	}
	for _, name := range []string{
		"code", "columns", "constraints", "data", "event trigger", "extensions", "foreign", "large objects", "moving rows", "names within", "partitions",
		"privileges", "publications", "relations", "subscription", "types", "wide",
	} {
		databases = append(databases, Database{Name: name, SQL: read(name), Moves: name == "moving rows"})
	}
	return databases
}
