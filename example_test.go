package runbook_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"github.com/runbook-go/runbook"
)

// Programs that are driven by configuration open targets by URL. They register what they offer, and nothing else is reachable.
func ExampleTargetMux() {
	var mux runbook.TargetMux
	mux.Handle("mem", func(context.Context, *url.URL) (runbook.Target, error) { return memory{}, nil }, "size")

	_, err := mux.Open(context.Background(), "mem:/nightly?size=10")
	fmt.Println(err)
	_, err = mux.Open(context.Background(), "ftp://backup.example/nightly")
	fmt.Println(err)
	// Output:
	// <nil>
	// open target ftp://backup.example/nightly: unknown scheme "ftp"; known: mem
}

// Optional abilities are found through any number of wrappers.
func ExampleAs() {
	var target runbook.Target = limited{memory{}}
	if prober, ok := runbook.As[runbook.Prober](target); ok {
		fmt.Println(prober.Probe(context.Background()))
	}
	// Output: the operator said stop
}

func ExampleLocal() {
	c := runbook.Cmd{Path: "echo", Args: []string{"hello"}, Stdout: os.Stdout}
	if err := (runbook.Local{}).Run(context.Background(), c); err != nil {
		fmt.Println(err)
	}
	// Output: hello
}

func ExampleCheckKey() {
	err := runbook.CheckKey("../etc/passwd")
	fmt.Println(err)
	fmt.Println(errors.Is(err, fs.ErrInvalid))
	// Output:
	// key "../etc/passwd": has an empty, . or .. element: invalid argument
	// true
}
