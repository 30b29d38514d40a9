package pgarchive_test

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/pgarchive"
)

// writer writes archives of any version and shape, for those that no pg_dump at hand can write.
type writer struct {
	minor            int    // of the version, 12 to 16
	intSize, offSize int    // 0 is 4 and 8
	method           string // of compression; "" is none
	frame            int    // bytes a block; 0 is a line, as PostgreSQL until 18; 19 has 128 KiB
	offsets          bool   // written to a file: offsets are known

	entries []entry
	at      map[int]int64 // dump ID to offset of data
	buf     bytes.Buffer
}

type entry struct {
	id                                   int
	desc, namespace, tag, defn, copyStmt string
	section                              pgarchive.Section
	data                                 *string         // of a table
	blobs                                []largeObject   // of BLOBS
	edit                                 func(w *writer) // instead of a regular block
}

type largeObject struct {
	oid     uint32
	content string
}

const (
	endMark  = "\\.\n\n\n"
	blobOID  = 16401
	hugeOID  = 4000000001
	someRows = "1\tone\n2\t\\\\.\n3\t\\N\n"
)

// shop is a small archive with all kinds of entries.
func (w writer) shop() writer {
	rows, none := someRows+endMark, endMark
	w.entries = []entry{
		{id: 100, desc: "ENCODING", tag: "ENCODING", defn: "SET client_encoding = 'UTF8';\n", section: pgarchive.SectionPreData},
		{id: 2, desc: "SCHEMA", tag: "s", defn: "CREATE SCHEMA s;\n", section: pgarchive.SectionPreData},
		{id: 3, desc: "TABLE", namespace: "s", tag: "a", defn: "CREATE TABLE s.a (i integer, t text);\n", section: pgarchive.SectionPreData},
	}
	if w.minor >= 16 {
		w.entries = append(w.entries, entry{
			id: 5, desc: "BLOB METADATA", tag: "16401..4000000001", defn: fmt.Sprintf("%d\n%d\n", blobOID, hugeOID), section: pgarchive.SectionPreData,
		})
	} else {
		for i, oid := range []int{blobOID, hugeOID} {
			w.entries = append(w.entries, entry{
				id: 5 + i, desc: "BLOB", tag: fmt.Sprint(oid), defn: fmt.Sprintf("SELECT pg_catalog.lo_create('%d');\n", oid), section: pgarchive.SectionPreData,
			})
		}
	}
	w.entries = append(w.entries,
		entry{id: 10, desc: "TABLE DATA", namespace: "s", tag: "a", copyStmt: "COPY s.a (i, t) FROM stdin;\n", section: pgarchive.SectionData, data: &rows},
		entry{id: 11, desc: "TABLE DATA", namespace: "s", tag: "b", copyStmt: "COPY s.b (i) FROM stdin;\n", section: pgarchive.SectionData, data: &none},
		entry{id: 12, desc: "BLOBS", tag: "BLOBS", section: pgarchive.SectionData, blobs: []largeObject{{hugeOID, "x"}, {blobOID, "hello"}}},
		entry{id: 13, desc: "SEQUENCE SET", namespace: "s", tag: "q", defn: "SELECT pg_catalog.setval('s.q', 7, true);\n", section: pgarchive.SectionData},
	)
	return w
}

func (w writer) bytes() []byte {
	w.intSize, w.offSize = cmp.Or(w.intSize, 4), cmp.Or(w.offSize, 8)
	w.at = map[int]int64{}
	w.all()
	if w.offsets {
		w.all()
	}
	return bytes.Clone(w.buf.Bytes())
}

func (w *writer) all() {
	w.buf.Reset()
	w.head()
	w.int(int64(len(w.entries)))
	for _, e := range w.entries {
		w.entry(e)
	}
	for _, e := range w.entries {
		w.at[e.id] = int64(w.buf.Len())
		switch {
		case e.edit != nil:
			e.edit(w)
		case e.data != nil:
			w.block(1, e.id)
			w.payload(*e.data)
		case e.blobs != nil:
			w.block(3, e.id)
			for _, b := range e.blobs {
				w.int(int64(int32(b.oid)))
				w.payload(b.content)
			}
			w.int(0)
		}
	}
}

func (w *writer) head() {
	w.buf.WriteString("PGDMP")
	w.buf.Write([]byte{1, byte(w.minor), 0, byte(w.intSize), byte(w.offSize), 1})
	method := max(0, slices.Index([]string{"none", "gzip", "lz4", "zstd"}, w.method))
	if w.minor >= 15 {
		w.buf.WriteByte(byte(method))
	} else {
		w.int(-int64(method))
	}
	for _, v := range []int64{7, 6, 5, 21, 10, 126, 0} {
		w.int(v)
	}
	w.str("db")
	w.str("19.0")
	w.str("19.0")
}

