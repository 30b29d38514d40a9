package pgarchive_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/runbook-go/runbook/backup/pgarchive"
)

func seeds(f *testing.F) {
	for _, archive := range samples(f) {
		f.Add(archive)
	}
}

// FuzzWalk looks for panics, for a Walker that is not Walk, and for archives that are whole with a byte less.
func FuzzWalk(f *testing.F) {
	seeds(f)
	bounds := pgarchive.Options{MaxTOC: 1 << 20}
	f.Fuzz(func(t *testing.T, archive []byte) {
		want, wantErr := bounds.Walk(bytes.NewReader(archive))
		if want == nil && wantErr == nil || want != nil && wantErr != nil && !errors.Is(wantErr, errors.ErrUnsupported) {
			t.Fatalf("summary %v with error %v", want, wantErr)
		}
		w := bounds.NewWalker()
		defer w.Abort()
		for _, half := range [][]byte{archive[:len(archive)/3], archive[len(archive)/3:]} {
			if _, err := w.Write(half); err != nil {
				break
			}
		}
		got, err := w.Close()
		if !reflect.DeepEqual(got, want) || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("Walker: %v, %v\nWalk: %v, %v", got, err, want, wantErr)
		}
		if want != nil {
			if _, err := bounds.Walk(bytes.NewReader(archive[:len(archive)-1])); err == nil {
				t.Fatal("an archive is whole with a byte less")
			}
		}
	})
}

// FuzzReadTOC looks for panics, and for a table of contents that is not what a walk gives.
func FuzzReadTOC(f *testing.F) {
	seeds(f)
	bounds := pgarchive.Options{MaxTOC: 1 << 20}
	f.Fuzz(func(t *testing.T, archive []byte) {
		header, toc, err := bounds.ReadTOC(bytes.NewReader(archive))
		if s, walkErr := bounds.Walk(bytes.NewReader(archive)); s != nil {
			if err != nil || !reflect.DeepEqual(toc, s.TOC) || *header != s.Header {
				t.Fatalf("ReadTOC: %v, Walk: %v", err, walkErr)
			}
		}
		lines := bytes.Count(pgarchive.List(toc, nil), []byte("\n"))
		if lines != len(toc) {
			t.Fatalf("%d entries are listed in %d lines", len(toc), lines)
		}
		pgarchive.Roles(toc)
		pgarchive.Extensions(toc)
	})
}
