package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
)

// mark is what stands in the objects that begin a removal, for people who wonder.
type mark struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// Delete implements [catalog.Store]. The first phase is a mark that makes the snapshot unlisted, the second removes its objects. If the
// second is cut short, the next [Store.Sweep] finishes it.
func (s *Store) Delete(ctx context.Context, m *catalog.Manifest, reason string) error {
	for g, err := range s.groups(ctx, base(m)) {
		if err != nil {
			return fmt.Errorf("delete snapshot %s: %w", m.ID, err)
		}
		if g.id != m.ID {
			continue
		}
		if err := s.mark(ctx, g, deletedSuffix, reason); err != nil {
			return fmt.Errorf("delete snapshot %s: %w", m.ID, err)
		}
		if _, err := s.remove(ctx, g, deletedSuffix); err != nil {
			return fmt.Errorf("delete snapshot %s (it is unlisted; a sweep will finish): %w", m.ID, err)
		}
	}
	return nil
}

// Sweep implements [catalog.Sweeper]. It finishes deletions that were cut short, and removes uploads without a manifest, and temporary files of the target, that were
// last touched before the given time. Give a time that is longer ago than any upload takes: a day is a good choice.
func (s *Store) Sweep(ctx context.Context, before time.Time) (swept catalog.Swept, err error) {
	var problems []error
	for g, err := range s.groups(ctx, root) {
		if err != nil {
			return swept, err
		}
		n, err := s.sweepGroup(ctx, g, before)
		swept.Objects += n.Objects
		swept.Bytes += n.Bytes
		if err != nil {
			problems = append(problems, fmt.Errorf("sweep %s%s: %w", g.dir, g.id, err))
		}
	}
	type sweeper interface {
		Sweep(ctx context.Context, before time.Time) (int, error)
	}
	if t, ok := runbook.As[sweeper](s.target); ok {
		n, err := t.Sweep(ctx, before)
		swept.Objects += n
		if err != nil {
			problems = append(problems, fmt.Errorf("sweep the target's temporary files: %w", err))
		}
	}
	return swept, errors.Join(problems...)
}

func (s *Store) sweepGroup(ctx context.Context, g *group, before time.Time) (swept catalog.Swept, err error) {
	switch {
	case g.has(deletedSuffix):
		return s.remove(ctx, g, deletedSuffix)
	case g.has(manifestSuffix):
		if o, marked := g.find(orphanSuffix); marked && o.Modified.Before(before) {
			return swept, s.target.Delete(ctx, o.Key) // by a sweep that met a late manifest and was cut short
		}
		return swept, nil
	}
	for _, o := range g.objects {
		if !o.Modified.Before(before) && o.Key != g.dir+g.id+orphanSuffix {
			return swept, nil
		}
	}
	if err := s.mark(ctx, g, orphanSuffix, "no manifest since its upload"); err != nil {
		return swept, err
	}
	_, err = s.target.Stat(ctx, g.dir+g.id+manifestSuffix)
	switch {
	case err == nil: // its writer was only slow
		return swept, s.target.Delete(ctx, g.dir+g.id+orphanSuffix)
	case !errors.Is(err, fs.ErrNotExist):
		return swept, err
	}
	return s.remove(ctx, g, orphanSuffix)
}

func (s *Store) mark(ctx context.Context, g *group, suffix, reason string) error {
	if g.has(suffix) {
		return nil
	}
	data, err := catalog.Seal(mark{reason, s.o.Owner, s.o.Now().UTC()})
	if err != nil {
		return err
	}
	if err := s.target.Put(ctx, g.dir+g.id+suffix, bytes.NewReader(data)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// remove deletes everything, the mark last: whatever is left after a crash stays unlisted.
func (s *Store) remove(ctx context.Context, g *group, markSuffix string) (swept catalog.Swept, err error) {
	last := g.dir + g.id + markSuffix
	for _, o := range g.objects {
		if o.Key == last {
			continue
		}
		if err := s.target.Delete(ctx, o.Key); err != nil {
			return swept, err
		}
		swept.Objects++
		swept.Bytes += o.Size
	}
	return swept, s.target.Delete(ctx, last)
}
