package restore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/restore"
)

var (
	ctx   = context.Background()
	dsn   = "host=db.example user=postgres"
	store catalog.Store // such as a filestore.Store
)

// Restore the newest snapshot of a database over the live one.
func Example() {
	latest, err := restore.Latest(ctx, store, catalog.Query{Kind: catalog.Database, Database: "SpecibikeStmg1"})
	if err != nil || len(latest) == 0 {
		fmt.Println("no snapshot:", err)
		return
	}
	o := restore.Options{Replace: true}
	plan, err := restore.NewPlan(ctx, dsn, store, latest[0], o)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(plan)
	report, err := restore.Run(ctx, dsn, store, plan, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("down for %s, the replaced database is kept as %q\n", report.Down, report.Old)
}

// Bring every database back onto a new server.
func ExampleAll() {
	latest, err := restore.Latest(ctx, store, catalog.Query{})
	if err != nil {
		fmt.Println(err)
	}
	report, err := restore.All(ctx, dsn, store, latest, restore.Options{Parallel: 4})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(len(report.Databases), "databases")
}

// Prove what was not proven yet, for at most two hours.
func ExampleDrill() {
	report, err := restore.Drill(ctx, store, restore.DrillOptions{Budget: 2 * time.Hour})
	if err != nil {
		fmt.Println(err)
	}
	for _, d := range report.Drilled {
		fmt.Println(d.Database, d.Evidence)
	}
}

func ExampleUndo() {
	if _, err := restore.Undo(ctx, dsn, "SpecibikeStmg1", restore.Options{}); err != nil {
		fmt.Println(err)
	}
}
