package pgarchive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/pgtest"
)

var update = flag.Bool("update", false, "write testdata anew: archives of the installed pg_dump, and what is expected of all archives")

func hexSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// golden returns the archives in testdata by name. All were made from mini.sql by genuine pg_dumps: 15 of Debian, 16.4 and 18.3 of PGlite.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.dump")
	require.NoError(t, err)
	archives := map[string][]byte{}
	for _, file := range files {
		archives[strings.TrimSuffix(filepath.Base(file), ".dump")], err = os.ReadFile(file)
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, len(archives), 9)
	return archives
}

// TestGolden keeps the meaning of the hashes: they stand in snapshots that were made long ago.
func TestGolden(t *testing.T) {
	if *update {
		dumpMini(t)
	}
	for name, archive := range golden(t) {
		got, err := json.MarshalIndent(walk(t, archive), "", " ")
		require.NoError(t, err)
		file := "testdata/" + name + ".json"
		if *update {
			require.NoError(t, os.WriteFile(file, append(got, '\n'), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, string(want), string(append(got, '\n')), name)
	}
}

func dumpMini(t *testing.T) {
	s := pgtest.Start(t)
	s.CreateDatabase(t, "mini")
	sql, err := os.ReadFile("testdata/mini.sql")
	require.NoError(t, err)
	s.Exec(t, "mini", string(sql))
	require.NoError(t, os.WriteFile("testdata/pg_dump-15.dump", s.Dump(t, "mini"), 0o644))
	s.Run(t, "pg_dump", "mini", "-Fc", "-Z0", "-f", "testdata/pg_dump-15-offsets.dump")
	s.Run(t, "pg_dump", "mini", "-Fc", "-f", "testdata/pg_dump-15-gzip.dump")
	s.Run(t, "pg_dump", "mini", "-Fc", "-s", "-f", "testdata/pg_dump-15-schema.dump")
}

// Three major versions dumped the same database. They agree on data; on definitions they need not.
func TestMajorVersionsAgreeOnData(t *testing.T) {
	archives := golden(t)
	want := walk(t, archives["pg_dump-15"]).Content
	require.EqualValues(t, 42, want.Rows())
	require.EqualValues(t, 5005, want.LargeObjects.Bytes)
	for name, offsets := range map[string]pgarchive.OffsetState{
		"pg_dump-15": pgarchive.OffsetUnknown, "pg_dump-15-offsets": pgarchive.OffsetKnown, "pg_dump-15-gzip": pgarchive.OffsetKnown,
		"pg_dump-16.4": pgarchive.OffsetUnknown, "pg_dump-16.4-gzip": pgarchive.OffsetUnknown,
		"pg_dump-18.3": pgarchive.OffsetKnown, "pg_dump-18.3-gzip": pgarchive.OffsetKnown,
	} {
		s := walk(t, archives[name])
		require.Empty(t, want.Diff(&s.Content), name)
		require.Equal(t, offsets, s.TOC[len(s.TOC)-1].Offsets, name)
	}
}

func TestReadTOCAgreesWithWalk(t *testing.T) {
	for name, archive := range golden(t) {
		s := walk(t, archive)
		header, toc, err := pgarchive.ReadTOC(bytes.NewReader(archive))
		require.NoError(t, err, name)
		require.Equal(t, s.Header, *header)
		require.Equal(t, s.TOC, toc)
	}
}

// The definitions of docs/pgarchive.md, once more.
func TestHashesAreAsDocumented(t *testing.T) {
	content := walk(t, writer{minor: 16}.shop().bytes()).Content

	var large []byte
	for _, b := range []largeObject{{blobOID, "hello"}, {hugeOID, "x"}} {
		sum := sha256.Sum256([]byte(b.content))
		large = binary.BigEndian.AppendUint32(large, b.oid)
		large = binary.BigEndian.AppendUint64(large, uint64(len(b.content)))
		large = append(large, sum[:]...)
	}
	require.Equal(t, hexSHA256(string(large)), content.LargeObjects.SHA256)

	require.Equal(t, records([]string{"s", "q", "SELECT pg_catalog.setval('s.q', 7, true);\n"}), content.Sequences)
	require.Equal(t, records(
		[]string{"BLOB", "16401"}, []string{"BLOB", "4000000001"},
		[]string{"SCHEMA", "", "s", "CREATE SCHEMA s;\n", "", "", "\x00"},
		[]string{"TABLE", "s", "a", "CREATE TABLE s.a (i integer, t text);\n", "", "", "\x00"},
		[]string{"TABLE DATA", "s", "a", "", "COPY s.a (i, t) FROM stdin;\n", "", "\x00"},
		[]string{"TABLE DATA", "s", "b", "", "COPY s.b (i) FROM stdin;\n", "", "\x00"},
	), content.Definitions)
}

func records(all ...[]string) string {
	var sums []string
	for _, fields := range all {
		var record []byte
		for _, f := range fields {
			record = binary.BigEndian.AppendUint64(record, uint64(len(f)))
			record = append(record, f...)
		}
		sum := sha256.Sum256(record)
		sums = append(sums, string(sum[:]))
	}
	slices.Sort(sums)
	return hexSHA256(strings.Join(sums, ""))
}
