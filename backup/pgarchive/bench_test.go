package pgarchive_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/pgarchive"
)

// bigArchive has some 64 MB of rows of the given length, a newline included.
func bigArchive(rowLength, frame int) []byte {
	row := strings.Repeat("0123456789abcdef", rowLength/16+1)[:rowLength-1] + "\n"
	data := strings.Repeat(row, 64<<20/rowLength) + endMark
	return writer{minor: 14, frame: frame, entries: []entry{{id: 1, desc: "TABLE DATA", copyStmt: "COPY", section: 3, data: &data}}}.bytes()
}

func BenchmarkWalk(b *testing.B) {
	for name, archive := range map[string][]byte{
		"rows of 32 B":   bigArchive(32, 0),
		"rows of 100 B":  bigArchive(100, 0),
		"rows of 1 KB":   bigArchive(1024, 0),
		"128 KiB blocks": bigArchive(100, 128<<10),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(archive)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := pgarchive.Walk(bytes.NewReader(archive))
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkWalker(b *testing.B) {
	archive := bigArchive(100, 0)
	for name, size := range map[string]int{"4 KiB": 4 << 10, "64 KiB": 64 << 10, "256 KiB": 256 << 10} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(archive)))
			b.ReportAllocs()
			for b.Loop() {
				w := pgarchive.NewWalker()
				_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(archive)}, make([]byte, size))
				require.NoError(b, err)
				_, err = w.Close()
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkSHA256 is what hashing alone costs on this machine.
func BenchmarkSHA256(b *testing.B) {
	archive := bigArchive(100, 0)
	b.SetBytes(int64(len(archive)))
	for b.Loop() {
		sha256.Sum256(archive)
	}
}
