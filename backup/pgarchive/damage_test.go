package pgarchive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/pgarchive"
)

// samples are archives small enough to be damaged at every byte.
func samples(t testing.TB) map[string][]byte {
	all := golden(t)
	for minor := 12; minor <= 16; minor++ {
		for _, method := range []string{"none", "gzip", "zstd", "lz4"} {
			if minor < 15 && (method == "zstd" || method == "lz4") {
				continue
			}
			for _, frame := range []int{0, 128 << 10} {
				w := writer{minor: minor, method: method, frame: frame, offsets: frame == 0}
				all[fmt.Sprintf("1.%d %s %d", minor, method, frame)] = w.shop().bytes()
			}
		}
	}
	return all
}

func TestCutAtEveryByteIsNoticed(t *testing.T) {
	for name, archive := range samples(t) {
		step := 1
		if strings.HasPrefix(name, "pg_dump") && name != "pg_dump-15" && name != "pg_dump-15-schema" {
			step = 29
		}
		for n := 0; n < len(archive); n += step {
			s, err := pgarchive.Walk(bytes.NewReader(archive[:n]))
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s cut to %d of %d bytes", name, n, len(archive))
			require.Nil(t, s)
			_, ok := errors.AsType[*pgarchive.FormatError](err)
			require.True(t, ok)
		}
		_, err := pgarchive.Walk(io.MultiReader(bytes.NewReader(archive), strings.NewReader("\x00")))
		require.ErrorContains(t, err, "goes on behind its end", name)
	}
}

// TestEveryChangedBitIsNoticed changes single bits all over, and runs of bytes too. Each must be an error or another Summary. The bits of
// table data that are not an error are what an archive with -Z0 cannot protect: they change only hashes.
func TestEveryChangedBitIsNoticed(t *testing.T) {
	for name, archive := range samples(t) {
		if strings.Contains(name, "lz4") || strings.Contains(name, "zstd") || strings.Contains(name, "gzip") {
			continue // compressed streams have bits that mean nothing
		}
		want := walk(t, archive)
		step := 37 // bits
		if name == "1.14 none 0" || name == "1.16 none 131072" {
			step = 1
		}
		var structural, content int
		damaged := bytes.Clone(archive)
		for bit := 0; bit < len(archive)*8; bit += step {
			damaged[bit/8] ^= 1 << (bit % 8)
			got, err := pgarchive.Walk(bytes.NewReader(damaged))
			switch {
			case err != nil:
				structural++
			case !reflect.DeepEqual(got, want):
				content++
			default:
				t.Fatalf("%s: bit %d of byte %d (%q) was changed unnoticed", name, bit%8, bit/8, archive[bit/8])
			}
			damaged[bit/8] = archive[bit/8]
		}
		for at := 0; at < len(archive); at += step {
			damaged[at] = bits.Reverse8(archive[at]) ^ 0x5a
			if damaged[at] != archive[at] {
				got, err := pgarchive.Walk(bytes.NewReader(damaged))
				require.True(t, err != nil || !reflect.DeepEqual(got, want), "%s: byte %d", name, at)
			}
			damaged[at] = archive[at]
		}
		t.Logf("%s: %d changes are errors, %d change the summary", name, structural, content)
	}
}

