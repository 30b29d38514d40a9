// Package runbook holds the two nouns that the packages of this module share, a [Target] that keeps immutable objects and
// a [Runner] that runs commands, with the few helpers that make them easy to carry around.
//
// The work is done by the packages below it, each of which can be imported alone:
//
//   - backup: dump every database that follows a naming code to a store, and prove what was stored
//   - backup/catalog: the snapshot manifest and the Store contract
//   - backup/filestore: a store of one object a dump, readable with stock tools
//   - backup/dirtarget, backup/sftptarget, backup/rsynctarget, backup/exectarget: where objects can be kept
//   - restore: plan, restore, verify, swap, undo, drill
//   - restore/scratch: a throw-away PostgreSQL server
//
// # Guarantees
//
// The library never exits the process, never logs globally, never reads an environment variable, never registers itself and
// installs no signal handler. What it needs is passed in.
//
// # Concurrency
//
// Values are safe for concurrent use once configured, unless their own documentation says otherwise.
//
// # Errors
//
// The vocabulary is the standard library's: [io/fs.ErrNotExist], [io/fs.ErrExist], [errors.ErrUnsupported] and the errors of
// package context, all found with [errors.Is]. A command that fails returns an [*ExitError].
//
// # Stability
//
// Before v1.0.0 names may still change between minor versions; every change is listed in CHANGELOG.md and the exported API is
// kept in a golden file. Formats written to disk stay readable for ever.
package runbook
