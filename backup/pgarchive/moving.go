package pgarchive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/runbook-go/runbook/backup/catalog"
)

// A table that is partitioned by the hash of an enum is dumped partition by partition, but loaded through its root: the hash depends on OIDs, so rows come back in
// other partitions than they came from. Such partitions are summed up as one table, that of their root, and without regard to the order of rows.

// DataTable returns the table under which Content sums up the rows of a TABLE DATA entry: its own, or that of the root through which a
// partition is loaded.
func (e *Entry) DataTable() (schema, name string) {
	qualified, moving := strings.CutPrefix(e.Defn, "-- load via partition root ")
	if !moving {
		return e.Namespace, e.Tag
	}
	schema, rest := cutIdent(strings.TrimRight(qualified, "\n"))
	name, _ = cutIdent(strings.TrimPrefix(rest, "."))
	return schema, name
}

// cutIdent takes an SQL identifier from the start of a text and its quotes away.
func cutIdent(s string) (ident, rest string) {
	end := identEnd(s)
	ident, rest = s[:end], s[end:]
	if inner, ok := strings.CutPrefix(ident, `"`); ok {
		ident = strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
	}
	return ident, rest
}

// rowSum adds up the hashes of rows, in four lanes of 64 bits, so that their order does not count.
type rowSum struct {
	lanes [4]uint64
	row   []byte // not ended yet
}

func (r *rowSum) add(text []byte) {
	for len(text) > 0 {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		r.row = append(r.row, line...)
		if !ended {
			return
		}
		sum := sha256.Sum256(r.row)
		for i := range r.lanes {
			r.lanes[i] += binary.BigEndian.Uint64(sum[8*i:])
		}
		r.row, text = r.row[:0], rest
	}
}

// merge adds what another partition of the same root holds.
func (r *rowSum) merge(other *rowSum) {
	for i := range r.lanes {
		r.lanes[i] += other.lanes[i]
	}
}

func (r *rowSum) sum() string {
	var b []byte
	for _, lane := range r.lanes {
		b = binary.BigEndian.AppendUint64(b, lane)
	}
	return hex.EncodeToString(b)
}

// roots collects partitions by their root.
type roots map[catalog.Table]*root // by Schema and Name alone

type root struct {
	table catalog.Table
	rows  rowSum
}

func (r roots) add(schema, name string, partition catalog.Table, rows *rowSum) {
	key := catalog.Table{Schema: schema, Name: name}
	to := r[key]
	if to == nil {
		to = &root{table: key}
		r[key] = to
	}
	to.table.Rows += partition.Rows
	to.table.Bytes += partition.Bytes
	to.rows.merge(rows)
}

func (r roots) tables() (tables []catalog.Table) {
	for _, root := range r {
		root.table.SHA256 = root.rows.sum()
		tables = append(tables, root.table)
	}
	return tables
}