func TestMalformedArchives(t *testing.T) {
	data := endMark
	table := entry{id: 10, desc: "TABLE DATA", namespace: "s", tag: "a", copyStmt: "COPY", section: pgarchive.SectionData, data: &data}
	blobs := entry{id: 12, desc: "BLOBS", tag: "BLOBS", section: pgarchive.SectionData, blobs: []largeObject{{1, "x"}}}
	with := func(base entry, edit func(w *writer)) entry {
		base.edit, base.data, base.blobs = edit, nil, nil
		return base
	}
	rows := func(s string) entry {
		e := table
		e.data = &s
		return e
	}
	for _, c := range []struct {
		problem string
		entries []entry
	}{
		{"has the dump ID 10 of an earlier one", []entry{table, table}},
		{"has the dump ID 0", []entry{{id: 0, desc: "X", section: 1}}},
		{"has the dump ID -3", []entry{{id: -3, desc: "X", section: 1}}},
		{"unknown section 5", []entry{{id: 1, desc: "X", section: 5}}},
		{"string with a zero byte", []entry{{id: 1, desc: "X\x00", section: 1}}},
		{"is cut", []entry{with(table, func(*writer) {})}},
		{"is cut", []entry{table, with(blobs, func(*writer) {})}},
		{"dump ID 11, which is not announced", []entry{with(table, func(w *writer) { w.block(1, 11) })}},
		{"dump ID 10, which is not announced or was there already", []entry{
			with(table, func(w *writer) { w.block(1, 10); w.payload(endMark); w.block(1, 10); w.payload(endMark) }), blobs,
		}},
		{"unknown type 2", []entry{with(table, func(w *writer) { w.block(2, 10) })}},
		{"type 3 for a TABLE DATA", []entry{with(table, func(w *writer) { w.block(3, 10) })}},
		{"type 1 for a BLOBS", []entry{with(blobs, func(w *writer) { w.block(1, 12) })}},
		{"type 1 for a TABLE", []entry{with(entry{id: 1, desc: "TABLE", section: 2}, func(w *writer) { w.block(1, 1) })}},
		{"block of negative length", []entry{with(table, func(w *writer) { w.block(1, 10); w.int(-1) })}},
		{"cannot have written", []entry{with(table, func(w *writer) { w.block(1, 10); w.buf.WriteString("\x02\x01\x00\x00\x00") })}},
		{"cannot have written", []entry{with(table, func(w *writer) { w.block(1, 10); w.buf.WriteString("\x01\x00\x00\x00\x00") })}},
		{"cannot have written", []entry{with(table, func(w *writer) { w.block(1, 10); w.buf.WriteString("\x00\x00\x00\x00\x80") })}},
		{"large object 7 twice", []entry{{id: 12, desc: "BLOBS", section: 3, blobs: []largeObject{{7, "x"}, {8, "y"}, {7, "x"}}}}},
		{"does not end as COPY text does", []entry{rows("")}},
		{"does not end as COPY text does", []entry{rows("1\n")}},
		{"does not end as COPY text does", []entry{rows("1\n\\.\n")}},
		{"does not end as COPY text does", []entry{rows("1" + endMark)}},
		{"does not end as COPY text does", []entry{rows(endMark + "\n")}},
		{"does not end as COPY text does", []entry{rows(strings.Repeat("1\n", 1<<16) + "1" + endMark)}},
	} {
		w := writer{minor: 14, entries: c.entries}
		s, err := pgarchive.Walk(bytes.NewReader(w.bytes()))
		require.ErrorContains(t, err, c.problem)
		require.Nil(t, s)
		f, ok := errors.AsType[*pgarchive.FormatError](err)
		require.True(t, ok)
		require.LessOrEqual(t, f.Offset, int64(len(w.bytes())))
	}
}

func TestImpossibleEntries(t *testing.T) {
	archive := writer{minor: 14, entries: []entry{{id: 1, desc: "X", section: 1}}}.bytes()
	deps, end := "\x00\x01\x00\x00\x002", "\x01\x01\x00\x00\x00\x03"+strings.Repeat("\x00", 8)
	require.Equal(t, 1, bytes.Count(archive, []byte(deps)))
	require.True(t, bytes.HasSuffix(archive, []byte(end)))
	for problem, change := range map[string][2]string{
		`depends on "02"`:          {deps, "\x00\x02\x00\x00\x0002"},
		`depends on "+"`:           {deps, "\x00\x01\x00\x00\x00+"},
		`depends on "2147483648"`:  {deps, "\x00\x0a\x00\x00\x002147483648"},
		"impossible offset":        {end, strings.Replace(end, "\x03", "\x04", 1)},
		"n impossible offset":      {end, strings.Replace(end, "\x03", "\x00", 1)},
		"an impossible offset":     {end, end[:len(end)-1] + "\x01"},
		"has an impossible offset": {end, strings.Replace(end, "\x03", "\x02", 1)[:len(end)-1] + "\x80"},
	} {
		_, err := pgarchive.Walk(bytes.NewReader(bytes.Replace(archive, []byte(change[0]), []byte(change[1]), 1)))
		require.ErrorContains(t, err, problem)
	}
}

