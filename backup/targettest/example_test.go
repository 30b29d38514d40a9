package targettest_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"

	"github.com/runbook-go/runbook/backup/targettest"
)

func ExampleCheck() {
	target := targettest.NewMemory() // in earnest: the bucket or server that backups shall go to
	if err := targettest.Check(context.Background(), target); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the target keeps the contract")
	// Output: the target keeps the contract
}

// Every call of a job fails once, and what is left is looked at each time.
func ExampleFaulty() {
	job := func(t *targettest.Faulty) error {
		ctx := context.Background()
		if err := t.Put(ctx, "data", strings.NewReader("all of it")); err != nil {
			return err
		}
		return t.Put(ctx, "manifest", strings.NewReader("data is complete"))
	}
	good := targettest.NewFaulty(targettest.NewMemory(), nil)
	if err := job(good); err != nil {
		panic(err)
	}
	for i := range good.Calls() {
		memory := targettest.NewMemory()
		full := targettest.NewFaulty(memory, func(c targettest.Call) targettest.Fault {
			if c.Index == i {
				return targettest.Fault{Kind: targettest.Cut, At: 4, Err: syscall.ENOSPC}
			}
			return targettest.Fault{}
		})
		failed := job(full) != nil
		n := 0
		for range memory.List(context.Background(), "") {
			n++
		}
		fmt.Printf("call %d fails: job failed: %v, objects left: %d\n", i, failed, n)
	}
	// Output:
	// call 0 fails: job failed: true, objects left: 0
	// call 1 fails: job failed: true, objects left: 1
}
