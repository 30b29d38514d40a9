package scratch_test

import (
	"context"
	"fmt"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/restore/scratch"
)

func Example() {
	ctx := context.Background()
	server, err := scratch.Start(ctx, scratch.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	conn, err := pgx.Connect(ctx, server.DSN())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	var answer int
	if err := conn.QueryRow(ctx, "SELECT 6 * 7").Scan(&answer); err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
	// Output: 42
}

func ExampleSweep() {
	// At the start of a program that may have been killed while it had servers.
	if _, err := scratch.Sweep(context.Background(), ""); err != nil {
		log.Print(err)
	}
}
