package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Content is what a dump says about the data and definitions of one database. Two databases with equal Content hold the same
// rows in the same order, the same large objects, the same sequence positions and the same definitions, whoever owns them.
type Content struct {
	Tables       []Table      `json:"tables"` // by schema, then name
	LargeObjects LargeObjects `json:"large_objects"`
	Entries      int          `json:"entries"`     // entries in the archive's table of contents
	Definitions  string       `json:"definitions"` // hex SHA-256 over the statements that define everything but owners and privileges
	Sequences    string       `json:"sequences"`   // hex SHA-256 over the statements that set sequence positions
}

// Table is the COPY stream of one table.
type Table struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`  // of the COPY text, framing removed
	SHA256 string `json:"sha256"` // hex, of the COPY text, framing removed
}

// LargeObjects sums up the large objects of a database.
type LargeObjects struct {
	Count  int64  `json:"count"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"` // hex, over (oid, length, SHA-256) of each, by oid; empty if there is none
}

// Rows is the number of rows of all tables.
func (c *Content) Rows() (n int64) {
	for _, t := range c.Tables {
		n += t.Rows
	}
	return n
}

// Diff tells how got differs from c in data: tables, large objects and sequence positions. Each line names one object. It is
// empty if they are equal. Definitions are not compared, as they change from one major version to the next; compare the field.
func (c *Content) Diff(got *Content) []string {
	var diffs []string
	type name struct{ schema, table string }
	index := func(tables []Table) map[name]Table {
		m := make(map[name]Table, len(tables))
		for _, t := range tables {
			m[name{t.Schema, t.Name}] = t
		}
		return m
	}
	want, have := index(c.Tables), index(got.Tables)
	byName := func(a, b name) int { return cmp.Or(cmp.Compare(a.schema, b.schema), cmp.Compare(a.table, b.table)) }
	for _, n := range slices.SortedFunc(maps.Keys(want), byName) {
		w := want[n]
		switch g, ok := have[n]; {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("table %q.%q is missing (%d rows)", n.schema, n.table, w.Rows))
		case g.Rows != w.Rows:
			diffs = append(diffs, fmt.Sprintf("table %q.%q has %d rows, not %d", n.schema, n.table, g.Rows, w.Rows))
		case g.SHA256 != w.SHA256:
			diffs = append(diffs, fmt.Sprintf("table %q.%q has %d rows as it should, but their content differs", n.schema, n.table, g.Rows))
		}
	}
	for _, n := range slices.SortedFunc(maps.Keys(have), byName) {
		if _, ok := want[n]; !ok {
			diffs = append(diffs, fmt.Sprintf("table %q.%q should not be there (%d rows)", n.schema, n.table, have[n].Rows))
		}
	}
	if c.LargeObjects != got.LargeObjects {
		diffs = append(diffs, fmt.Sprintf("large objects differ: %d with %d bytes, not %d with %d",
			got.LargeObjects.Count, got.LargeObjects.Bytes, c.LargeObjects.Count, c.LargeObjects.Bytes))
	}
	if c.Sequences != got.Sequences {
		diffs = append(diffs, "sequence positions differ")
	}
	return diffs
}
