package restore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/internal/pgname"
)

// mark is what the comment of a database of ours holds. The server alone must be enough to tell what it is and what may be done with it.
type mark struct {
	Kind     string     `json:"kind"`                 // kindScratch or kindOld
	Live     string     `json:"live"`                 // database that it was made for, or was
	OID      uint32     `json:"oid"`                  // of the database itself: a comment that was copied by hand does not count
	Snapshot string     `json:"snapshot,omitempty"`   // that a scratch database is filled from, or that replaced an old one
	At       time.Time  `json:"at"`                   //
	Keep     *time.Time `json:"keep_until,omitempty"` // of an old one
	Open     bool       `json:"open,omitempty"`       // an old one allowed connections
	Comment  string     `json:"comment,omitempty"`    // that an old one had
}

const (
	kindScratch = "scratch"
	kindOld     = "old"

	// birthLimit is the connection limit with which a scratch database is created. It tells it from any other until the comment is there, as a
	// database and its comment cannot be made in one transaction.
	birthLimit = 1_918_986_354 // "rbkr"
)

func (m mark) comment() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // a struct of plain fields
	}
	return pgname.RestoreMark + string(text)
}

func parseMark(comment string) (m mark, ok bool) {
	text, ok := strings.CutPrefix(comment, pgname.RestoreMark)
	if !ok {
		return mark{}, false
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil || d.More() {
		return mark{}, false
	}
	return m, m.Kind == kindScratch || m.Kind == kindOld
}

var (
	scratchForm = regexp.MustCompile(`(?s)^.*__restore_([0-9a-f]{8})_[a-z2-7]{8}$`)
	oldForm     = regexp.MustCompile(`(?s)^.*__old_[0-9]{8}T[0-9]{6}Z$`)
)

// lockKey is what runs on the same database have in common. Drills of two snapshots of a database do not get in each other's way.
type lockKey struct {
	live  string
	drill string // snapshot; empty for a restore
}

func (k lockKey) hash() [4]byte {
	sum := sha256.Sum256([]byte(k.live + "\x00" + k.drill))
	return [4]byte(sum[:4])
}

// scratchName returns a new name for a scratch database. It holds the hash by which it is locked, so that the owner of one that is not yet marked can be
// looked for.
func (k lockKey) scratchName() string {
	var random [5]byte
	rand.Read(random[:])
	hash := k.hash()
	return pgname.Derived(k.live, "__restore_"+hex.EncodeToString(hash[:])+"_"+strings.ToLower(base32.StdEncoding.EncodeToString(random[:])))
}

// oldName returns the name under which a replaced database is kept.
func oldName(live string, at time.Time) string {
	return pgname.Derived(live, "__old_"+at.UTC().Format("20060102T150405Z"))
}

// database is a row of pg_database with its mark.
type database struct {
	name    string
	oid     uint32
	limit   int
	open    bool
	comment string
	mark    mark
	marked  bool // mark is well-formed and the database's own
}

const databaseQuery = `SELECT datname, oid, datconnlimit, datallowconn, coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '') FROM pg_catalog.pg_database`

func readDatabases(ctx context.Context, conn *pgx.Conn) ([]database, error) {
	rows, err := conn.Query(ctx, databaseQuery+` ORDER BY oid`)
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanDatabase)
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	return list, nil
}

// readDatabase returns nil if there is no such database.
func readDatabase(ctx context.Context, conn *pgx.Conn, name string) (*database, error) {
	rows, err := conn.Query(ctx, databaseQuery+` WHERE datname = $1`, name)
	if err != nil {
		return nil, fmt.Errorf("look for database %q: %w", name, err)
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDatabase)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for database %q: %w", name, err)
	}
	return &d, nil
}

func scanDatabase(row pgx.CollectableRow) (d database, err error) {
	err = row.Scan(&d.name, &d.oid, &d.limit, &d.open, &d.comment)
	d.mark, d.marked = parseMark(d.comment)
	d.marked = d.marked && d.mark.OID == d.oid
	return d, err
}

// scratchHash returns the lock's hash if d is a scratch database of ours.
func (d *database) scratchHash() (hash [4]byte, ok bool) {
	form := scratchForm.FindStringSubmatch(d.name)
	newborn := d.comment == "" && d.limit == birthLimit
	if form == nil || !newborn && (!d.marked || d.mark.Kind != kindScratch) {
		return hash, false
	}
	_, err := hex.Decode(hash[:], []byte(form[1]))
	return hash, err == nil
}

// isOld says whether d is a replaced database that we keep.
func (d *database) isOld() bool {
	return d.marked && d.mark.Kind == kindOld && oldForm.MatchString(d.name)
}

// lockClass is the first half of the keys of our advisory locks.
const lockClass = 0x72626b72

// lock takes the session advisory lock of a hash, waiting for at most wait. The lock is known server-wide by pg_locks, although PostgreSQL keeps
// advisory locks of two maintenance databases apart.
func lock(ctx context.Context, conn *pgx.Conn, hash [4]byte, wait time.Duration) (bool, error) {
	key := int32(binary.BigEndian.Uint32(hash[:]))
	for deadline := time.Now().Add(wait); ; {
		var got, elsewhere bool
		if err := conn.QueryRow(ctx, `SELECT pg_catalog.pg_try_advisory_lock($1::int4, $2::int4)`, int32(lockClass), key).Scan(&got); err != nil {
			return false, fmt.Errorf("take the advisory lock: %w", err)
		}
		if got {
			err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE locktype = 'advisory' AND granted AND pid <> pg_catalog.pg_backend_pid()
				AND classid::bigint = $1::bigint AND objid::bigint = $2::bigint AND objsubid = 2)`, int64(lockClass), int64(uint32(key))).Scan(&elsewhere)
			if err != nil || elsewhere {
				err = errors.Join(err, unlock(ctx, conn, hash))
			}
			if err != nil {
				return false, fmt.Errorf("take the advisory lock: %w", err)
			}
			if !elsewhere {
				return true, nil
			}
		}
		if !time.Now().Before(deadline) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func unlock(ctx context.Context, conn *pgx.Conn, hash [4]byte) error {
	_, err := conn.Exec(ctx, `SELECT pg_catalog.pg_advisory_unlock($1::int4, $2::int4)`, int32(lockClass), int32(binary.BigEndian.Uint32(hash[:])))
	return err
}
