package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
)

// cleanUp bounds what is done after a failure or a cancel.
const cleanUp = 20 * time.Second

// Put implements [catalog.Store].
func (s *Store) Put(ctx context.Context, m *catalog.Manifest, dump func(context.Context, io.Writer) error) error {
	if err := s.checkSpace(ctx); err != nil {
		return err
	}
	key := dataKey(m, len(s.recipients) > 0)
	object, err := s.upload(ctx, m, key, dump)
	if err == nil && !s.o.SkipReadBack {
		err = s.readBack(ctx, object)
		if err == nil {
			m.Verified[catalog.L2] = s.o.Now().UTC()
		}
	}
	if err != nil {
		return errors.Join(err, s.discard(ctx, key))
	}
	m.Stored, m.Finished = []catalog.Object{object}, s.o.Now().UTC()
	return s.publish(ctx, m, key)
}

// upload stores what dump writes and returns what was stored.
func (s *Store) upload(ctx context.Context, m *catalog.Manifest, key string, dump func(context.Context, io.Writer) error) (catalog.Object, error) {
	pr, pw := io.Pipe()
	dumping, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stored := newMeter(pw)
	var encoding []string
	dumped := make(chan error, 1)
	go func() {
		var err error
		encoding, err = s.encode(dumping, m, stored, dump)
		pw.CloseWithError(err) // nil is the end of the object: only now may it become visible
		dumped <- err
	}()
	err := s.target.Put(ctx, key, pr)
	if err != nil {
		stop(fmt.Errorf("storing %s ended: %w", key, err))
	}
	pr.CloseWithError(errors.New("the target stopped reading"))
	if dumpErr := <-dumped; dumpErr != nil && (err == nil || errors.Is(err, dumpErr)) {
		// Put must fail when its reader does; a target that does not is caught here, and the cause is the dump's own error.
		err = dumpErr
	}
	if err != nil {
		return catalog.Object{Key: key}, err
	}
	return catalog.Object{Key: key, Size: stored.n, SHA256: stored.sum(), Encoding: encoding}, nil
}

func (s *Store) encode(ctx context.Context, m *catalog.Manifest, stored *meter, dump func(context.Context, io.Writer) error) ([]string, error) {
	var out io.Writer = stored
	if s.limit != nil {
		out = limitedWriter{ctx, s.limit, stored}
	}
	e, encoding, err := s.encoder(out)
	if err != nil {
		return nil, err
	}
	archive := newMeter(e)
	err = dump(ctx, archive)
	if err == nil {
		err = context.Cause(ctx)
	}
	if closeErr := e.Close(); err == nil {
		err = closeErr
	}
	m.Archive.Size, m.Archive.SHA256 = archive.n, archive.sum()
	if m.Verified == nil {
		m.Verified = make(map[catalog.Level]time.Time)
	}
	return encoding, err
}

// readBack compares what the target gives back with what was sent to it.
func (s *Store) readBack(ctx context.Context, want catalog.Object) error {
	r, err := s.target.Open(ctx, want.Key)
	if err != nil {
		return fmt.Errorf("read back %s: %w", want.Key, err)
	}
	defer r.Close()
	got := newMeter(io.Discard)
	if _, err := io.CopyBuffer(got, r, make([]byte, 256<<10)); err != nil {
		return fmt.Errorf("read back %s: %w", want.Key, err)
	}
	if got.n != want.Size || got.sum() != want.SHA256 {
		return fmt.Errorf("read back %s: the target gives %d bytes with SHA-256 %s, sent were %d with %s; look for a failing disk or link",
			want.Key, got.n, got.sum(), want.Size, want.SHA256)
	}
	return nil
}

// publish writes the manifest, which makes the snapshot exist.
func (s *Store) publish(ctx context.Context, m *catalog.Manifest, key string) error {
	manifest, err := catalog.Encode(m)
	if err != nil {
		return errors.Join(err, s.discard(ctx, key))
	}
	err = s.target.Put(ctx, base(m)+manifestSuffix, bytes.NewReader(manifest))
	if err == nil {
		err = s.checkPublished(ctx, m, manifest)
	}
	if err == nil {
		return nil
	}
	// The manifest may be there although Put failed, if the answer was lost. The archive may go only when the manifest surely has.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	if gone := s.target.Delete(after, base(m)+manifestSuffix); gone != nil {
		return fmt.Errorf("publish snapshot %s: %w", m.ID, errors.Join(err, gone))
	}
	return fmt.Errorf("publish snapshot %s: %w", m.ID, errors.Join(err, s.discard(ctx, key)))
}

// discard removes an upload that no manifest names. What it cannot remove, a sweep will.
func (s *Store) discard(ctx context.Context, key string) error {
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	if err := s.target.Delete(after, key); err != nil {
		s.o.Logger.Warn("an unfinished upload stays until the next sweep", "key", key, "error", err)
	}
	return nil
}

// checkPublished makes sure that the manifest is there as it was sent, and that no sweep elsewhere took the upload for a dead one's. A sweep marks
// before it looks for a manifest, and we look for its mark after we wrote the manifest: one of the two sees the other.
func (s *Store) checkPublished(ctx context.Context, m *catalog.Manifest, manifest []byte) error {
	got, err := s.readSmall(ctx, base(m)+manifestSuffix, int64(len(manifest)))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, manifest) {
		return errors.New("the target gives back another manifest than was sent; look for a failing disk or link")
	}
	for g, err := range s.groups(ctx, base(m)) {
		if err != nil {
			return err
		}
		if err := g.complete(m); err != nil {
			return fmt.Errorf("its manifest %w: was it swept as an unfinished upload, because it took so long?", err)
		}
		if g.has(orphanSuffix) {
			return errors.New("a sweep is about to remove it as an unfinished upload, because it took so long")
		}
		return nil
	}
	return errors.New("it was stored, but the target does not list it")
}

// freeSpacer is implemented by targets that know how much room is left.
type freeSpacer interface {
	FreeSpace(ctx context.Context) (int64, error)
}

func (s *Store) checkSpace(ctx context.Context) error {
	f, ok := runbook.As[freeSpacer](s.target)
	if !ok || s.o.MinFree < 0 {
		return nil
	}
	free, err := f.FreeSpace(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	case err != nil:
		return fmt.Errorf("ask the target for its free space: %w", err)
	case free < s.o.MinFree:
		return fmt.Errorf("the target has %d bytes left, less than the %d that must stay free; delete old snapshots or add room: %w", free, s.o.MinFree, syscall.ENOSPC)
	}
	return nil
}