func TestWrongOffsets(t *testing.T) {
	archive := writer{minor: 14, offsets: true}.shop().bytes()
	s := walk(t, archive)
	for _, e := range s.TOC {
		if e.HasData() {
			require.Equal(t, pgarchive.OffsetKnown, e.Offsets)
			require.EqualValues(t, e.DumpID, archive[e.Offset+2]) // behind the type and the sign
		}
	}
	cut := bytes.Replace(archive, []byte(someRows[:6]), nil, 1)
	_, err := pgarchive.Walk(bytes.NewReader(cut))
	require.Error(t, err)
	moved := bytes.Replace(archive, []byte("\x00\x06\x00\x00\x00"+someRows[:6]), nil, 1)
	if _, err = pgarchive.Walk(bytes.NewReader(moved)); err == nil {
		t.Fatal("a missing row was not noticed although offsets are known")
	}
}

func TestForeignInput(t *testing.T) {
	for input, hint := range map[string]string{
		"--\n-- PostgreSQL database dump\n":                 "looks like a plain SQL dump",
		"\x1f\x8b\x08\x00":                                  "looks like a compressed file",
		"\x28\xb5\x2f\xfd\x04":                              "looks like a compressed file",
		"toc.dat\x00\x00":                                   "looks like a tar dump",
		"GIF89a":                                            `begins with "PGDMP"`,
		"PGDMP\x01\x11\x00\x04\x08\x01":                     "version 1.17, but 1.12 to 1.16",
		"PGDMP\x01\x0b\x00\x04\x08\x01":                     "version 1.11, but 1.12 to 1.16",
		"PGDMP\x02\x0e\x00\x04\x08\x01":                     "version 2.14, but",
		"PGDMP\x01\x0e\x00\x04\x08\x03":                     "tar or directory dump",
		"PGDMP\x01\x0e\x00\x04\x08\x09":                     "unknown format 9",
		"PGDMP\x01\x0e\x00\x00\x08\x01":                     "integers of 0",
		"PGDMP\x01\x0e\x00\x04\x09\x01":                     "offsets of 9",
		"PGDMP\x01\x0f\x00\x04\x08\x01\x04":                 "unknown compression method 4",
		"PGDMP\x01\x0e\x00\x04\x08\x01\x00\x0a\x00\x00\x00": "compression level 10",
		"PGDMP\x01\x0f\x00\x04\x08\x01\x00" + strings.Repeat("\x00\x3d\x00\x00\x00", 7): "impossible date",
	} {
		_, err := pgarchive.Walk(strings.NewReader(input))
		require.ErrorContains(t, err, hint)
		_, _, err = pgarchive.ReadTOC(strings.NewReader(input))
		require.ErrorContains(t, err, hint)
		if strings.Contains(hint, "version") || strings.Contains(hint, "unknown") {
			require.ErrorIs(t, err, errors.ErrUnsupported)
		}
	}
}

func TestImpossibleDates(t *testing.T) {
	date := func(fields ...byte) error {
		header := []byte("PGDMP\x01\x0f\x00\x04\x08\x01\x00")
		for _, f := range fields {
			header = append(header, 0, f, 0, 0, 0)
		}
		_, err := pgarchive.Walk(bytes.NewReader(header))
		return err
	}
	require.ErrorIs(t, date(60, 59, 23, 29, 1, 124, 1), io.ErrUnexpectedEOF) // a leap second of a leap day, and nothing behind it
	for i, bad := range []byte{61, 60, 24, 30, 12} {
		fields := []byte{0, 0, 0, 29, 1, 124, 0}
		fields[i] = bad
		require.ErrorContains(t, date(fields...), "impossible date", i)
	}
	require.ErrorContains(t, date(0, 0, 0, 0, 0, 124, 0), "impossible date")
	require.ErrorContains(t, date(0, 0, 0, 1, 0, 124, 2), "impossible date")
}

func TestLZ4IsWalkedButNotSummedUp(t *testing.T) {
	s, err := pgarchive.Walk(bytes.NewReader(writer{minor: 16, method: "lz4"}.shop().bytes()))
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Equal(t, "lz4", s.Header.Compression)
	require.NotEmpty(t, s.TOC)
	require.Empty(t, s.Content.Tables)
	require.Len(t, s.Content.Definitions, 64)
}

