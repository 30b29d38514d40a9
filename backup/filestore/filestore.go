// Package filestore keeps each snapshot as one object beside its manifest, on any [runbook.Target]: what lies there can be listed, copied
// and restored with stock tools. It is the plain store: an archive of pg_dump, compressed with zstd and, if recipients are given, encrypted with age.
//
//	runbook-v1/7312345678901234567/db/^Specibike^Dupont/20261121T031500Z-k3v9q2m4x7a5c8dh.dump.zst   the archive
//	runbook-v1/7312345678901234567/db/^Specibike^Dupont/20261121T031500Z-k3v9q2m4x7a5c8dh.json       the manifest, written last
//
// So without this module a database comes back with
//
//	zstd -dc FILE.dump.zst | pg_restore --create --dbname=postgres
//
// The layout is described in docs/filestore.md.
//
// # Guarantees
//
// The manifest is written after the archive was stored, read back and compared, so a listed snapshot is complete. An upload that was
// cut off is never listed and is removed by a later [Store.Sweep]. Deleting goes in two phases: a mark makes the snapshot unlisted, then the
// objects go, and a crash in between is finished by the next sweep. A lease keeps two runs apart, needs no human when its owner dies, and is never needed to
// read, restore or delete. Manifests are not encrypted: they tell names of databases and tables, row counts and hashes, but no row.
//
// # Concurrency
//
// A Store is safe for concurrent use by any number of goroutines, and the data on the target by any number of processes.
//
// # Errors
//
// Errors name the object. Those of the target are wrapped. A damaged object gives an error, never wrong bytes.
//
// # Stability
//
// What version 1 has written stays readable. The Go API may change until v1.0.0.
package filestore

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
)

// Options of a [Store]. The zero value compresses fast, does not encrypt, and reads back everything it stores.
type Options struct {
	// Recipients are age public keys ("age1…"). If there is any, archives are encrypted to all of them. Generate a key pair with age-keygen and keep the
	// identity off the machine that backs up.
	Recipients []string

	// Identity is the content of an age identity file ("AGE-SECRET-KEY-1…"), needed only to open encrypted archives.
	Identity []byte

	// Level is zstd's compression level: 1 (default) is fastest, 3 zstd's own default, 19 the smallest.
	Level int

	// SkipReadBack leaves out the comparison of what was stored with what was sent. The snapshot then reaches level L1 only.
	SkipReadBack bool

	// UploadLimit bounds the bytes a second sent to the target, over all concurrent uploads. 0 is no limit.
	UploadLimit int64

	// MinFree refuses to start an upload when the target can tell its free space and has less, in bytes. 0 means 64 MiB, -1 no check.
	MinFree int64

	// LeaseTTL is how long a lease outlives its owner. 0 means 2 minutes. Clocks of the machines that share a store must agree to a
	// quarter of it.
	LeaseTTL time.Duration

	// Owner names this process in leases and marks, such as "db1 pid 4711". Empty means "unnamed".
	Owner string

	Now    func() time.Time // nil means time.Now
	Logger *slog.Logger     // nil discards
}

// Store implements [catalog.Store], [catalog.Leaser] and [catalog.Sweeper] on a target.
type Store struct {
	target     runbook.Target
	o          Options
	recipients []age.Recipient
	identities []age.Identity
	limit      *limiter
}

var (
	_ catalog.Store   = (*Store)(nil)
	_ catalog.Leaser  = (*Store)(nil)
	_ catalog.Sweeper = (*Store)(nil)
)

// New returns a store on target. It reports every problem of the options at once and touches nothing.
func New(target runbook.Target, o Options) (*Store, error) {
	s := &Store{target: target, o: o}
	var problems []error
	if target == nil {
		problems = append(problems, errors.New("the target is nil"))
	}
	for _, r := range o.Recipients {
		recipient, err := age.ParseX25519Recipient(r)
		if err != nil {
			problems = append(problems, fmt.Errorf("recipient %q: not an age public key (age1…): %w", r, err))
			continue
		}
		s.recipients = append(s.recipients, recipient)
	}
	if len(o.Identity) > 0 {
		identities, err := parseIdentities(o.Identity)
		if err != nil {
			problems = append(problems, err)
		}
		s.identities = identities
	}
	if o.Level < 0 || o.Level > 22 {
		problems = append(problems, fmt.Errorf("level %d: zstd has 1 to 22", o.Level))
	}
	if o.UploadLimit < 0 {
		problems = append(problems, fmt.Errorf("upload limit %d is negative", o.UploadLimit))
	}
	if o.LeaseTTL < 0 {
		problems = append(problems, fmt.Errorf("lease TTL %s is negative", o.LeaseTTL))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("file store: %w", err)
	}
	if s.o.Level == 0 {
		s.o.Level = 1
	}
	if s.o.LeaseTTL == 0 {
		s.o.LeaseTTL = 2 * time.Minute
	}
	if s.o.MinFree == 0 {
		s.o.MinFree = 64 << 20
	}
	if s.o.Owner == "" {
		s.o.Owner = "unnamed"
	}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	if s.o.Logger == nil {
		s.o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.UploadLimit > 0 {
		s.limit = newLimiter(o.UploadLimit)
	}
	return s, nil
}

func (s *Store) level() zstd.EncoderLevel { return zstd.EncoderLevelFromZstd(s.o.Level) }
