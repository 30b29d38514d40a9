// Package cli is what the example programs have in common: the URL of a target, progress on a terminal, and the way they end.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Program is a running program.
type Program struct {
	name string
	json bool
}

// Outcome is what a program prints: as text, or as JSON. Embed [Failure] for the other half of it.
type Outcome interface {
	fmt.Stringer
	Fail(err error)
}

// Failure is the error with which a program ended.
type Failure struct {
	Error string `json:"error,omitempty"`
}

// Fail sets the error.
func (f *Failure) Fail(err error) { f.Error = err.Error() }

// Parse parses the command line. The flag -json is added, and -h prints help, what there is to say about targets, and the flags.
func Parse(name, help string) *Program {
	p := &Program{name: name}
	flag.BoolVar(&p.json, "json", false, "print one JSON object instead of text")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), help+targetHelp)
		flag.PrintDefaults()
	}
	flag.Parse()
	return p
}

// Refuse ends a program that was called wrongly, with exit status 2.
func (p *Program) Refuse(hint string) {
	fmt.Fprintf(os.Stderr, "%s: %s; -h tells more\n", p.name, hint)
	os.Exit(2)
}

// Run does the job, with a context that ends at an interrupt, prints the outcome, and ends the program with exit status 0, or 1 after an error.
func (p *Program) Run(out Outcome, job func(ctx context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := job(ctx)
	stop()
	if err != nil {
		out.Fail(err)
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, err)
	}
	if p.json {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(out))
	} else {
		fmt.Print(out)
	}
	if err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}
