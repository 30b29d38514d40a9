package filestore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
)

// group is everything that lies on the target for one identifier.
type group struct {
	dir, id string
	objects []runbook.Object
}

func (g *group) find(suffix string) (runbook.Object, bool) {
	for _, o := range g.objects {
		if o.Key == g.dir+g.id+suffix {
			return o, true
		}
	}
	return runbook.Object{}, false
}

func (g *group) has(suffix string) bool { _, ok := g.find(suffix); return ok }

// groups walks the target below a prefix. Keys of one identifier are neighbours in the listing.
func (s *Store) groups(ctx context.Context, prefix string) iter.Seq2[*group, error] {
	return func(yield func(*group, error) bool) {
		var g *group
		for o, err := range s.target.List(ctx, prefix) {
			if err != nil {
				yield(nil, fmt.Errorf("list snapshots: %w", err))
				return
			}
			dir, id, _, ok := splitKey(o.Key)
			if !ok {
				continue
			}
			if g != nil && (g.dir != dir || g.id != id) {
				if !yield(g, nil) {
					return
				}
				g = nil
			}
			if g == nil {
				g = &group{dir: dir, id: id}
			}
			g.objects = append(g.objects, o)
		}
		if g != nil {
			yield(g, nil)
		}
	}
}

// readAhead is how many manifests are fetched at a time: a store far away is listed at the price of bytes, not of round trips.
const readAhead = 16

// List implements [catalog.Store].
func (s *Store) List(ctx context.Context, q catalog.Query) iter.Seq2[*catalog.Snapshot, error] {
	return func(yield func(*catalog.Snapshot, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		type result struct {
			snapshot *catalog.Snapshot
			err      error
		}
		var waiting []chan result
		next := func() bool {
			r := <-waiting[0]
			waiting = waiting[1:]
			if r.err == nil && !q.Match(&r.snapshot.Manifest) {
				return true
			}
			return yield(r.snapshot, r.err)
		}
		for g, err := range s.groups(ctx, prefix(q)) {
			if err != nil {
				for len(waiting) > 0 {
					if !next() {
						return
					}
				}
				yield(nil, err)
				return
			}
			if !g.has(manifestSuffix) || g.has(deletedSuffix) || q.ID != "" && q.ID != g.id {
				continue
			}
			c := make(chan result, 1)
			go func() {
				snapshot, err := s.read(ctx, g)
				c <- result{snapshot, err}
			}()
			if waiting = append(waiting, c); len(waiting) == readAhead && !next() {
				return
			}
		}
		for len(waiting) > 0 {
			if !next() {
				return
			}
		}
	}
}

// read fetches the manifest of a group and the evidence about it.
func (s *Store) read(ctx context.Context, g *group) (*catalog.Snapshot, error) {
	data, err := s.readSmall(ctx, g.dir+g.id+manifestSuffix, catalog.MaxManifestSize)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s%s: %w", g.dir, g.id, err)
	}
	m, err := catalog.Decode(data)
	if err == nil {
		err = matchesFolder(m, g.dir)
	}
	if err == nil && m.ID != g.id {
		err = fmt.Errorf("is of snapshot %s", m.ID)
	}
	if err == nil {
		err = g.complete(m)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s%s: its manifest: %w", g.dir, g.id, err)
	}
	snapshot := &catalog.Snapshot{Manifest: *m}
	for _, o := range g.objects {
		if !strings.HasPrefix(o.Key, g.dir+g.id+evidenceInfix) {
			continue
		}
		var e catalog.Evidence
		data, err := s.readSmall(ctx, o.Key, 1<<20)
		if err == nil {
			err = catalog.Unseal(data, &e)
		}
		if err == nil && e.Snapshot != g.id {
			err = fmt.Errorf("is of snapshot %s", e.Snapshot)
		}
		if err != nil {
			// Evidence that cannot be read proves nothing, and must not hide the snapshot.
			s.o.Logger.Warn("evidence is left out", "key", o.Key, "error", err)
			continue
		}
		snapshot.Evidence = append(snapshot.Evidence, e)
	}
	return snapshot, nil
}

// storedObject returns the one object of a snapshot. A manifest is read from a place that others may write to, so its key is not trusted.
func storedObject(m *catalog.Manifest) (catalog.Object, error) {
	if len(m.Stored) != 1 {
		return catalog.Object{}, fmt.Errorf("names %d objects, not one: it is not this store's", len(m.Stored))
	}
	o := m.Stored[0]
	if o.Key != dataKey(m, false) && o.Key != dataKey(m, true) {
		return catalog.Object{}, fmt.Errorf("names the archive %q, which is not its own", o.Key)
	}
	return o, nil
}

// complete says whether the archive that the manifest names lies beside it, as long as it should be.
func (g *group) complete(m *catalog.Manifest) error {
	want, err := storedObject(m)
	if err != nil {
		return err
	}
	got, ok := g.find(strings.TrimPrefix(want.Key, g.dir+g.id))
	switch {
	case !ok:
		return fmt.Errorf("names the archive %s, which is gone", want.Key)
	case got.Size != want.Size:
		return fmt.Errorf("names the archive %s with %d bytes, but it has %d", want.Key, want.Size, got.Size)
	}
	return nil
}

// Record implements [catalog.Store].
func (s *Store) Record(ctx context.Context, m *catalog.Manifest, e catalog.Evidence) error {
	e.Version, e.Snapshot = catalog.FormatVersion, m.ID
	data, err := catalog.Seal(e)
	if err != nil {
		return err
	}
	key := base(m) + evidenceInfix + catalog.NewID(e.At) + ".json"
	if err := s.target.Put(ctx, key, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("record evidence about snapshot %s: %w", m.ID, err)
	}
	return nil
}

// Open implements [catalog.Store].
func (s *Store) Open(ctx context.Context, m *catalog.Manifest) (io.ReadCloser, error) {
	o, err := storedObject(m)
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: its manifest %w", m.ID, err)
	}
	stored, err := s.target.Open(ctx, o.Key)
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", m.ID, err)
	}
	d, err := s.decoder(m, o, stored)
	if err != nil {
		stored.Close()
		return nil, err
	}
	return d, nil
}
