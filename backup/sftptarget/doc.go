// Package sftptarget keeps objects on a server that is reached by SFTP, the file transfer of SSH. Any server will do; with OpenSSH's
// it is fastest and its promises are strongest.
//
//	config := &ssh.ClientConfig{User: "backup", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}}
//	if err := sftptarget.KnownHosts(config, "nas.example.org:22", "/etc/runbook/known_hosts"); err != nil {
//		return err
//	}
//	target, err := sftptarget.Open(ctx, "nas.example.org:22", config, sftptarget.Options{Root: "/srv/backup"})
//
// # Guarantees
//
// An object is written under a temporary name in the directory ".runbook-tmp" of the root, flushed, measured, and only then gets its
// name. What the server must offer for each promise, and what happens if it does not:
//
//   - All or nothing: any server. A link that breaks in the very moment in which the name is given leaves the question open: Put
//     returns a [*LinkError], and the object may be there, whole.
//   - Never overwrites: hardlink@openssh.com makes giving the name and checking for it one step. Without it the name is looked up, then
//     given by the plain rename of SFTP version 3, which most servers refuse if the name is taken. Within one Target that is safe with
//     every server; two programs that put the same key in the same moment are told apart by the server's refusal alone. The rename of
//     posix-rename@openssh.com is never used, as it replaces what is there.
//   - Survives a crash of the server: fsync@openssh.com. The file is flushed before it gets its name and again after, which on the usual
//     journaling file systems carries the name along. Without it the object is as durable as the server makes it. That a deletion
//     is durable cannot be had by SFTP: it is once the server's file system has written its journal.
//   - Confidential and unaltered on its way: SSH. The host key must be known; see [KnownHosts].
//
// A symbolic link below the root is the server's business when an object is opened, and is not listed. Anything that is not a regular file
// is not an object.
//
// # Concurrency
//
// A Target is safe for concurrent use, and many small objects are best put many at a time, as each takes about five round trips. Cancelling
// one call does not harm another: a request that is on its way is left to end by itself, and what it made is removed. A Put waits
// half a second for that, and for a Read of its reader that is in progress, then returns; it never begins another Read.
//
// # Errors
//
// A connection that cannot be made or that breaks gives a [*LinkError], in bounded time even if the server falls silent (Options.KeepAlive).
// The next call connects again. Calls that can be repeated without harm are, once; a Put is not once it has read from its reader. A
// full disk matches [syscall.ENOSPC]. A missing object matches [io/fs.ErrNotExist], a taken key [io/fs.ErrExist], a refusal by the
// server's permissions [io/fs.ErrPermission], something that this server cannot do [errors.ErrUnsupported]. No error holds a secret.
//
// # Stability
//
// Exported names may change before v1.0.0. What is on the server is plain files.
package sftptarget
