// Package pgconn turns one connection string into the two things this module needs: connections of our own, and the arguments and
// environment with which PostgreSQL's client programs reach the same server. Secrets go into the environment of the child only,
// and a database name is always quoted: given bare, a name with a "=" in it would be taken for a connection string.
package pgconn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/internal/pgname"
)

// Server says how to reach a PostgreSQL server. The zero value is not usable, see [Parse].
type Server struct {
	params map[string]string // libpq keywords, without dbname and password
	secret string            // password, or empty
	maint  string            // database for statements that concern other databases
}

// taken lists the keywords that both libpq and pgx take, beside dbname and password. sslpassword is not among them: it could not be
// handed to a child unseen.
var taken = []string{
	"application_name", "client_encoding", "connect_timeout", "host", "options", "passfile", "port",
	"sslcert", "sslkey", "sslmode", "sslrootcert", "sslsni", "target_session_attrs", "user",
}

// Parse reads a libpq connection string: keyword/value pairs or a postgres:// URL. host and user must be given, as no environment
// variable is read; port is 5432, dbname "postgres" and sslmode libpq's "prefer" unless given. dbname names the maintenance database. A
// password that is not given is looked up in passfile, by default ~/.pgpass.
func Parse(dsn string) (*Server, error) {
	params, err := parse(dsn)
	if err != nil {
		return nil, fmt.Errorf("connection string: %w", err)
	}
	s := &Server{params: params, secret: params["password"], maint: params["dbname"]}
	delete(params, "password")
	delete(params, "dbname")
	if s.maint == "" {
		s.maint = "postgres"
	}
	var problems []error
	for _, keyword := range slices.Sorted(maps.Keys(params)) {
		if !slices.Contains(taken, keyword) {
			problems = append(problems, fmt.Errorf("keyword %q is not supported; supported: dbname, password, %s", keyword, strings.Join(taken, ", ")))
		}
	}
	for _, keyword := range []string{"host", "user"} {
		if params[keyword] == "" {
			problems = append(problems, fmt.Errorf("%s is missing; give %s=…", keyword, keyword))
		}
	}
	if params["port"] == "" {
		params["port"] = "5432"
	}
	if params["connect_timeout"] == "" {
		params["connect_timeout"] = "15"
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("connection string: %w", err)
	}
	if _, err := s.config(s.maint); err != nil {
		return nil, err
	}
	return s, nil
}

// Maintenance returns the name of the database in which statements about other databases are run.
func (s *Server) Maintenance() string { return s.maint }

// User returns the role that connects.
func (s *Server) User() string { return s.params["user"] }

// String describes the server without any secret.
func (s *Server) String() string {
	return fmt.Sprintf("%s@%s:%s", s.params["user"], s.params["host"], s.params["port"])
}

// Secrets lists what must never be shown.
func (s *Server) Secrets() []string {
	if s.secret == "" {
		return nil
	}
	return []string{s.secret}
}

// Connect opens a connection to a database; the empty name is the maintenance database.
func (s *Server) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	if database == "" {
		database = s.maint
	}
	config, err := s.config(database)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to database %q as %s: %w", database, s, err)
	}
	return conn, nil
}

func (s *Server) config(database string) (*pgx.ConnConfig, error) {
	// Everything that pgx would take from the environment is given, so that it is not.
	all := map[string]string{
		"application_name": "runbook", "sslcert": "", "sslkey": "", "sslmode": "prefer", "sslpassword": "",
		"sslrootcert": "", "sslsni": "1", "target_session_attrs": "any", "timezone": "UTC", "options": "",
		"min_protocol_version": "3.0", "max_protocol_version": "3.0", "sslcertmode": "allow", "sslnegotiation": "postgres",
		"channel_binding": "prefer", "require_auth": "", "krbsrvname": "",
	}
	maps.Copy(all, s.params)
	all["dbname"], all["password"] = database, s.secret
	config, err := pgx.ParseConfig(conninfo(all))
	if err != nil {
		// pgx's error may repeat the connection string.
		return nil, fmt.Errorf("connection string for %s: %s", s, s.Redact(err.Error()))
	}
	return config, nil
}

// Redact removes the password from a text.
func (s *Server) Redact(text string) string {
	for _, secret := range s.Secrets() {
		text = strings.ReplaceAll(text, secret, "xxxxx")
	}
	return text
}

// Args returns the arguments that make a client program connect to a database: never ask for a password, and a quoted
// connection string without one.
func (s *Server) Args(database string) []string {
	all := maps.Clone(s.params)
	all["dbname"] = database
	return []string{"--no-password", "--dbname=" + conninfo(all)}
}

// Env returns the environment that a client program needs beside the caller's own: the password, and messages in English.
func (s *Server) Env() []string {
	env := []string{"LC_MESSAGES=C"} // and no PGCLIENTENCODING: pg_dump must keep to the database's own, or it cannot dump SQL_ASCII
	if s.secret != "" {
		env = append(env, "PGPASSWORD="+s.secret)
	}
	return env
}

func conninfo(params map[string]string) string {
	var pairs []string
	for _, keyword := range slices.Sorted(maps.Keys(params)) {
		pairs = append(pairs, pgname.Conninfo(keyword, params[keyword]))
	}
	return strings.Join(pairs, " ")
}

func parse(dsn string) (map[string]string, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		return parseURL(dsn)
	}
	return parsePairs(dsn)
}

func parseURL(dsn string) (map[string]string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("the URL does not parse") // its error would repeat the password
	}
	params := make(map[string]string)
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the URL's query does not parse")
	}
	for key, values := range query {
		params[key] = values[len(values)-1]
	}
	set := func(keyword, value string) {
		if value != "" {
			params[keyword] = value
		}
	}
	set("host", u.Hostname())
	set("port", u.Port())
	set("dbname", strings.TrimPrefix(u.Path, "/"))
	set("user", u.User.Username())
	password, _ := u.User.Password()
	set("password", password)
	return params, nil
}

// parsePairs reads keyword=value pairs as described in PostgreSQL's documentation, section 34.1.1.1.
func parsePairs(dsn string) (map[string]string, error) {
	params := make(map[string]string)
	rest := strings.TrimLeft(dsn, " \t\r\n")
	for rest != "" {
		keyword, after, ok := strings.Cut(rest, "=")
		keyword = strings.TrimSpace(keyword)
		if !ok || keyword == "" || strings.ContainsAny(keyword, " '\\") {
			return nil, errors.New(`is not of the form "keyword=value keyword=value …", nor a postgres:// URL`)
		}
		after = strings.TrimLeft(after, " \t\r\n")
		quoted := strings.HasPrefix(after, "'")
		if quoted {
			after = after[1:]
		}
		var value strings.Builder
		i, closed := 0, !quoted
	scan:
		for ; i < len(after); i++ {
			switch c := after[i]; {
			case c == '\\' && i+1 < len(after):
				i++
				value.WriteByte(after[i])
			case quoted && c == '\'':
				closed = true
				i++
				break scan
			case !quoted && strings.IndexByte(" \t\r\n", c) >= 0:
				break scan
			default:
				value.WriteByte(c)
			}
		}
		if !closed {
			return nil, fmt.Errorf("the value of %q has no closing quote", keyword)
		}
		params[keyword] = value.String()
		rest = strings.TrimLeft(after[i:], " \t\r\n")
	}
	return params, nil
}
