//go:build unix

package exectarget_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/runbook-go/runbook/backup/exectarget"
)

func ExampleNew() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	plugin, err := filepath.Abs("../../examples/target-plugin/dir-target.sh")
	if err != nil {
		panic(err)
	}
	ctx := context.Background()

	target, err := exectarget.New([]string{"/bin/sh", plugin, dir}, exectarget.Options{Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		panic(err)
	}
	if err := target.Put(ctx, "night-1/shop.dump", strings.NewReader("PGDMP…")); err != nil {
		panic(err)
	}
	object, err := target.Stat(ctx, "night-1/shop.dump")
	if err != nil {
		panic(err)
	}
	fmt.Println(object.Key, object.Size)
	// Output: night-1/shop.dump 8
}
