// Package awkward holds databases that are hard to dump, name and restore, as fixtures for tests: what breaks a tool that was only tried on tidy
// ones.
package awkward

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/pgtest"
)

// Database is one fixture.
type Database struct {
	Name    string
	Options string // follows the name in CREATE DATABASE, for instance an encoding
	SQL     string // its content
	Cluster string // statements to be run from another database; {} stands for the quoted name
	Moves   bool   // rows come out of a restore in other partitions of the same table; nothing else differs
}

// Databases returns all fixtures. Some need the roles that [Create] makes.
func Databases() []Database { return slices.Concat(names(), contents()) }

// Roles returns the roles that own, and have rights in, the fixtures.
func Roles() []string { return []string{"awkward_owner", `awkward "reader"`} }

// Create makes all databases, and the roles that they need. They are dropped at the end of the test.
func Create(t testing.TB, s *pgtest.Server) []Database {
	t.Helper()
	CreateRoles(t, s)
	databases := Databases()
	for _, d := range databases {
		d.Create(t, s)
	}
	return databases
}

// CreateRoles makes the roles for the length of a test.
func CreateRoles(t testing.TB, s *pgtest.Server) {
	t.Helper()
	for _, role := range Roles() {
		s.Exec(t, "", "CREATE ROLE "+pgname.Ident(role))
		s.DropLater(t, "ROLE", role)
	}
}

// Create makes one database for the length of a test. The roles must exist.
func (d Database) Create(t testing.TB, s *pgtest.Server) {
	t.Helper()
	s.CreateDatabase(t, d.Name, d.Options)
	s.Exec(t, d.Name, d.SQL)
	s.Exec(t, "", strings.ReplaceAll(d.Cluster, "{}", pgname.Ident(d.Name)))
}

// names returns databases whose names are taken for something else somewhere: in a shell, a file name, a connection string, an option, a
// pattern, a format, SQL.
func names() []Database {
	var databases []Database
	for i, name := range []string{
		"two words", " leading and trailing ", "Upper And lower", "upper and lower", "été 数据库 🚲", "e\u0301te\u0301",
		strings.Repeat("x", 59) + "é" + "zz", strings.Repeat("x", 59) + "é" + "zy", // 63 bytes, alike up to the last
		"it's", `say "hi"`, "a;b", "line\nfeed", "carriage\rreturn", "tab\tand\x01control", "'; DROP DATABASE postgres; --",
		"-U", "--help", "host=evil dbname=x", "postgres://evil/x", "a/b", "..", "../../etc/passwd", ".hidden", "ends.", "a.b",
		"$(touch x)", "`touch x`", "$HOME", "a|b>c&d", `back\slash`, `C:\x`, "100%", "%s%n%2f", "*", "[a-z]?", "{a,b}", "~", "#", "CON", "^a", "null",
	} {
		if len(name) > 63 {
			panic(fmt.Sprintf("database name %q has %d bytes", name, len(name)))
		}
		databases = append(databases, Database{Name: name, SQL: fmt.Sprintf(
			"CREATE TABLE name (n int PRIMARY KEY, name text); INSERT INTO name VALUES (%d, %s)", i, pgname.Literal(name))})
	}
	return databases
}
