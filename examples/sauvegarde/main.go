// Sauvegarde is the backup script of a school's network: every evening it dumps the databases whose name begins with Specibike, and sends the
// dumps to the backup server by rsync if all of them succeeded. Its log keeps the form that the school's administrators know.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/runbook-go/runbook/backup"
)

const help = `sauvegarde LOG ERREUR HOTE

Sauvegarde toutes les bases PostgreSQL dont le nom commence par Specibike dans le répertoire sauvegardesLocales, créé s'il n'existe pas.
S'il y a autant de dumps que de bases, les transfère par rsync dans le module Backup du serveur HOTE, puis détruit les sauvegardes
locales. Le fichier LOG trace toutes les opérations. Le fichier ERREUR explique une erreur; il est détruit s'il n'y en a pas.

  sauvegarde log.txt erreur.txt 172.31.0.3

Le mot de passe se trouve dans ~/.pgpass (mode 0600; Windows : %APPDATA%\postgresql\pgpass.conf), jamais sur la ligne de commande.
Code de sortie : 0 tout est sauvegardé et transféré, 1 erreur, 2 mauvais usage.

`

func main() {
	dsn := flag.String("dsn", "host=localhost port=5432 user=openpg dbname=postgres", "connexion au serveur PostgreSQL, une `chaîne` de libpq")
	port := flag.Int("port", 873, "`port` du serveur rsync")
	asJSON := flag.Bool("json", false, "écrit aussi le rapport sur la sortie standard, en JSON")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), help)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "sauvegarde: trois paramètres sont attendus, LOG ERREUR HOTE; -h en dit plus")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	report, err := run(ctx, *dsn, flag.Arg(0), flag.Arg(1), flag.Arg(2), *port)
	stop()
	if *asJSON {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(report))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sauvegarde:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dsn, logName, errName, host string, port int) (report *backup.Report, err error) {
	log, err := os.Create(logName)
	if err != nil {
		return nil, err
	}
	var logErr error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(log, format+"\n", args...)
		logErr = errors.Join(logErr, err)
	}
	defer func() { err = errors.Join(err, logErr, log.Close()) }()
	if err := os.WriteFile(errName, nil, 0o666); err != nil {
		return nil, err
	}
	say("Nous sommes le : %s", time.Now().Format("Mon Jan 2 15:04:05 2006"))
	say("La sauvegarde commence")
	report, err = save(ctx, dsn, say)
	if err == nil {
		err = transfer(ctx, host, port, say)
	}
	if err != nil {
		say("Consultez le fichier %s", errName)
		return report, errors.Join(err, os.WriteFile(errName, []byte(err.Error()+"\n"), 0o666))
	}
	if err := os.Remove(errName); err != nil {
		return report, err
	}
	say("Le fichier %s est detruit", errName)
	if err := os.RemoveAll(folder); err != nil {
		return report, err
	}
	say("Les sauvegardes locales sont detruites")
	return report, nil
}