func TestErrorsOfTheReaderAreNotErrorsOfTheArchive(t *testing.T) {
	archive := golden(t)["pg_dump-15"]
	broken := errors.New("link lost")
	for n := range archive {
		_, err := pgarchive.Walk(io.MultiReader(bytes.NewReader(archive[:n]), iotest.ErrReader(broken)))
		require.ErrorIs(t, err, broken)
		_, ok := errors.AsType[*pgarchive.FormatError](err)
		require.False(t, ok)
		require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	once := errors.Join(broken) // comes with the last bytes, and never again
	_, err := pgarchive.Walk(reader(func(p []byte) (int, error) {
		n := copy(p, archive)
		archive = archive[n:]
		if n > 0 {
			return n, once
		}
		return 0, io.EOF
	}))
	require.ErrorIs(t, err, broken)

	archive = golden(t)["pg_dump-15"]
	want := walk(t, archive)
	for _, wrap := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
		got, err := pgarchive.Walk(wrap(bytes.NewReader(archive)))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err = pgarchive.Walk(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(archive))))
	require.ErrorIs(t, err, iotest.ErrTimeout)
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// Claims of a length that the input does not keep must cost nothing.
func TestMemoryIsBoundedByWhatReallyComes(t *testing.T) {
	w := writer{minor: 14}.shop()
	w.intSize, w.offSize = 4, 8
	w.head()
	head := bytes.Clone(w.buf.Bytes())
	for name, claim := range map[string][]byte{
		"entries": []byte("\x00\xff\xff\xff\x7f"),
		"string":  []byte("\x00\x01\x00\x00\x00" + "\x00\x01\x00\x00\x00" + "\x00\x00\x00\x00\x00" + "\x00\xff\xff\xff\x1f"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := pgarchive.Walk(bytes.NewReader(append(bytes.Clone(head), claim...)))
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2<<20), name)
	}

	small := pgarchive.Options{MaxTOC: 1000}
	_, err := small.Walk(bytes.NewReader(golden(t)["pg_dump-15"]))
	require.ErrorContains(t, err, "raise Options.MaxTOC")
	_, _, err = small.ReadTOC(bytes.NewReader(golden(t)["pg_dump-15"]))
	require.ErrorContains(t, err, "raise Options.MaxTOC")
	_, err = pgarchive.Options{MaxTOC: 100_000}.Walk(bytes.NewReader(golden(t)["pg_dump-15"]))
	require.NoError(t, err)

	// Each of these is too much on its own: a long string, many entries, many large objects.
	long := writer{minor: 14, entries: []entry{{id: 1, desc: "X", section: 1, defn: strings.Repeat("x", 5000)}}}
	_, err = pgarchive.Options{MaxTOC: 5000}.Walk(bytes.NewReader(long.bytes()))
	require.ErrorContains(t, err, "raise Options.MaxTOC")
	entries := writer{minor: 14}
	for i := range 100 {
		entries.entries = append(entries.entries, entry{id: i + 1, section: 1})
	}
	_, err = pgarchive.Options{MaxTOC: 20_000}.Walk(bytes.NewReader(entries.bytes()))
	require.ErrorContains(t, err, "raise Options.MaxTOC")
	require.Equal(t, 100, walk(t, entries.bytes()).Content.Entries)

	var many []largeObject
	for i := range 10_000 {
		many = append(many, largeObject{oid: uint32(i + 1)})
	}
	blobs := writer{minor: 14, entries: []entry{{id: 1, desc: "BLOBS", section: 3, blobs: many}}}.bytes()
	_, err = pgarchive.Options{MaxTOC: 100_000}.Walk(bytes.NewReader(blobs))
	require.ErrorContains(t, err, "raise Options.MaxTOC")
	require.EqualValues(t, 10_000, walk(t, blobs).Content.LargeObjects.Count)
}

func TestRowsCostNoAllocation(t *testing.T) {
	archive := func(rows int) []byte {
		data := strings.Repeat("12345\tsome text\t2026-11-21\n", rows) + endMark
		return writer{minor: 14, entries: []entry{{id: 1, desc: "TABLE DATA", copyStmt: "COPY", section: 3, data: &data}}}.bytes()
	}
	few, many := archive(10), archive(100_000)
	require.EqualValues(t, 100_000, walk(t, many).Content.Rows())
	allocs := func(a []byte) float64 {
		return testing.AllocsPerRun(5, func() { pgarchive.Walk(bytes.NewReader(a)) })
	}
	require.InDelta(t, allocs(few), allocs(many), 3)
}
