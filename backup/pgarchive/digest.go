package pgarchive

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/runbook-go/runbook/backup/catalog"
)

const (
	batchSize = 32 << 10 // what is hashed at once: pg_dump -Z0 writes a block for every row
	maxWindow = 1 << 27  // of zstd; what level 22 uses

	// copyEnd is what pg_dump writes behind the rows of a table.
	copyEnd = "\\.\n\n\n"
	held    = len(copyEnd) + 1 // the end of the stream, not hashed before it is known to be the end
)

// digest counts and hashes one stream after the other.
type digest struct {
	hash  hash.Hash
	batch []byte // not hashed yet
	lines int64  // newlines hashed
	bytes int64  // hashed

	rows *rowSum // if the order of rows does not count, beside hash

	method string // of compression
	in     *bufio.Reader
	zlib   io.ReadCloser
	zstd   *zstd.Decoder
	copied []byte
}

func newDigest(method string) *digest {
	w := &digest{hash: sha256.New(), batch: make([]byte, 0, batchSize), method: method}
	if method == "gzip" || method == "zstd" {
		w.in, w.copied = bufio.NewReaderSize(nil, batchSize), make([]byte, batchSize)
	}
	return w
}

func (w *digest) close() {
	if w.zstd != nil {
		w.zstd.Close()
	}
}

func (w *digest) reset() {
	w.hash.Reset()
	w.batch, w.lines, w.bytes, w.rows = w.batch[:0], 0, 0, nil
}

func (w *digest) add(p []byte) {
	for len(p) > cap(w.batch)-len(w.batch) {
		n := cap(w.batch) - len(w.batch)
		w.batch = append(w.batch, p[:n]...)
		p = p[n:]
		w.flush(cap(w.batch) - held)
		w.batch = w.batch[:copy(w.batch, w.batch[cap(w.batch)-held:])]
	}
	w.batch = append(w.batch, p...)
}

// Write implements io.Writer for decompressors.
func (w *digest) Write(p []byte) (int, error) {
	w.add(p)
	return len(p), nil
}

// flush hashes the first n bytes of the batch.
func (w *digest) flush(n int) {
	w.hash.Write(w.batch[:n])
	if w.rows != nil {
		w.rows.add(w.batch[:n])
	}
	w.lines += int64(bytes.Count(w.batch[:n], []byte{'\n'}))
	w.bytes += int64(n)
}

// trimCopy removes the end mark of COPY text and hashes the rest. It says whether the mark was there, on a line of its own.
func (w *digest) trimCopy() bool {
	rows, ok := bytes.CutSuffix(w.batch, []byte(copyEnd))
	ok = ok && (len(rows) > 0 && rows[len(rows)-1] == '\n' || len(rows) == 0 && w.bytes == 0)
	w.batch = rows
	w.flush(len(w.batch))
	w.batch = w.batch[:0]
	return ok
}

func (w *digest) sum() (sum [sha256.Size]byte, size int64) {
	w.flush(len(w.batch))
	w.batch = w.batch[:0]
	w.hash.Sum(sum[:0])
	return sum, w.bytes
}

