// Package restore brings databases back from the snapshots of a [catalog.Store], and proves that they came back.
//
//	plan, err := restore.NewPlan(ctx, dsn, store, snapshot, restore.Options{Replace: true})
//	if err != nil {
//		return err
//	}
//	fmt.Print(plan)
//	report, err := restore.Run(ctx, dsn, store, plan, restore.Options{})
//
// A restore never writes into a database that is in use. It fills a scratch database beside it, verifies that, and only then gives
// it the live name, in one transaction that also moves the live database aside. [Undo] takes that back, [Purge] removes what was moved
// aside once its time is over.
//
// # Guarantees
//
// The live database is the old one, whole and open, until the transaction of the swap commits, and the new one, verified and open, from then on;
// this holds too if this process, its client programs or the server are killed at any moment. Sessions at work are terminated by the swap. One
// that is just being opened waits for it, and is then refused once with SQLSTATE 3D000 ("just been dropped or renamed"); its next try succeeds. The database moved aside is closed to sessions and carries in its comment what it is and until when it is
// kept: the server itself holds all state.
//
// The archive is hashed and walked while pg_restore reads it; a restore from bytes other than those that were stored never
// gets the live name. At level [catalog.L4] the scratch database is dumped again, and every table, large object, sequence position and definition must
// equal what was recorded when the snapshot was made.
//
// A database is dropped only if its name has the form that this package gives and it bears the package's mark. What a killed run left is removed by the
// next run for the same database and by [Heal]. Roles that exist are never changed. No dump goes through psql. A cancelled context
// changes nothing further, and the scratch database is removed.
//
// # Concurrency
//
// Every function may be called from several goroutines and processes. A session advisory lock on the server lets one run at a time work on one database; the server
// releases it when its owner dies.
//
// # Errors
//
// What goes wrong with a database is a [*DatabaseError], which names the stage and hints at the fix. [All] and [Drill] join independent ones.
// No error holds a password.
//
// # Stability
//
// Names may change until v1.0.0. The marks in database comments stay readable.
package restore
