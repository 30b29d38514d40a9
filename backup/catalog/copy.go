package catalog

import (
	"context"
	"fmt"
	"io"
	"maps"
)

// Copy copies one snapshot from a store to another, archive and manifest; evidence stays where it is. The copy keeps its identifier.
// The archive is verified against the manifest on the way.
func Copy(ctx context.Context, to, from Store, m *Manifest) (*Manifest, error) {
	c := *m
	c.Stored = nil
	c.Verified = maps.Clone(m.Verified)
	delete(c.Verified, L2)
	err := to.Put(ctx, &c, func(ctx context.Context, w io.Writer) error {
		r, err := from.Open(ctx, m)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.CopyBuffer(w, r, make([]byte, 256<<10))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("copy snapshot %s: %w", m.ID, err)
	}
	return &c, nil
}