func (w *writer) entry(e entry) {
	hasData := e.data != nil || e.blobs != nil || e.edit != nil
	w.int(int64(e.id))
	w.int(map[bool]int64{true: 1}[hasData])
	w.str("1259")
	w.str("16390")
	w.str(e.tag)
	w.str(e.desc)
	w.int(int64(e.section))
	w.str(e.defn)
	w.str("")
	if e.copyStmt == "" {
		w.int(-1)
	} else {
		w.str(e.copyStmt)
	}
	w.str(e.namespace)
	w.int(-1) // tablespace
	if w.minor >= 14 {
		w.int(-1) // table access method
	}
	if w.minor >= 16 {
		w.int(0) // relkind
	}
	w.str("somebody")
	w.str("false")
	for _, dep := range []int{2, 3} {
		w.str(fmt.Sprint(dep))
	}
	w.int(-1)
	state, offset := pgarchive.OffsetNoData, int64(0)
	if hasData {
		state = pgarchive.OffsetUnknown
		if w.offsets {
			state, offset = pgarchive.OffsetKnown, w.at[e.id]
		}
	}
	w.buf.WriteByte(byte(state))
	w.magnitude(uint64(offset), w.offSize)
}

func (w *writer) block(kind byte, id int) {
	w.buf.WriteByte(kind)
	w.int(int64(id))
}

func (w *writer) payload(s string) {
	switch {
	case s == "" && w.method != "": // pg_dump does not even begin a compressed stream
	case w.method == "gzip":
		s = compressed(s, func(out io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(out), nil })
	case w.method == "zstd":
		s = compressed(s, func(out io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(out) })
	}
	for s != "" {
		n := w.frame
		if n == 0 {
			n = strings.IndexByte(s, '\n') + 1
		}
		if n = min(n, len(s)); n == 0 {
			n = len(s)
		}
		w.int(int64(n))
		w.buf.WriteString(s[:n])
		s = s[n:]
	}
	w.int(0)
}

func compressed(s string, open func(io.Writer) (io.WriteCloser, error)) string {
	var out bytes.Buffer
	c, err := open(&out)
	if err == nil {
		_, err = io.WriteString(c, s)
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		panic(err)
	}
	return out.String()
}

func (w *writer) int(v int64) {
	if v < 0 {
		w.buf.WriteByte(1)
		v = -v
	} else {
		w.buf.WriteByte(0)
	}
	w.magnitude(uint64(v), w.intSize)
}

func (w *writer) magnitude(v uint64, size int) {
	for range size {
		w.buf.WriteByte(byte(v))
		v >>= 8
	}
}

func (w *writer) str(s string) {
	w.int(int64(len(s)))
	w.buf.WriteString(s)
}

func TestEveryVersionAndShapeGivesTheSameContent(t *testing.T) {
	want := walk(t, writer{minor: 14}.shop().bytes()).Content
	require.Equal(t, []string{"a", "b"}, []string{want.Tables[0].Name, want.Tables[1].Name})
	require.Equal(t, hexSHA256(someRows), want.Tables[0].SHA256)
	require.EqualValues(t, 3, want.Tables[0].Rows)
	require.Equal(t, hexSHA256(""), want.Tables[1].SHA256)
	require.EqualValues(t, 2, want.LargeObjects.Count)
	require.EqualValues(t, 6, want.LargeObjects.Bytes)
	for minor := 12; minor <= 16; minor++ {
		for _, sizes := range [][2]int{{4, 8}, {4, 4}, {8, 8}} {
			for _, frame := range []int{0, 1, 2, 3, 128 << 10} {
				for _, method := range []string{"none", "gzip", "zstd"} {
					if method == "zstd" && minor < 15 {
						continue
					}
					for _, offsets := range []bool{false, true} {
						w := writer{minor: minor, intSize: sizes[0], offSize: sizes[1], frame: frame, method: method, offsets: offsets}
						s := walk(t, w.shop().bytes())
						require.Equal(t, fmt.Sprintf("1.%d", minor), s.Header.Version.String())
						require.Equal(t, method, s.Header.Compression)
						require.Equal(t, sizes, [2]int{s.Header.IntSize, s.Header.OffSize})
						s.Content.Entries = want.Entries // large objects are fewer entries since 1.16
						require.Equal(t, want, s.Content, "%+v", w)
					}
				}
			}
		}
	}
}
