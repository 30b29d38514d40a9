package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/rsynctarget"
)

const folder = "sauvegardesLocales"

// save dumps the databases into the folder. It is an error if there are not as many dumps as databases.
func save(ctx context.Context, dsn string, say func(string, ...any)) (*backup.Report, error) {
	target, err := dirtarget.Open(folder, dirtarget.Options{Create: true})
	if err != nil {
		return nil, err
	}
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{Owner: "sauvegarde, process " + strconv.Itoa(os.Getpid())})
	if err != nil {
		return nil, err
	}
	var names []string
	report, err := backup.Run(ctx, dsn, store, backup.Options{
		Select:    backup.Selection{Include: []string{"Specibike*"}, FoldCase: true},
		NoGlobals: true,
		Hooks: backup.Hooks{BeforeRun: func(_ context.Context, choices []backup.Choice) error {
			say("Voici les databases actuellement connues sur ce serveur")
			for _, c := range slices.Backward(choices) { // the order of the log that the school knows
				if c.Skip == "" {
					names = append(names, c.Database.Name)
					say("%s", oneLine(c.Database.Name))
				}
			}
			return nil
		}},
	})
	saved := make(map[string]bool)
	for snapshot, listErr := range store.List(ctx, catalog.Query{Kind: catalog.Database, Run: report.Run}) {
		if listErr != nil {
			err = errors.Join(err, listErr)
			continue
		}
		saved[snapshot.Database] = true
	}
	for _, name := range names {
		if saved[name] {
			say("Le dump de la base : %s est fini", oneLine(name))
		} else {
			say("Erreur dans le dump de la base : %s", oneLine(name))
		}
	}
	if err == nil && len(saved) != len(names) {
		err = fmt.Errorf("%d dumps pour %d bases", len(saved), len(names))
	}
	if err != nil {
		say("Erreur sur les dump")
		return report, err
	}
	say("Pas d'erreur sur les dump")
	return report, nil
}

// transfer sends the folder to the module Backup. The server's rsync may be an old one, such as DeltaCopy's, that cannot be told to sync.
func transfer(ctx context.Context, host string, port int, say func(string, ...any)) error {
	option, destination := "", host+"::Backup/"+folder
	if port != 873 {
		option, destination = fmt.Sprintf("--port=%d ", port), fmt.Sprintf("rsync://%s:%d/Backup/%s", host, port, folder)
	}
	say("rsync -a --chmod=ugo=rwX %s%s %s::Backup", option, folder, host)
	if err := rsynctarget.Mirror(ctx, folder, destination, rsynctarget.Options{Chmod: "ugo=rwX", NoSync: true}); err != nil {
		say("Erreur dans le transfert")
		return err
	}
	say("Le transfert est terminé")
	return nil
}

// oneLine keeps a name from looking like several lines of the log.
func oneLine(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, name)
}
