package restore_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/pgtest"
)

func TestMain(m *testing.M) {
	if crashChild() {
		return
	}
	pgtest.Main(m)
}

// memory is a store that keeps snapshots in memory and can be damaged. Unlike a real one it does not verify what it gives back: so the tests show that
// the restore does not rely on it.
type memory struct {
	mu        sync.Mutex
	archives  map[string][]byte
	snapshots []*catalog.Snapshot
	ticks     int
	reader    func(id string, r io.Reader) io.Reader // wraps what Open returns, if not nil
}

var _ catalog.Store = (*memory)(nil)

func (s *memory) Put(ctx context.Context, m *catalog.Manifest, dump func(context.Context, io.Writer) error) error {
	var b bytes.Buffer
	if err := dump(ctx, &b); err != nil {
		return err
	}
	sum := sha256.Sum256(b.Bytes())
	m.Archive.Size, m.Archive.SHA256, m.Finished = int64(b.Len()), hex.EncodeToString(sum[:]), time.Now().UTC()
	m.Verified[catalog.L2] = m.Finished
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.archives == nil {
		s.archives = make(map[string][]byte)
	}
	s.archives[m.ID] = b.Bytes()
	s.snapshots = append(s.snapshots, &catalog.Snapshot{Manifest: *m})
	return nil
}

func (s *memory) Open(_ context.Context, m *catalog.Manifest) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.archives[m.ID]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", m.ID, fs.ErrNotExist)
	}
	var r io.Reader = bytes.NewReader(b)
	if s.reader != nil {
		r = s.reader(m.ID, r)
	}
	return io.NopCloser(r), nil
}

func (s *memory) List(_ context.Context, q catalog.Query) iter.Seq2[*catalog.Snapshot, error] {
	s.mu.Lock()
	list := slices.Clone(s.snapshots)
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b *catalog.Snapshot) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Database, b.Database), cmp.Compare(a.ID, b.ID))
	})
	return func(yield func(*catalog.Snapshot, error) bool) {
		for _, one := range list {
			if q.Match(&one.Manifest) && !yield(one, nil) {
				return
			}
		}
	}
}

func (s *memory) Record(_ context.Context, m *catalog.Manifest, e catalog.Evidence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.snapshots {
		if one.ID == m.ID {
			one.Evidence = append(one.Evidence, e)
			return nil
		}
	}
	return fs.ErrNotExist
}

func (s *memory) Delete(context.Context, *catalog.Manifest, string) error {
	return errors.ErrUnsupported
}

// propertiesSQL reads of a database what a backup keeps.
const propertiesSQL = `SELECT jsonb_build_object('owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
	'collate', d.datcollate, 'ctype', d.datctype, 'tablespace', t.spcname, 'connection_limit', d.datconnlimit,
	'locale_provider', CASE to_jsonb(d)->>'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
	'locale', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale', ''),
	'comment', coalesce(shobj_description(d.oid, 'pg_database'), ''), 'default_acl', d.datacl IS NULL,
	'acl', (SELECT jsonb_agg(jsonb_build_object('grantee', CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END,
		'grantor', pg_get_userbyid(a.grantor), 'privilege', a.privilege_type, 'grantable', a.is_grantable)) FROM aclexplode(d.datacl) a),
	'settings', (SELECT jsonb_agg(jsonb_build_object('role', CASE s.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(s.setrole) END,
		'name', split_part(c, '=', 1), 'value', substr(c, strpos(c, '=') + 1)) ORDER BY s.setrole, c)
		FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setdatabase = d.oid)),
	coalesce((SELECT jsonb_agg(DISTINCT pg_get_userbyid(r.refobjid)) FROM pg_shdepend r WHERE r.refclassid = 'pg_authid'::regclass
		AND (r.dbid = d.oid OR r.dbid = 0 AND r.classid = 'pg_database'::regclass AND r.objid = d.oid)), '[]')
	FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = $1`

func readProperties(t testing.TB, s *pgtest.Server, database string) (p catalog.Properties, roles []string) {
	t.Helper()
	var properties, r []byte
	conn, err := s.Conn().Connect(t.Context(), "")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), propertiesSQL, database).Scan(&properties, &r), database)
	require.NoError(t, json.Unmarshal(properties, &p))
	require.NoError(t, json.Unmarshal(r, &roles))
	return p, roles
}

// backUp keeps a snapshot of a database in the store, as package backup does.
func (s *memory) backUp(t testing.TB, server *pgtest.Server, database string) *catalog.Snapshot {
	t.Helper()
	now := s.clock()
	m := &catalog.Manifest{
		Version: catalog.FormatVersion, ID: catalog.NewID(now), Run: catalog.NewID(now), Kind: catalog.Database, Database: database, Started: now,
		Cluster:  catalog.Cluster{SystemID: "1", Version: server.Version()},
		Tool:     fmt.Sprintf("pg_dump (PostgreSQL) %d.%d", server.Tools().Version/10000, server.Tools().Version%10000),
		Verified: map[catalog.Level]time.Time{catalog.L0: now, catalog.L1: now},
	}
	p, roles := readProperties(t, server, database)
	m.Properties, m.Roles = &p, roles
	m.Extensions = one[map[string]string](t, server, database, `SELECT jsonb_object_agg(extname, extversion) FROM pg_extension`)
	require.NoError(t, s.Put(t.Context(), m, func(_ context.Context, w io.Writer) error {
		archive := server.Dump(t, database)
		summary, err := pgarchive.Walk(bytes.NewReader(archive))
		if err != nil {
			return err
		}
		m.Content, m.Archive.Format = &summary.Content, "custom "+summary.Header.Version.String()
		_, err = w.Write(archive)
		return err
	}))
	return s.find(m.ID)
}

func (s *memory) backUpGlobals(t testing.TB, script string) *catalog.Snapshot {
	t.Helper()
	now := s.clock()
	m := &catalog.Manifest{
		Version: catalog.FormatVersion, ID: catalog.NewID(now), Run: catalog.NewID(now), Kind: catalog.Globals, Started: now,
		Cluster: catalog.Cluster{SystemID: "1", Version: 150018}, Verified: map[catalog.Level]time.Time{catalog.L1: now},
	}
	require.NoError(t, s.Put(t.Context(), m, func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, script)
		return err
	}))
	return s.find(m.ID)
}

// clock gives each snapshot a second of its own, as identifiers are no finer.
func (s *memory) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticks++
	return time.Now().UTC().Add(time.Duration(s.ticks-1000) * time.Second)
}

func (s *memory) find(id string) *catalog.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.snapshots {
		if one.ID == id {
			return one
		}
	}
	return nil
}

// damage changes the archive of a snapshot.
func (s *memory) damage(id string, change func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.archives[id] = change(bytes.Clone(s.archives[id]))
}

// databases lists the databases whose name has any of the parts.
func databases(t testing.TB, s *pgtest.Server, parts ...string) (names []string) {
	t.Helper()
	conn, err := s.Conn().Connect(t.Context(), "")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `SELECT datname FROM pg_database ORDER BY datname`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for _, n := range all {
		if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(n, p) }) {
			names = append(names, n)
		}
	}
	return names
}

// one reads a single value.
func one[T any](t testing.TB, s *pgtest.Server, database, sql string, args ...any) (v T) {
	t.Helper()
	conn, err := s.Conn().Connect(t.Context(), database)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(t.Context(), sql, args...).Scan(&v), sql)
	return v
}
