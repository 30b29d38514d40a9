package filestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/runbook-go/runbook/backup/catalog"
)

// meter counts and hashes what passes.
type meter struct {
	w    io.Writer
	n    int64
	hash hash.Hash
}

func newMeter(w io.Writer) *meter { return &meter{w: w, hash: sha256.New()} }

func (m *meter) Write(p []byte) (int, error) {
	m.hash.Write(p)
	m.n += int64(len(p))
	return m.w.Write(p)
}

func (m *meter) sum() string { return hex.EncodeToString(m.hash.Sum(nil)) }

// encoder compresses and, if there are recipients, encrypts.
type encoder struct {
	*zstd.Encoder
	sealed io.WriteCloser // nil without encryption
}

func (s *Store) encoder(w io.Writer) (*encoder, []string, error) {
	e, encoding := &encoder{}, []string{"zstd"}
	if len(s.recipients) > 0 {
		sealed, err := age.Encrypt(w, s.recipients...)
		if err != nil {
			return nil, nil, fmt.Errorf("encrypt: %w", err)
		}
		e.sealed, w, encoding = sealed, sealed, append(encoding, "age")
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(s.level()), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, nil, fmt.Errorf("compress: %w", err)
	}
	e.Encoder = z
	return e, encoding, nil
}

func (e *encoder) Close() error {
	err := e.Encoder.Close()
	if err == nil && e.sealed != nil {
		err = e.sealed.Close()
	}
	return err
}

// decoder undoes an encoder and verifies, at the end, both what was stored and what was dumped.
type decoder struct {
	stored  io.ReadCloser
	counted *meter // of the stored object
	raw     io.Reader
	zstd    *zstd.Decoder
	archive *meter
	m       *catalog.Manifest
	err     error
}

func (s *Store) decoder(m *catalog.Manifest, o catalog.Object, stored io.ReadCloser) (*decoder, error) {
	d := &decoder{stored: stored, counted: newMeter(io.Discard), archive: newMeter(io.Discard), m: m}
	d.raw = io.TeeReader(stored, d.counted)
	in := d.raw
	switch fmt.Sprint(o.Encoding) {
	case "[zstd]":
	case "[zstd age]":
		if len(s.identities) == 0 {
			return nil, fmt.Errorf("open %s: it is encrypted; give the age identity of one of its recipients", o.Key)
		}
		plain, err := age.Decrypt(in, s.identities...)
		if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
			return nil, fmt.Errorf("open %s: none of the given age identities can decrypt it", o.Key)
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: decrypt: %w", o.Key, err)
		}
		in = plain
	default:
		return nil, fmt.Errorf("open %s: encoding %q is not known here: %w", o.Key, o.Encoding, errors.ErrUnsupported)
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Key, err)
	}
	d.zstd = z
	return d, nil
}

func (d *decoder) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.zstd.Read(p)
	d.archive.Write(p[:n])
	switch {
	case err == io.EOF:
		err = d.verify()
	case err != nil:
		err = fmt.Errorf("read %s: %w", d.m.Stored[0].Key, err)
	case d.archive.n > d.m.Archive.Size:
		err = fmt.Errorf("read %s: it is longer than the %d bytes that were dumped", d.m.Stored[0].Key, d.m.Archive.Size)
	}
	d.err = err
	return n, err
}

func (d *decoder) verify() error {
	o := d.m.Stored[0]
	if _, err := io.Copy(io.Discard, d.raw); err != nil {
		return fmt.Errorf("read %s: %w", o.Key, err)
	}
	if d.counted.n != o.Size || d.counted.sum() != o.SHA256 {
		return fmt.Errorf("read %s: it is damaged: %d bytes, SHA-256 %s; stored were %d, %s", o.Key, d.counted.n, d.counted.sum(), o.Size, o.SHA256)
	}
	if d.archive.n != d.m.Archive.Size || d.archive.sum() != d.m.Archive.SHA256 {
		return fmt.Errorf("read %s: the archive in it is not the one its manifest describes", o.Key)
	}
	return io.EOF
}

// Close implements io.Closer.
func (d *decoder) Close() error {
	d.zstd.Close()
	if d.err == nil {
		d.err = errors.New("read after close")
	}
	return d.stored.Close()
}

func parseIdentities(file []byte) ([]age.Identity, error) {
	identities, err := age.ParseIdentities(bytes.NewReader(file))
	if err != nil {
		// age's error may repeat the line.
		return nil, errors.New("identity: not an age identity file (lines AGE-SECRET-KEY-1…)")
	}
	return identities, nil
}
