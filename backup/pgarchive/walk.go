package pgarchive

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"

	"github.com/runbook-go/runbook/backup/catalog"
)

// What the first byte of a data block may say.
const (
	blockData  = 1
	blockBlobs = 3
)

// walk reads the data blocks up to the end of the input.
func (d *decoder) walk(s *Summary) (*Summary, error) {
	if d.err != nil {
		return nil, d.err
	}
	due := make(map[int]*Entry) // entries whose data is still to come
	for i := range s.TOC {
		if e := &s.TOC[i]; e.HasData() {
			due[e.DumpID] = e
		}
	}
	w := newDigest(s.Header.Compression)
	defer w.close()
	c := &s.Content
	c.Tables = []catalog.Table{}
	moving := make(roots)
	var blobs []blob
	for len(due) > 0 && d.err == nil {
		d.object = fmt.Sprintf("data of %d entries", len(due))
		at := d.offset()
		kind, id := d.byte(), d.int()
		e := due[id]
		switch {
		case d.err != nil:
		case kind != blockData && kind != blockBlobs:
			d.fail("holds a block of the unknown type %d", kind)
		case e == nil:
			d.fail("holds a block of the dump ID %d, which is not announced or was there already", id)
		case (kind == blockBlobs) != (e.Desc == "BLOBS") || kind == blockData && e.Desc != "TABLE DATA":
			d.fail("holds a block of type %d for a %s", kind, e.Desc)
		case e.Offsets == OffsetKnown && e.Offset != at:
			d.fail("of %s %q begins at byte %d, not at %d as announced", e.Desc, e.Tag, at, e.Offset)
		case kind == blockBlobs:
			d.object = "data of large objects"
			blobs = d.blobs(w, blobs)
		default:
			d.object = fmt.Sprintf("data of table %q.%q", e.Namespace, e.Tag)
			if schema, name := e.DataTable(); schema != e.Namespace || name != e.Tag {
				rows := &rowSum{}
				moving.add(schema, name, d.table(w, e, rows), rows)
				break
			}
			c.Tables = append(c.Tables, d.table(w, e, nil))
		}
		delete(due, id)
	}
	d.object = "archive"
	if d.more() {
		d.fail("goes on behind its end")
	}
	c.Tables = append(c.Tables, moving.tables()...)
	slices.SortFunc(c.Tables, func(a, b catalog.Table) int {
		return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
	})
	d.sumUp(&c.LargeObjects, blobs)
	if d.err != nil {
		return nil, d.err
	}
	c.Entries = len(s.TOC)
	c.Definitions, c.Sequences = sumEntries(s.TOC)
	if s.Header.Compression == "lz4" {
		c.Tables, c.LargeObjects = nil, catalog.LargeObjects{}
		return s, fmt.Errorf("sum up content compressed with lz4: %w; dump with -Z0, gzip or zstd", errors.ErrUnsupported)
	}
	return s, nil
}

// table sums up one table, and its rows in rows if that is not nil.
func (d *decoder) table(w *digest, e *Entry, rows *rowSum) catalog.Table {
	t := catalog.Table{Schema: e.Namespace, Name: e.Tag, Rows: -1}
	d.content(w, rows)
	if e.CopyStmt != "" && w.method != "lz4" {
		if !w.trimCopy() {
			d.fail("does not end as COPY text does")
		}
		t.Rows = w.lines
	}
	sum, size := w.sum()
	t.SHA256, t.Bytes = hex.EncodeToString(sum[:]), size
	return t
}

// content reads one chain of blocks into w, decompressed except for lz4.
func (d *decoder) content(w *digest, rows *rowSum) {
	w.reset()
	w.rows = rows
	if w.method == "none" || w.method == "lz4" {
		d.payload(w)
		return
	}
	w.in.Reset(&blockReader{d: d})
	if _, err := w.in.Peek(1); err == io.EOF {
		return // nothing was written, not even a compressed stream
	}
	err := w.expand()
	if err == nil {
		if _, err = w.in.ReadByte(); err == nil {
			err = errors.New("something follows the compressed stream")
		}
	}
	if err != io.EOF {
		d.fail("is damaged: %v", err)
	}
}

// blob is what remains of a large object.
type blob struct {
	oid  uint32
	size int64
	sum  [sha256.Size]byte
}

func (d *decoder) blobs(w *digest, blobs []blob) []blob {
	for d.err == nil {
		oid := uint32(d.int()) // an OID above 2^31 was written as a negative int
		if oid == 0 || !d.keep(int64(unsafe.Sizeof(blob{}))) {
			break
		}
		d.content(w, nil)
		b := blob{oid: oid}
		b.sum, b.size = w.sum()
		blobs = append(blobs, b)
	}
	return blobs
}
