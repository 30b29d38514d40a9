package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/backup/catalog"
)

// Database is one database of a cluster, as its shared catalogs describe it.
type Database struct {
	Name              string
	IsTemplate        bool
	AllowsConnections bool
	Properties        catalog.Properties
	Roles             []string // that own something or are granted something in it
}

// discoverSQL asks for columns that only some versions have by way of JSON, so that one statement serves PostgreSQL 10 and later.
const discoverSQL = `
SELECT d.datname, d.datistemplate, d.datallowconn, jsonb_build_object(
	'owner', pg_get_userbyid(d.datdba),
	'encoding', pg_encoding_to_char(d.encoding),
	'collate', d.datcollate,
	'ctype', d.datctype,
	'locale_provider', CASE to_jsonb(d)->>'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
	'locale', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale', ''),
	'icu_rules', coalesce(to_jsonb(d)->>'daticurules', ''),
	'tablespace', t.spcname,
	'connection_limit', d.datconnlimit,
	'comment', coalesce(shobj_description(d.oid, 'pg_database'), ''),
	'default_acl', d.datacl IS NULL,
	'acl', (SELECT jsonb_agg(jsonb_build_object(
			'grantee', CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END,
			'grantor', pg_get_userbyid(a.grantor), 'privilege', a.privilege_type, 'grantable', a.is_grantable)
			ORDER BY a.grantee, a.privilege_type, a.grantor)
		FROM aclexplode(d.datacl) a),
	'settings', (SELECT jsonb_agg(jsonb_build_object(
			'role', CASE s.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(s.setrole) END,
			'name', split_part(c, '=', 1), 'value', substr(c, strpos(c, '=') + 1)) ORDER BY s.setrole, n)
		FROM pg_db_role_setting s, unnest(s.setconfig) WITH ORDINALITY u (c, n) WHERE s.setdatabase = d.oid),
	'size_on_server', CASE WHEN d.datallowconn AND has_database_privilege(d.oid, 'CONNECT') THEN coalesce(pg_database_size(d.oid), 0) ELSE 0 END
), coalesce((SELECT jsonb_agg(DISTINCT pg_get_userbyid(r.refobjid))
	FROM pg_shdepend r
	WHERE r.refclassid = 'pg_authid'::regclass
	  AND (r.dbid = d.oid OR r.dbid = 0 AND r.classid = 'pg_database'::regclass AND r.objid = d.oid)), '[]')
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
ORDER BY d.datname`

// discover reads what the shared catalogs know of every database.
func discover(ctx context.Context, conn *pgx.Conn) ([]Database, error) {
	rows, err := conn.Query(ctx, discoverSQL)
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	databases, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (db Database, err error) {
		var properties, roles []byte
		if err := row.Scan(&db.Name, &db.IsTemplate, &db.AllowsConnections, &properties, &roles); err != nil {
			return db, err
		}
		if err := json.Unmarshal(properties, &db.Properties); err != nil {
			return db, err
		}
		return db, json.Unmarshal(roles, &db.Roles)
	})
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	return databases, nil
}

func identify(ctx context.Context, conn *pgx.Conn) (c catalog.Cluster, err error) {
	err = conn.QueryRow(ctx, `SELECT system_identifier::text, current_setting('server_version_num')::int, current_setting('cluster_name')
		FROM pg_control_system()`).Scan(&c.SystemID, &c.Version, &c.Name)
	if err != nil {
		return c, fmt.Errorf("identify the cluster: %w", err)
	}
	return c, nil
}

// workers returns how many databases to dump at a time by default: one a core, but at most half of the connections that are free now.
func workers(ctx context.Context, conn *pgx.Conn) (int, error) {
	var free int
	err := conn.QueryRow(ctx, `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
		- (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend')`).Scan(&free)
	if err != nil {
		return 0, fmt.Errorf("count free connections: %w", err)
	}
	return max(1, min(runtime.GOMAXPROCS(0), free/4)), nil // a dump takes two connections, for a moment
}

// inside reads what only a connection to the database itself can tell.
func inside(ctx context.Context, conn *pgx.Conn) (lsn string, extensions map[string]string, err error) {
	err = conn.QueryRow(ctx, `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
		coalesce((SELECT jsonb_object_agg(extname, extversion) FROM pg_extension), '{}')`).Scan(&lsn, &extensions)
	if err != nil {
		return "", nil, fmt.Errorf("read the database's position and extensions: %w", err)
	}
	return lsn, extensions, nil
}
