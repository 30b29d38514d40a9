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
	// Put stores one snapshot. The draft names it: Version, ID, Run, Kind, Database and Cluster are set. Put calls dump once, in a goroutine of its
	// own, with a writer for the archive; before dump returns nil it fills in draft what only the end of the dump can tell. An
	// error of dump aborts, and dump's context ends when storing fails. Put returns after dump has returned. It fills in Archive.Size,
	// Archive.SHA256, Stored, Finished and, if it read back what it stored and compared, Verified[L2]. If it returns an error, either nothing is listed
	// or, when the link broke in the very last step, a complete snapshot is.
	Put(ctx context.Context, draft *Manifest, dump func(ctx context.Context, archive io.Writer) error) error

	// Open returns the archive of a snapshot, byte for byte as it was dumped. Reading to the end verifies it: a damaged object gives
	// an error instead of io.EOF. A missing one gives an error that matches io/fs.ErrNotExist.
	Open(ctx context.Context, m *Manifest) (io.ReadCloser, error)

	// List yields the complete snapshots that match q, all of one cluster, kind and database together and these oldest first. A manifest that cannot be
	// read is yielded as an error that names it, and the listing goes on; an error that ends the listing is the last thing yielded.
	List(ctx context.Context, q Query) iter.Seq2[*Snapshot, error]

	// Record keeps one piece of evidence about a snapshot.
	Record(ctx context.Context, m *Manifest, e Evidence) error

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
