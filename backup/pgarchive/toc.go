package pgarchive

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// The layout is that of WriteHead and WriteToc in PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c, and of pg_backup_custom.c.

const magic = "PGDMP"

// What the format byte may say.
const (
	formatCustom = 1
	formatTar    = 3 // also the toc.dat of a directory
)

var compressions = [...]string{"none", "gzip", "lz4", "zstd"}

func (d *decoder) header(h *Header) {
	d.magic()
	h.Version = Version{Major: int(d.byte()), Minor: int(d.byte()), Rev: int(d.byte())}
	if v := h.Version; d.err == nil && (v.Major != 1 || v.Minor < 12 || v.Minor > 16) {
		d.fail("has version %s, but 1.12 to 1.16 are known here (%w)", v, errors.ErrUnsupported)
	}
	d.intSize, d.offSize = int(d.byte()), int(d.byte())
	if h.IntSize, h.OffSize = d.intSize, d.offSize; !validSize(d.intSize) || !validSize(d.offSize) {
		d.fail("has integers of %d and offsets of %d bytes", d.intSize, d.offSize)
		d.intSize, d.offSize = 0, 0
	}
	switch format := d.byte(); format {
	case formatCustom:
	case formatTar:
		d.fail("is of a tar or directory dump, not of pg_dump -Fc (%w)", errors.ErrUnsupported)
	default:
		d.fail("has the unknown format %d, not that of pg_dump -Fc (%w)", format, errors.ErrUnsupported)
	}
	d.compression(h)
	d.created(h)
	h.Database, h.ServerVersion, h.DumpVersion = d.text(), d.text(), d.text()
}

func (d *decoder) magic() {
	const enough = 8 // bytes to tell what else it is
	var begin []byte
	for len(begin) < enough && string(begin) != magic && d.more() {
		begin = append(begin, d.byte())
	}
	switch {
	case string(begin) == magic:
	case strings.HasPrefix(magic, string(begin)):
		d.cut()
	default:
		d.fail("is missing: %w", notAnArchive(begin))
	}
}

func validSize(n int) bool { return n >= 1 && n <= 8 }

func notAnArchive(begin []byte) error {
	switch {
	case bytes.HasPrefix(begin, []byte("--")):
		return errors.New("this looks like a plain SQL dump; make one with pg_dump -Fc")
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}), bytes.HasPrefix(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return errors.New("this looks like a compressed file; decompress it first")
	case bytes.HasPrefix(begin, []byte("toc.dat\x00")):
		return errors.New("this looks like a tar dump; make one with pg_dump -Fc")
	}
	return fmt.Errorf("an archive of pg_dump -Fc begins with %q", magic)
}

// compression is a level until 1.14, and a method from 1.15 on.
func (d *decoder) compression(h *Header) {
	if h.Version.Minor >= 15 {
		method := int(d.byte())
		if method >= len(compressions) {
			d.fail("has the unknown compression method %d (%w)", method, errors.ErrUnsupported)
			return
		}
		h.Compression = compressions[method]
		return
	}
	h.Level = d.int()
	switch {
	case h.Level < -1 || h.Level > 9:
		d.fail("has the compression level %d", h.Level)
	case h.Level == 0:
		h.Compression = "none"
	default:
		h.Compression = "gzip"
	}
}

func (d *decoder) created(h *Header) {
	sec, minute, hour, day, month, year := d.int(), d.int(), d.int(), d.int(), d.int()+1, d.int()+1900
	h.DST = d.int()
	// A leap second is the one second that time.Date would carry over.
	h.Created = time.Date(year, time.Month(month), day, hour, minute, min(sec, 59), 0, time.UTC)
	c := h.Created
	if sec < 0 || sec > 60 || c.Minute() != minute || c.Hour() != hour || c.Day() != day || int(c.Month()) != month || c.Year() != year ||
		h.DST < -1 || h.DST > 1 {
		d.fail("has an impossible date")
	}
}

func (d *decoder) toc(h *Header) []Entry {
	d.object = "table of contents"
	n := d.int()
	if n < 0 {
		d.fail("has %d entries", n)
	}
	toc := make([]Entry, 0, min(max(n, 0), 1024))
	seen := make(map[int]struct{})
	for i := 0; i < n && d.err == nil; i++ {
		d.object = fmt.Sprintf("entry %d of %d of the table of contents", i+1, n)
		const perEntry = int64(unsafe.Sizeof(Entry{})) + 64 // in the slice, and in the maps of dump IDs
		if !d.keep(perEntry) {
			break
		}
		e := d.entry(h)
		if _, twice := seen[e.DumpID]; twice {
			d.fail("has the dump ID %d of an earlier one", e.DumpID)
		}
		seen[e.DumpID] = struct{}{}
		toc = append(toc, e)
	}
	if d.err != nil {
		return nil
	}
	return toc
}

func (d *decoder) entry(h *Header) (e Entry) {
	if e.DumpID = d.int(); e.DumpID <= 0 {
		d.fail("has the dump ID %d", e.DumpID)
	}
	dumper := d.int()
	if e.HadDumper = dumper == 1; dumper != 0 && dumper != 1 {
		d.fail("has data or not: %d", dumper)
	}
	e.TableOID, e.OID, e.Tag, e.Desc = d.text(), d.text(), d.text(), d.text()
	if e.Section = Section(d.int()); e.Section < SectionNone || e.Section > SectionPostData {
		d.fail("belongs to the unknown section %d", e.Section)
	}
	e.Defn, e.DropStmt, e.CopyStmt, e.Namespace, e.Tablespace = d.text(), d.text(), d.text(), d.text(), d.text()
	if h.Version.Minor >= 14 {
		e.TableAM = d.text()
	}
	if h.Version.Minor >= 16 {
		kind := d.int()
		if e.RelKind = byte(kind); kind < 0 || kind > 127 {
			d.fail("has the relation kind %d", kind)
		}
	}
	e.Owner = d.text()
	oids := d.text()
	if e.WithOIDs = oids == "true"; oids != "true" && oids != "false" {
		d.fail("has OIDs or not: %q", oids)
	}
	for d.err == nil {
		s, ok := d.str()
		if !ok {
			break
		}
		id, err := strconv.ParseUint(s, 10, 31)
		if err != nil || strconv.FormatUint(id, 10) != s {
			d.fail("depends on %q, which is no dump ID", s)
		}
		d.keep(8)
		e.Dependencies = append(e.Dependencies, int(id))
	}
	e.Offsets = OffsetState(d.byte())
	offset := d.magnitude(d.offSize)
	if e.Offset = int64(offset); e.Offsets < OffsetUnknown || e.Offsets > OffsetNoData || e.Offset < 0 || e.Offsets != OffsetKnown && offset != 0 {
		d.fail("has an impossible offset")
	}
	return e
}
