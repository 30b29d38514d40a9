package dirtarget

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// Probe implements [runbook.Prober]: it writes, syncs and removes a small temporary file.
func (t *Target) Probe(ctx context.Context) error {
	err := context.Cause(ctx)
	if err == nil {
		err = t.probe()
	}
	if err != nil {
		return fmt.Errorf("probe %s: %w", t.root.Name(), err)
	}
	return nil
}

func (t *Target) probe() error {
	name, f, err := t.createTemp("probe-" + rand.Text())
	if err != nil {
		return err
	}
	_, err = f.WriteString("runbook")
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), t.root.Remove(name))
}

// Sweep removes temporary files that were last written to before the given time, and returns how many. The time must lie further back
// than the longest pause of a Put that may still be alive: what is swept under a living Put makes it fail.
func (t *Target) Sweep(ctx context.Context, before time.Time) (n int, err error) {
	entries, err := fs.ReadDir(t.root.FS(), tempDir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, e := range entries {
		if err != nil {
			break
		}
		if err = context.Cause(ctx); err != nil {
			break
		}
		name := path.Join(tempDir, e.Name())
		info, statErr := t.root.Lstat(name)
		if statErr == nil && info.ModTime().Before(before) {
			if statErr = t.root.Remove(name); statErr == nil {
				n++
			}
		}
		if !errors.Is(statErr, fs.ErrNotExist) {
			err = statErr
		}
	}
	if err != nil {
		return n, fmt.Errorf("sweep %s: %w", t.root.Name(), err)
	}
	return n, nil
}

// FreeSpace returns the number of bytes that may still be written, as the file system tells. Quotas may be narrower. Where it cannot be
// known the error matches [errors.ErrUnsupported].
func (t *Target) FreeSpace(ctx context.Context) (int64, error) {
	err := context.Cause(ctx)
	if err == nil {
		var free int64
		if free, err = t.freeSpace(); err == nil {
			return free, nil
		}
	}
	return 0, fmt.Errorf("free space of %s: %w", t.root.Name(), err)
}
