package dirtarget_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/runbook-go/runbook/backup/dirtarget"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	target, err := dirtarget.Open(dir, dirtarget.Options{})
	if err != nil {
		panic(err)
	}
	defer target.Close()
	if err := target.Put(ctx, "night-1/shop.dump", strings.NewReader("PGDMP…")); err != nil {
		panic(err)
	}
	for object, err := range target.List(ctx, "night-1/") {
		if err != nil {
			panic(err)
		}
		fmt.Println(object.Key, object.Size)
	}
	// Output: night-1/shop.dump 8
}