// expand adds what w.in gives, decompressed.
func (w *digest) expand() (err error) {
	if w.method == "zstd" {
		if w.zstd == nil {
			w.zstd, err = zstd.NewReader(w.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		} else {
			err = w.zstd.Reset(w.in)
		}
		if err == nil {
			_, err = w.zstd.WriteTo(w)
		}
		return err
	}
	if w.zlib == nil {
		w.zlib, err = zlib.NewReader(w.in)
	} else {
		err = w.zlib.(zlib.Resetter).Reset(w.in, nil)
	}
	if err == nil {
		_, err = io.CopyBuffer(w, w.zlib, w.copied)
	}
	return err
}

// sumUp sums up large objects, in whatever order they came.
func (d *decoder) sumUp(l *catalog.LargeObjects, blobs []blob) {
	if len(blobs) == 0 {
		return
	}
	slices.SortFunc(blobs, func(a, b blob) int { return cmp.Compare(a.oid, b.oid) })
	h := sha256.New()
	record := make([]byte, 0, 4+8+sha256.Size)
	for i, b := range blobs {
		if i > 0 && b.oid == blobs[i-1].oid {
			d.fail("holds the large object %d twice", b.oid)
		}
		record = binary.BigEndian.AppendUint32(record[:0], b.oid)
		record = binary.BigEndian.AppendUint64(record, uint64(b.size))
		h.Write(append(record, b.sum[:]...))
		l.Count, l.Bytes = l.Count+1, l.Bytes+b.size
	}
	l.SHA256 = hex.EncodeToString(h.Sum(nil))
}

// sumEntries hashes the entries that define something, and those that set a sequence.
func sumEntries(toc []Entry) (definitions, sequences string) {
	var defs, seqs multiset
	for i := range toc {
		e := &toc[i]
		if e.Desc == "SEQUENCE SET" {
			seqs.add(e.Namespace, e.Tag, e.Defn)
		}
		for _, record := range definition(e) {
			defs.add(record...)
		}
	}
	return defs.sum(), seqs.sum()
}

// definition returns what an entry defines, as records of fields, and nothing if it defines nothing.
func definition(e *Entry) [][]string {
	switch {
	case !defines(e):
		return nil
	case e.Desc == "BLOB":
		return [][]string{{"BLOB", e.Tag}}
	case e.Desc == "BLOB METADATA": // since 1.16, some objects of one owner at a time
		var records [][]string
		for oid := range strings.FieldsSeq(e.Defn) {
			records = append(records, []string{"BLOB", oid})
		}
		return records
	case e.Desc == "POLICY":
		return [][]string{{e.Desc, e.Namespace, e.Tag, sortRoles(e.Defn)}}
	}
	return [][]string{{e.Desc, e.Namespace, e.Tag, e.Defn, e.CopyStmt, e.TableAM, string(e.RelKind)}}
}

// sortRoles puts the roles of a CREATE POLICY statement in order. They stand in that of their OIDs, which differs from one cluster to the next.
func sortRoles(defn string) string {
	quoted := false
	for i := range len(defn) {
		switch {
		case defn[i] == '"':
			quoted = !quoted
		case quoted:
		case defn[i] == '(':
			return defn // no roles before the expressions
		case strings.HasPrefix(defn[i:], " TO "):
			var roles []string
			rest := defn[i+len(" TO "):]
			for {
				end := identEnd(rest)
				roles = append(roles, rest[:end])
				more, ok := strings.CutPrefix(rest[end:], ", ")
				if !ok {
					slices.Sort(roles)
					return defn[:i] + " TO " + strings.Join(roles, ", ") + rest[end:]
				}
				rest = more
			}
		}
	}
	return defn
}

// identEnd returns the length of the SQL identifier, quoted or not, at the start of a text.
func identEnd(s string) int {
	quoted := false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(" ,;(.", c) >= 0:
			return i
		}
	}
	return len(s)
}

// defines says whether the entry defines something inside the database, and not who owns it, who may use it or what it holds.
func defines(e *Entry) bool {
	switch e.Desc {
	case "ACL", "DEFAULT ACL", "ACL LANGUAGE", "DATABASE", "DATABASE PROPERTIES", "ENCODING", "STDSTRINGS", "SEARCHPATH", "BLOBS", "SEQUENCE SET", "STATISTICS DATA":
		return false
	case "COMMENT", "SECURITY LABEL":
		return !strings.HasPrefix(e.Tag, "DATABASE ")
	case "SCHEMA":
		// An entry that does not create schema public is there to hold its owner, if that is not who usually owns it.
		return !strings.HasPrefix(e.Defn, "--")
	}
	return true
}

// multiset hashes records regardless of their order.
type multiset struct{ records [][sha256.Size]byte }

func (m *multiset) add(fields ...string) {
	var record []byte
	for _, f := range fields {
		record = binary.BigEndian.AppendUint64(record, uint64(len(f)))
		record = append(record, f...)
	}
	m.records = append(m.records, sha256.Sum256(record))
}

func (m *multiset) sum() string {
	slices.SortFunc(m.records, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	h := sha256.New()
	for _, r := range m.records {
		h.Write(r[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
