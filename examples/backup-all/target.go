package main

import (
	"context"
	"io"
	"net/url"
	"os"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/exectarget"
	"github.com/runbook-go/runbook/backup/rsynctarget"
	"github.com/runbook-go/runbook/backup/sftptarget"
)

const targetHelp = `Targets:  file:///DIRECTORY[?create=true]     sftp://USER@HOST[:PORT]/DIRECTORY?known_hosts=FILE&key=FILE
          exec:///PROGRAM[?arg=ARGUMENT]      rsync://[USER@]HOST[:PORT]/MODULE[?password_file=FILE]
A password belongs in ~/.pgpass (mode 0600), or in a file that passfile= in -dsn names; on the command line everybody would see it.

`

// openTarget opens the target that a URL names. Call done after use.
func openTarget(ctx context.Context, rawURL string) (target runbook.Target, done func(), err error) {
	var mux runbook.TargetMux
	mux.Handle("file", dirtarget.OpenURL, dirtarget.URLKeys()...)
	mux.Handle("sftp", sftptarget.OpenURL, sftptarget.URLKeys()...)
	mux.Handle("rsync", rsynctarget.OpenURL, rsynctarget.URLKeys()...)
	mux.Handle("exec", openPlugin, "arg")
	target, err = mux.Open(ctx, rawURL)
	if err != nil {
		return nil, nil, err
	}
	if closer, ok := target.(io.Closer); ok {
		return target, func() { closer.Close() }, nil
	}
	return target, func() {}, nil
}

// openPlugin opens exec:///PROGRAM?arg=ARGUMENT, a program that speaks the protocol of docs/plugins.md.
func openPlugin(_ context.Context, u *url.URL) (runbook.Target, error) {
	command := []string{u.Path}
	if arg := u.Query().Get("arg"); arg != "" {
		command = append(command, arg)
	}
	return exectarget.New(command, exectarget.Options{Env: []string{"PATH=" + os.Getenv("PATH")}})
}
