package filestore_test

import (
	"context"
	"fmt"
	"log"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/targettest"
)

// What is in a store.
func Example() {
	store, err := filestore.New(targettest.NewMemory(), filestore.Options{}) // any target will do
	if err != nil {
		log.Fatal(err)
	}
	n := 0
	for snapshot, err := range store.List(context.Background(), catalog.Query{Database: "SpecibikeDupont"}) {
		if err != nil {
			log.Fatal(err)
		}
		level, at := snapshot.Proven()
		fmt.Println(snapshot.ID, level, at)
		n++
	}
	fmt.Println(n, "snapshots")
	// Output: 0 snapshots
}
