package rsynctarget_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/runbook-go/runbook/backup/rsynctarget"
)

// Copy a directory of dumps to the module "Backup" of a daemon, readable by everybody there.
func ExampleMirror() {
	err := rsynctarget.Mirror(context.Background(), "sauvegardesLocales", "172.31.0.2::Backup", rsynctarget.Options{
		Chmod:  "ugo=rwX",
		NoSync: true, // an old server
	})
	if failed, ok := errors.AsType[*rsynctarget.Error](err); ok {
		fmt.Println(failed.Meaning, failed.Hint)
	}
}

func ExampleNew() {
	target, err := rsynctarget.New("keeper@store.example:/srv/backup", rsynctarget.Options{
		SSH: rsynctarget.SSH{KnownHosts: "/etc/backup/known_hosts", Identity: "/etc/backup/id_ed25519"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := target.Put(context.Background(), "notes/today", strings.NewReader("all is well")); err != nil {
		log.Fatal(err)
	}
}
