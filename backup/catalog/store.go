// Package catalog defines what a snapshot is and what a store of snapshots promises. It knows no storage, no compression and no
// PostgreSQL client: [backup/filestore] implements the contract, packages backup and restore use it.
//
// # Guarantees
//
// A manifest is written last and carries a checksum, so a snapshot that is listed is complete. Format version 1 stays readable for ever;
// its layout is described in docs/manifest.md.
//
// # Concurrency
//
// Everything here is a plain value; a Store must be safe for concurrent use.
//
// # Errors
//
// The errors of package io/fs are the vocabulary; [*HeldError] says that another run is at work.
//
// # Stability
//
// The manifest format is stable. The Go API may change until v1.0.0.
//
// [backup/filestore]: https://pkg.go.dev/github.com/runbook-go/runbook/backup/filestore
package catalog

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"
)

// Store keeps snapshots. Implementations must be safe for concurrent use, by several processes too.
type Store interface {
	// Put stores one snapshot. The draft names it: ID, Run, Kind, Database and Cluster are set. Put reads archive to its end;
	// an error of archive aborts. Then it calls finish, which fills in what only the end of the dump can tell and may refuse by an
	// error. Put fills in Archive, Stored, Finished and Verified[L2] if it read back and compared. The snapshot is listed only if Put
	// returns nil.
	Put(ctx context.Context, draft *Manifest, archive io.Reader, finish func() error) error

	// Open returns the archive of a snapshot, byte for byte as it was dumped. Reading to the end verifies it: a damaged object gives
	// an error instead of io.EOF. A missing one gives an error that matches io/fs.ErrNotExist.
	Open(ctx context.Context, m *Manifest) (io.ReadCloser, error)

	// List yields the complete snapshots that match q, sorted by ID, oldest first. A manifest that cannot be read is yielded as an error
	// that names it, and the listing goes on.
	List(ctx context.Context, q Query) iter.Seq2[*Snapshot, error]

	// Record keeps one piece of evidence about a snapshot.
	Record(ctx context.Context, e Evidence) error

	// Delete makes a snapshot unlisted for good; reason is kept with it. Its space is given back at once or by a later [Sweeper.Sweep].
	// A missing snapshot is not an error.
	Delete(ctx context.Context, m *Manifest, reason string) error
}

// Query selects snapshots. The zero value selects all.
type Query struct {
	SystemID string            // of the cluster; empty is any
	Kind     Kind              // empty is any
	Database string            // exact name; empty is any
	Run      string            // empty is any
	ID       string            // empty is any
	Labels   map[string]string // each must be equal
}

// Match says whether m is selected.
func (q Query) Match(m *Manifest) bool {
	for name, value := range q.Labels {
		if got, ok := m.Labels[name]; !ok || got != value {
			return false
		}
	}
	is := func(want, got string) bool { return want == "" || want == got }
	return is(q.SystemID, m.Cluster.SystemID) && is(string(q.Kind), string(m.Kind)) && is(q.Database, m.Database) && is(q.Run, m.Run) && is(q.ID, m.ID)
}

// Leaser is implemented by stores that can keep two runs apart.
type Leaser interface {
	// Lease takes the lease called name, which is a key's element, and keeps it alive until release is called. The context it returns ends when the lease
	// is lost, with a cause that says so. If another owner holds a live lease the error is a [*HeldError]. A lease whose owner died is taken over
	// once it has expired, without a human.
	Lease(ctx context.Context, name string) (leased context.Context, release func(context.Context) error, err error)
}

// HeldError says that another owner holds a lease.
type HeldError struct {
	Name    string    // of the lease
	Owner   string    // who holds it: host, process and run
	Expires time.Time // when it expires unless it is renewed
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("lease %q is held by %s until %s, and may be renewed; wait, or look whether that run still lives", e.Name, e.Owner, e.Expires.UTC().Format(time.RFC3339))
}

// Sweeper is implemented by stores that can remove what unfinished work left behind.
type Sweeper interface {
	// Sweep removes what belongs to no complete snapshot and was last touched before the given time: unfinished uploads, and what Delete
	// left. It never removes anything that a listed snapshot needs.
	Sweep(ctx context.Context, before time.Time) (Swept, error)
}

// Swept counts what a sweep removed.
type Swept struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}
