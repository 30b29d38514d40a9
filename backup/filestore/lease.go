package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
)

// A lease is the object with the highest number below leases/NAME/. To take, renew or take over a lease is to create the next number, which only
// one can do, as a target never replaces an object. The numbers below it are then removed.
type leaseRecord struct {
	Owner   string    `json:"owner"`
	Token   string    `json:"token"`
	Expires time.Time `json:"expires"`
}

// errLeaseLost is the cause with which a leased context ends.
var errLeaseLost = errors.New("the lease was lost: it could not be renewed in time or another owner took it over")

// Lease implements [catalog.Leaser].
func (s *Store) Lease(ctx context.Context, name string) (context.Context, func(context.Context) error, error) {
	if strings.Contains(name, "/") {
		return nil, nil, fmt.Errorf("lease %q: a name has no slash: %w", name, fs.ErrInvalid)
	}
	l := &lease{s: s, name: name, dir: root + "leases/" + name + "/", token: catalog.NewID(s.o.Now())}
	if err := l.acquire(ctx); err != nil {
		return nil, nil, err
	}
	leased, cancel := context.WithCancelCause(ctx)
	stopped := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(stopped)
		l.keep(leased, stop, cancel)
	}()
	release := func(ctx context.Context) error {
		select {
		case <-stop:
			return nil
		default:
			close(stop)
		}
		<-stopped
		lost := context.Cause(leased)
		cancel(errors.New("the lease was released"))
		if errors.Is(lost, errLeaseLost) {
			return fmt.Errorf("lease %q: %w", name, lost)
		}
		if err := s.target.Delete(ctx, l.key(l.number)); err != nil {
			return fmt.Errorf("release lease %q (it expires by itself): %w", name, err)
		}
		return nil
	}
	return leased, release, nil
}

type lease struct {
	s       *Store
	name    string
	dir     string
	token   string
	number  int64
	expires time.Time
}

func (l *lease) key(number int64) string { return fmt.Sprintf("%s%019d.json", l.dir, number) }

func (l *lease) acquire(ctx context.Context) error {
	highest, older, err := l.list(ctx)
	if err != nil {
		return err
	}
	if highest.Key != "" {
		held, err := l.read(ctx, highest.Key)
		switch {
		case errors.Is(err, fs.ErrNotExist): // released this moment
		case err != nil && highest.Modified.Add(l.s.o.LeaseTTL).After(l.s.o.Now()):
			return fmt.Errorf("lease %q: %w", l.name, err)
		case err != nil: // unreadable, and old enough to be nobody's
		case held.Expires.After(l.s.o.Now()):
			return &catalog.HeldError{Name: l.name, Owner: held.Owner, Expires: held.Expires}
		default:
			l.s.o.Logger.Warn("taking over an expired lease", "lease", l.name, "owner", held.Owner, "expired", held.Expires)
		}
		older = append(older, highest)
	}
	if err := l.write(ctx); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return &catalog.HeldError{Name: l.name, Owner: "another run that started at the same moment", Expires: l.s.o.Now().Add(l.s.o.LeaseTTL)}
		}
		return fmt.Errorf("take lease %q: %w", l.name, err)
	}
	for _, o := range older {
		if err := l.s.target.Delete(ctx, o.Key); err != nil {
			l.s.o.Logger.Warn("an old lease stays", "key", o.Key, "error", err)
		}
	}
	return nil
}

// list finds the highest number, sets l.number to it, and returns the objects below it too.
func (l *lease) list(ctx context.Context) (highest runbook.Object, older []runbook.Object, err error) {
	for o, err := range l.s.target.List(ctx, l.dir) {
		if err != nil {
			return highest, nil, fmt.Errorf("lease %q: %w", l.name, err)
		}
		number, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(o.Key, l.dir), ".json"), 10, 64)
		if err != nil || number < 0 {
			continue
		}
		if highest.Key != "" {
			older = append(older, highest)
		}
		highest, l.number = o, number
	}
	return highest, older, nil
}

func (l *lease) read(ctx context.Context, key string) (record leaseRecord, err error) {
	data, err := l.s.readSmall(ctx, key, 64<<10)
	if err != nil {
		return record, err
	}
	if err := catalog.Unseal(data, &record); err != nil {
		return record, fmt.Errorf("%s %w", key, err)
	}
	return record, nil
}

// write creates the next number. If the answer was lost, what stands there tells whether it is ours.
func (l *lease) write(ctx context.Context) error {
	record := leaseRecord{l.s.o.Owner, l.token, l.s.o.Now().Add(l.s.o.LeaseTTL).UTC()}
	data, err := catalog.Seal(record)
	if err != nil {
		return err
	}
	next := l.key(l.number + 1)
	if err := l.s.target.Put(ctx, next, bytes.NewReader(data)); err != nil {
		if there, readErr := l.read(ctx, next); readErr != nil || there.Token != l.token {
			return err
		}
	}
	l.number++
	l.expires = record.Expires
	return nil
}

// keep renews the lease four times in its life, and ends the leased context when it is lost.
func (l *lease) keep(ctx context.Context, stop <-chan struct{}, lose context.CancelCauseFunc) {
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			<-stop
			return
		case <-time.After(l.s.o.LeaseTTL / 4):
		}
		renew, cancel := context.WithTimeout(ctx, l.s.o.LeaseTTL/4)
		before := l.key(l.number)
		err := l.write(renew)
		if err == nil {
			err = l.s.target.Delete(renew, before)
		}
		cancel()
		if err == nil {
			continue
		}
		l.s.o.Logger.Warn("renewing the lease", "lease", l.name, "error", err)
		// The number may exist because somebody took the lease over, which they may only once it expired.
		if errors.Is(err, fs.ErrExist) || l.s.o.Now().After(l.expires.Add(-l.s.o.LeaseTTL/4)) {
			lose(errLeaseLost)
			<-stop
			return
		}
	}
}

// readSmall reads a whole object of at most limit bytes.
func (s *Store) readSmall(ctx context.Context, key string, limit int64) ([]byte, error) {
	r, err := s.target.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: it has more than %d bytes", key, limit)
	}
	return data, nil
}
