// Package pgarchive reads PostgreSQL's custom archive format, the output of pg_dump -Fc, in versions 1.12 (PostgreSQL 9.0) to
// 1.16 (PostgreSQL 17 to 19). It walks an archive from its first byte to its last while it streams past, tells whether it is whole,
// and sums up what is in it: rows and SHA-256 of every table, large objects, sequence positions, definitions.
//
//	summary, err := pgarchive.Walk(file)
//
// [Walk] pulls from a reader; a [Walker] is fed by whoever moves the bytes; [ReadTOC] stops behind the table of contents; [List]
// writes the list file by which pg_restore -L restores a part.
//
// # Guarantees
//
// An archive that was cut at any byte is an error that matches [io.ErrUnexpectedEOF], and so is one that lacks the data of a table that its
// table of contents announces: pg_restore -l lists such archives without a complaint. Bytes behind the end, a data block that is not
// announced or comes twice, and any byte that pg_dump would not have written are a [*FormatError].
//
// A changed byte inside table data is found by the format only where it breaks the framing: an archive made with -Z0 carries no
// checksum. It changes the hash in [Summary]; compare that with one taken when the dump was made.
//
// No byte of the input can make this package panic, or allocate more than a small multiple of what the input really delivers.
// [Options] bounds what the table of contents may take. Table data is never held in memory: a walk needs some 100 KB and the table
// of contents. Data compressed with gzip and zstd is decompressed, with lz4 it is not, see [Walk].
//
// # Concurrency
//
// Functions share nothing. The methods of a [Walker] may be called from several goroutines. No goroutine runs in the background.
//
// # Errors
//
// Malformed input is a [*FormatError], which tells the byte it was found at. A version or a format that this package does not know
// matches [errors.ErrUnsupported]. An error of the underlying reader is wrapped, and is not a FormatError.
//
// # Stability
//
// The hashes are kept in snapshots, so their definition, in docs/pgarchive.md, never changes. The Go API may until v1.0.0.
package pgarchive

import (
	"fmt"
	"io"
	"time"

	"github.com/runbook-go/runbook/backup/catalog"
)

// Summary is what a walk found out about an archive.
type Summary struct {
	Header  Header
	TOC     []Entry // in the order of the archive
	Content catalog.Content
}

// Header is the head of an archive.
type Header struct {
	Version       Version
	IntSize       int       // bytes of an integer in the archive
	OffSize       int       // bytes of a file offset in the archive
	Compression   string    // of the data: "none", "gzip", "lz4" or "zstd"
	Level         int       // of gzip, 1 to 9 or -1 for its default; 0 where it was not recorded, from version 1.15 on
	Created       time.Time // wall clock of the host that made the dump, to the second, given as UTC: its zone is not recorded
	DST           int       // of Created: 1 if daylight saving time was in force, 0 if not, -1 if unknown
	Database      string    // that was dumped
	ServerVersion string    // such as "15.18 (Debian 15.18-0+deb12u1)"
	DumpVersion   string    // of pg_dump
}

// Version is a version of the archive format. It is not PostgreSQL's.
type Version struct{ Major, Minor, Rev int }

// String returns major and minor, such as "1.14".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Entry is one line of the table of contents. An empty string also stands for PostgreSQL's NULL.
type Entry struct {
	DumpID       int    // positive, unique in the archive
	HadDumper    bool   // it has data
	TableOID     string // OID of the catalog that the object is described in, decimal
	OID          string // OID of the object in the dumped database, decimal; "0" if there is none
	Tag          string // name of the object, for some kinds with an addition
	Desc         string // kind, such as "TABLE" or "TABLE DATA"
	Section      Section
	Defn         string // SQL that makes the object
	DropStmt     string // SQL that removes it
	CopyStmt     string // COPY … FROM stdin, if the data is COPY text
	Namespace    string // schema
	Tablespace   string
	TableAM      string // table access method; since 1.14
	RelKind      byte   // pg_class.relkind, or 0; since 1.16
	Owner        string // role
	WithOIDs     bool   // until PostgreSQL 11
	Dependencies []int  // dump IDs
	Offsets      OffsetState
	Offset       int64 // of the data in the archive, in bytes, if Offsets is OffsetKnown
}

// HasData says whether a data block belongs to the entry.
func (e *Entry) HasData() bool { return e.HadDumper && e.Offsets != OffsetNoData }

// Section is the part of a restore that an entry belongs to.
type Section int

// The sections, as in pg_restore --section.
const (
	SectionNone     Section = iota + 1 // goes with whatever it belongs to, such as a comment
	SectionPreData                     // before the data
	SectionData                        // the data
	SectionPostData                    // indexes, constraints, triggers
)

// OffsetState tells what the archive says about the place of an entry's data.
type OffsetState int

// The states of an offset.
const (
	OffsetUnknown OffsetState = iota + 1 // there is data; the dump went to a pipe
	OffsetKnown                          // there is data, at Entry.Offset
	OffsetNoData                         // there is none
)

// FormatError says that an archive is cut or malformed.
type FormatError struct {
	Offset int64 // bytes read from the archive's start when it was noticed
	Err    error // matches io.ErrUnexpectedEOF if the archive is cut
}

func (e *FormatError) Error() string { return fmt.Sprintf("archive at byte %d: %v", e.Offset, e.Err) }

// Unwrap returns e.Err.
func (e *FormatError) Unwrap() error { return e.Err }

// Options bounds what is read. The zero value works.
type Options struct {
	// MaxTOC bounds the memory in bytes that the table of contents may take, with the list of large objects; 0 is 1 GiB, some
	// two million entries.
	MaxTOC int64
}

// Walk reads an archive up to the end of r and sums it up with the default [Options]. It fails if the archive is cut, malformed or
// followed by anything.
//
// The data of an archive compressed with lz4 is walked for its framing only: Walk then returns a Summary without table and large
// object content, and an error that matches [errors.ErrUnsupported].
//
// A dump of definitions only (pg_dump -s) has no data: Content.Tables is empty. The end of the table of contents must then be the end
// of r.
func Walk(r io.Reader) (*Summary, error) { return Options{}.Walk(r) }

// Walk is like the function [Walk].
func (o Options) Walk(r io.Reader) (*Summary, error) {
	d := newDecoder(r, o)
	s := &Summary{}
	d.header(&s.Header)
	s.TOC = d.toc(&s.Header)
	return d.walk(s)
}

// ReadTOC reads the header and the table of contents, with the default [Options], and may read further. It cannot tell whether the archive is whole.
func ReadTOC(r io.Reader) (*Header, []Entry, error) { return Options{}.ReadTOC(r) }

// ReadTOC is like the function [ReadTOC].
func (o Options) ReadTOC(r io.Reader) (*Header, []Entry, error) {
	d := newDecoder(r, o)
	h := &Header{}
	d.header(h)
	toc := d.toc(h)
	if d.err != nil {
		return nil, nil, d.err
	}
	return h, toc, nil
}
