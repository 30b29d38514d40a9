package cli

import (
	"context"
	"io"
	"net/url"
	"os"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/exectarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/rsynctarget"
	"github.com/runbook-go/runbook/backup/sftptarget"
)

const targetHelp = `Targets:  file:///DIRECTORY[?create=true]
          sftp://USER@HOST[:PORT]/DIRECTORY?known_hosts=FILE&key=FILE
          rsync+ssh://[USER@]HOST[:PORT]/DIRECTORY?known_hosts=FILE[&key=FILE]
          rsync://[USER@]HOST[:PORT]/MODULE[?password_file=FILE]
          exec:///PROGRAM[?arg=ARGUMENT]
A password belongs in ~/.pgpass (mode 0600), or in a file that passfile= in -dsn names; on the command line everybody would see it.

`

// OpenStore opens the store on the target that a URL names. The identity is a file with the age identity that decrypts it, or empty.
// Call done after use.
func OpenStore(ctx context.Context, rawURL, identity string, o filestore.Options) (store *filestore.Store, done func(), err error) {
	if identity != "" {
		if o.Identity, err = os.ReadFile(identity); err != nil {
			return nil, nil, err
		}
	}
	target, err := openTarget(ctx, rawURL)
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		if closer, ok := target.(io.Closer); ok {
			closer.Close()
		}
	}
	if store, err = filestore.New(target, o); err != nil {
		done()
		return nil, nil, err
	}
	return store, done, nil
}

func openTarget(ctx context.Context, rawURL string) (runbook.Target, error) {
	var mux runbook.TargetMux
	mux.Handle("file", dirtarget.OpenURL, dirtarget.URLKeys()...)
	mux.Handle("sftp", sftptarget.OpenURL, sftptarget.URLKeys()...)
	mux.Handle("rsync", rsynctarget.OpenURL, rsynctarget.URLKeys()...)
	mux.Handle("rsync+ssh", rsynctarget.OpenURL, rsynctarget.URLKeys()...)
	mux.Handle("exec", openPlugin, "arg")
	return mux.Open(ctx, rawURL)
}

// openPlugin opens exec:///PROGRAM?arg=ARGUMENT, a program that speaks the protocol of docs/plugins.md.
func openPlugin(_ context.Context, u *url.URL) (runbook.Target, error) {
	command := []string{u.Path}
	if arg := u.Query().Get("arg"); arg != "" {
		command = append(command, arg)
	}
	return exectarget.New(command, exectarget.Options{Env: []string{"PATH=" + os.Getenv("PATH")}})
}
