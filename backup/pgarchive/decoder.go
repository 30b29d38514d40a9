package pgarchive

import (
	"fmt"
	"io"
	"strings"
)

const (
	bufferSize = 64 << 10
	defaultTOC = 1 << 30
	maxInt     = 1<<31 - 1 // pg_dump's integers are C ints, however wide they are written
	minInt     = -1 << 31
)

// decoder reads the primitives of the format. The first error sticks: every method then gives zero values, so that callers check
// once for many fields. Loops must watch err.
type decoder struct {
	r          io.Reader
	buf        []byte
	start, end int   // unread bytes in buf
	base       int64 // offset of buf[0] in the archive
	intSize    int
	offSize    int
	room       int64  // bytes that may still be kept in memory
	object     string // what is being read, for errors
	readErr    error  // of r, once its last bytes are used up
	err        error
}

func newDecoder(r io.Reader, o Options) *decoder {
	d := &decoder{r: r, buf: make([]byte, bufferSize), room: o.MaxTOC, object: "header"}
	if d.room <= 0 {
		d.room = defaultTOC
	}
	return d
}

func (d *decoder) offset() int64 { return d.base + int64(d.start) }

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = &FormatError{Offset: d.offset(), Err: fmt.Errorf("%s %w", d.object, fmt.Errorf(format, args...))}
	}
}

func (d *decoder) cut() {
	d.fail("is cut (%w); the dump did not finish or was not stored whole", io.ErrUnexpectedEOF)
}

// keep accounts for n bytes that stay in memory.
func (d *decoder) keep(n int64) bool {
	if d.room -= n; d.room < 0 {
		d.fail("needs more memory than allowed; raise Options.MaxTOC if the archive is genuine")
	}
	return d.err == nil
}

// more makes sure that at least one byte is unread, and says whether that worked. The end of the input is not an error here.
func (d *decoder) more() bool {
	if d.err != nil {
		return false
	}
	if d.start < d.end {
		return true
	}
	d.base += int64(d.end)
	d.start, d.end = 0, 0
	for range 100 {
		if d.readErr == nil {
			d.end, d.readErr = d.r.Read(d.buf)
		}
		if d.end > 0 {
			return true
		}
		if d.readErr == io.EOF {
			return false
		}
		if d.readErr != nil {
			d.err = fmt.Errorf("read archive at byte %d: %w", d.offset(), d.readErr)
			return false
		}
	}
	d.err = fmt.Errorf("read archive at byte %d: %w", d.offset(), io.ErrNoProgress)
	return false
}

// take returns between 1 and n unread bytes, valid until the next call, or nil and an error.
func (d *decoder) take(n int) []byte {
	if !d.more() {
		d.cut()
		return nil
	}
	p := d.buf[d.start:min(d.end, d.start+n)]
	d.start += len(p)
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

// int reads a sign byte and a magnitude, little end first.
func (d *decoder) int() int {
	if d.end-d.start >= 5 && d.intSize == 4 && d.err == nil {
		p := d.buf[d.start : d.start+5 : d.start+5]
		if p[0] == 0 && p[4] < 0x80 {
			d.start += 5
			return int(p[1]) | int(p[2])<<8 | int(p[3])<<16 | int(p[4])<<24
		}
	}
	sign, v := d.byte(), d.magnitude(d.intSize)
	switch {
	case sign == 0 && v <= maxInt:
		return int(v)
	case sign == 1 && v > 0 && v <= -minInt:
		return -int(v)
	}
	d.fail("holds a number that pg_dump cannot have written")
	return 0
}

// magnitude reads an unsigned number of size bytes, at most 8.
func (d *decoder) magnitude(size int) (v uint64) {
	for i := range size {
		v |= uint64(d.byte()) << (8 * i)
	}
	return v
}

// str reads a length and that many bytes. The length -1 stands for NULL, given as not ok.
func (d *decoder) str() (s string, ok bool) {
	n := d.int()
	if n == -1 {
		return "", false
	}
	if n < 0 {
		d.fail("holds a string of negative length")
	}
	if !d.keep(int64(n)) {
		return "", false
	}
	if d.end-d.start >= n {
		s = string(d.buf[d.start : d.start+n])
		d.start += n
	} else {
		var b strings.Builder // grows by what really comes, not by what the length claims
		for b.Len() < n && d.err == nil {
			b.Write(d.take(n - b.Len()))
		}
		s = b.String()
	}
	if strings.IndexByte(s, 0) >= 0 {
		d.fail("holds a string with a zero byte")
	}
	return s, d.err == nil
}

func (d *decoder) text() string {
	s, _ := d.str()
	return s
}

// payload passes the bytes of a chain of blocks, each led by its length, to w, up to the block of length zero.
func (d *decoder) payload(w *digest) {
	for d.err == nil {
		n := d.blockLen()
		if n == 0 {
			return
		}
		for n > 0 && d.err == nil {
			p := d.take(n)
			w.add(p)
			n -= len(p)
		}
	}
}

func (d *decoder) blockLen() int {
	n := d.int()
	if n < 0 {
		d.fail("holds a block of negative length")
		return 0
	}
	return n
}

// blockReader is the payload of a chain of blocks as a reader, for decompressors.
type blockReader struct {
	d    *decoder
	left int
	done bool
}

func (b *blockReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.left == 0 && !b.done {
		b.left = b.d.blockLen()
		b.done = b.left == 0
	}
	if b.d.err != nil {
		return 0, b.d.err
	}
	if b.done {
		return 0, io.EOF
	}
	n := copy(p, b.d.take(min(len(p), b.left)))
	b.left -= n
	return n, b.d.err
}
