// Package backup dumps every database of a PostgreSQL server that follows a naming code, streams the dumps to a store, and proves what was
// stored.
//
//	target, err := dirtarget.Open("/srv/backup", dirtarget.Options{})
//	…
//	store, err := filestore.New(target, filestore.Options{})
//	…
//	report, err := backup.Run(ctx, "host=/var/run/postgresql user=postgres", store, backup.Options{
//		Select: backup.Selection{Include: []string{"Specibike*"}},
//	})
//	fmt.Print(report)
//
// Each database becomes one snapshot: the byte-exact custom-format archive of the real pg_dump, the number of rows and the SHA-256 of every
// table's COPY stream, and what the shared catalogs know of the database (owner, locale, privileges, settings). Roles and tablespaces are a snapshot of
// their own. [PlanRetention] and [ApplyRetention] delete what a policy no longer keeps. Package restore brings databases back and proves that they can be.
//
// # Guarantees
//
//   - The report covers every selected database: backed up, failed with stage, cause and hint, or skipped with the reason.
//   - One failure harms no other database.
//   - A snapshot is listed only when it is complete: pg_dump exited 0 (L0), its archive was walked from the first byte to the last (L1), and
//     what was stored was read back and compared (L2). Higher levels come from drills.
//   - Nothing of a dump touches the local disk.
//   - The newest snapshot of a database, and the newest that was proven restorable, are never deleted.
//   - Names of databases are treated as hostile. Passwords reach child processes in their environment only.
//
// Dumps of several databases are each consistent in themselves, not with one another. A dump tells nothing about damaged indexes. Tablespace
// directories, configuration files and WAL are not part of it.
//
// # Concurrency
//
// Run may be called for several clusters at a time. Of two runs for one cluster and store the second is refused while the first lives, if the store has leases.
//
// # Errors
//
// See [DatabaseError]. A [catalog.HeldError] says that another run is at work.
//
// # Stability
//
// The Go API may change until v1.0.0.
package backup
