package filestore

import (
	"fmt"
	"strings"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgname"
)

const root = "runbook-v1/"

// What can stand behind an identifier in a key. Objects of one snapshot sort next to each other.
const (
	manifestSuffix = ".json"
	evidenceInfix  = ".evidence-" // then a NewID and .json
	deletedSuffix  = ".deleted"   // phase one of a deletion: the snapshot is unlisted and will go
	orphanSuffix   = ".orphan"    // a sweep is about to remove an unfinished upload
)

// folder returns where the snapshots of a database, or the globals, of a cluster are, with a slash at its end.
func folder(systemID string, kind catalog.Kind, database string) string {
	if kind == catalog.Globals {
		return root + systemID + "/globals/"
	}
	return root + systemID + "/db/" + pgname.Key(database) + "/"
}

func base(m *catalog.Manifest) string {
	return folder(m.Cluster.SystemID, m.Kind, m.Database) + m.ID
}

func dataKey(m *catalog.Manifest, encrypted bool) string {
	key := base(m) + ".dump.zst"
	if m.Kind == catalog.Globals {
		key = base(m) + ".sql.zst"
	}
	if encrypted {
		key += ".age"
	}
	return key
}

// prefix returns the longest key prefix under which everything lies that q can match.
func prefix(q catalog.Query) string {
	switch {
	case q.SystemID == "":
		return root
	case q.Kind == catalog.Globals, q.Kind == catalog.Database && q.Database != "":
		return folder(q.SystemID, q.Kind, q.Database) + q.ID
	case q.Database != "":
		return folder(q.SystemID, catalog.Database, q.Database) + q.ID
	default:
		return root + q.SystemID + "/"
	}
}

// splitKey takes a key of a snapshot apart: the folder with its slash, the identifier, and what stands behind it. ok is
// false for keys that are not a snapshot's.
func splitKey(key string) (dir, id, rest string, ok bool) {
	slash := strings.LastIndexByte(key, '/')
	if slash < 0 || !strings.HasPrefix(key, root) {
		return "", "", "", false
	}
	dir, name := key[:slash+1], key[slash+1:]
	id, rest, ok = strings.Cut(name, ".")
	if !ok {
		return "", "", "", false
	}
	if _, err := catalog.IDTime(id); err != nil {
		return "", "", "", false
	}
	switch parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(dir, root), "/"), "/"); {
	case len(parts) == 2 && parts[1] == "globals", len(parts) == 3 && parts[1] == "db":
		return dir, id, "." + rest, true
	}
	return "", "", "", false
}

// matchesFolder says whether a manifest lies where it belongs: a manifest that was copied to another database's folder must not be
// taken for a snapshot of that database.
func matchesFolder(m *catalog.Manifest, dir string) error {
	if want := folder(m.Cluster.SystemID, m.Kind, m.Database); want != dir {
		return fmt.Errorf("belongs into %s, not into %s", want, dir)
	}
	return nil
}
