package restore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// survey is what a plan has to know of a server.
type survey struct {
	version     int // server_version_num
	user        string
	maintenance string
	superuser   bool
	createDB    bool
	createRole  bool
	inherits    map[string]bool      // roles that the user is a member of, itself included
	roles       map[string]bool      // roles that exist
	extensions  map[string]extension // that can be created
	locales     map[string]bool      // that are known, normalised
	icu         bool                 //
	live        *database            // that has the name already, or nil
	liveOwner   string
	liveSize    int64
	leftovers   []string // scratch databases of ours, in use or not
	free        int64    // bytes, or -1
}

type extension struct {
	version string // that CREATE EXTENSION gives
	anyone  bool   // who may create objects in the database can create it
}

// version returns the server_version_num that the server told when conn was made.
func version(conn *pgx.Conn) int {
	text, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
	digits := strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) // "17beta1" counts as 17.1
	var n [3]int
	for i := range min(len(digits), 3) {
		n[i], _ = strconv.Atoi(digits[i]) // digits only
	}
	if n[0] < 10 {
		return n[0]*10000 + n[1]*100 + n[2]
	}
	return n[0]*10000 + n[1]
}

func readSurvey(ctx context.Context, conn *pgx.Conn, name string) (*survey, error) {
	s := &survey{version: version(conn), free: -1, extensions: make(map[string]extension), locales: map[string]bool{"c": true, "posix": true}}
	err := conn.QueryRow(ctx, `SELECT rolname, pg_catalog.current_database(), rolsuper, rolcreatedb, rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user`).
		Scan(&s.user, &s.maintenance, &s.superuser, &s.createDB, &s.createRole)
	if err != nil {
		return nil, fmt.Errorf("look at the role that restores: %w", err)
	}
	if s.roles, err = readSet(ctx, conn, `SELECT rolname FROM pg_catalog.pg_roles`); err != nil {
		return nil, fmt.Errorf("list roles: %w", err)
	}
	if s.inherits, err = readSet(ctx, conn, `SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(current_user, oid, 'MEMBER')`); err != nil {
		return nil, fmt.Errorf("list roles: %w", err)
	}
	known, err := readSet(ctx, conn, `SELECT collcollate FROM pg_catalog.pg_collation WHERE collprovider = 'c' AND collcollate IS NOT NULL UNION SELECT datcollate FROM pg_catalog.pg_database`)
	if err != nil {
		return nil, fmt.Errorf("list locales: %w", err)
	}
	for l := range known {
		s.locales[normalLocale(l)] = true
	}
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collprovider = 'i')`).Scan(&s.icu); err != nil {
		return nil, fmt.Errorf("list locales: %w", err)
	}
	if err := s.readExtensions(ctx, conn); err != nil {
		return nil, err
	}
	return s, s.readDatabases(ctx, conn, name)
}

func (s *survey) readExtensions(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `SELECT a.name, a.default_version, NOT v.superuser OR coalesce((pg_catalog.to_jsonb(v)->>'trusted')::bool, false)
		FROM pg_catalog.pg_available_extensions a JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version`)
	if err != nil {
		return fmt.Errorf("list extensions: %w", err)
	}
	var name string
	var e extension
	_, err = pgx.ForEachRow(rows, []any{&name, &e.version, &e.anyone}, func() error {
		s.extensions[name] = e
		return nil
	})
	if err != nil {
		return fmt.Errorf("list extensions: %w", err)
	}
	return nil
}

func (s *survey) readDatabases(ctx context.Context, conn *pgx.Conn, name string) error {
	list, err := readDatabases(ctx, conn)
	if err != nil {
		return err
	}
	for i := range list {
		if _, ours := list[i].scratchHash(); ours {
			s.leftovers = append(s.leftovers, list[i].name)
		}
		if list[i].name == name {
			s.live = &list[i]
		}
	}
	if s.live == nil {
		return nil
	}
	err = conn.QueryRow(ctx, `SELECT pg_catalog.pg_get_userbyid(datdba),
		CASE WHEN pg_catalog.has_database_privilege(oid, 'CONNECT') THEN pg_catalog.pg_database_size(oid) ELSE 0 END
		FROM pg_catalog.pg_database WHERE oid = $1`, s.live.oid).Scan(&s.liveOwner, &s.liveSize)
	if err != nil {
		return fmt.Errorf("look at database %q: %w", name, err)
	}
	return nil
}

func readSet(ctx context.Context, conn *pgx.Conn, query string) (map[string]bool, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set, nil
}

// normalLocale makes the spellings of a locale equal: en_US.UTF-8, en_US.utf8.
func normalLocale(name string) string { return strings.ReplaceAll(strings.ToLower(name), "-", "") }
