package backup_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"regexp"
	"time"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
)

// A night: every database of the school, two at a time, encrypted, with progress and with figures for Prometheus.
func ExampleRun() {
	ctx := context.Background()
	target, err := dirtarget.Open("/srv/backup", dirtarget.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{
		Recipients: []string{"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"},
	})
	if err != nil {
		log.Fatal(err)
	}
	report, err := backup.Run(ctx, "host=/var/run/postgresql user=backup", store, backup.Options{
		Select:          backup.Selection{Include: []string{"Specibike*"}, Exclude: []string{"*Essai"}},
		Workers:         2,
		DatabaseTimeout: time.Hour,
		MetricsFile:     "/var/lib/prometheus/node-exporter/backup.prom",
		Events: backup.Events{Progress: func(p backup.ProgressInfo) {
			fmt.Fprintf(os.Stderr, "\r%d of %d, %.0f MB/s, %s left", p.Done, p.Total, p.Rate/1e6, p.ETA)
		}},
	})
	fmt.Print(report) // it covers every selected database, whatever err is
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleSelection_Choose() {
	code := regexp.MustCompile(`Specibike(?P<class>Stmg[0-9])?(?P<group>Groupe[0-9])?`)
	choices, err := backup.Selection{Regexp: code}.Choose([]backup.Database{
		{Name: "Comptabilite", AllowsConnections: true},
		{Name: "Specibike", IsTemplate: true, AllowsConnections: true},
		{Name: "SpecibikeStmg1", AllowsConnections: true},
		{Name: "SpecibikeStmg1Groupe2", AllowsConnections: true},
	})
	for _, c := range choices {
		fmt.Printf("%s %v %q\n", c.Database.Name, c.Labels, c.Skip)
	}
	fmt.Println(err)
	// Output:
	// Specibike map[] "is a template"
	// SpecibikeStmg1 map[class:Stmg1] ""
	// SpecibikeStmg1Groupe2 map[class:Stmg1 group:Groupe2] ""
	// <nil>
}

func ExampleRetention_Plan() {
	var snapshots []*catalog.Snapshot
	last := time.Date(2026, 11, 21, 3, 15, 0, 0, time.UTC)
	for day := range 4 {
		at := last.AddDate(0, 0, -day)
		snapshots = append(snapshots, &catalog.Snapshot{Manifest: catalog.Manifest{
			ID: at.Format("20060102T150405Z-") + "aaaaaaaaaaaaaaaa", Kind: catalog.Database, Database: "SpecibikeDupont", Started: at,
			Stored: []catalog.Object{{Size: 7_400_000}},
		}})
	}
	snapshots[2].Evidence = []catalog.Evidence{{Passed: true, Level: catalog.L4, At: last}} // a drill restored it

	plan, err := backup.Retention{Default: backup.Policy{Daily: 1}}.Plan(snapshots, last)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(plan)
	// Output:
	// keep   20261121T031500Z-aaaaaaaaaaaaaaaa "SpecibikeDupont" L0: newest of its database, daily 1 of 1 (2026-11-21)
	// delete 20261120T031500Z-aaaaaaaaaaaaaaaa "SpecibikeDupont" L0: no rule keeps it
	// keep   20261119T031500Z-aaaaaaaaaaaaaaaa "SpecibikeDupont" L4: newest that was proven restorable
	// delete 20261118T031500Z-aaaaaaaaaaaaaaaa "SpecibikeDupont" L0: no rule keeps it
	// 4 snapshots: keep 2, delete 2 and 14.8 MB
}

// What a policy would delete can be looked at first.
func ExampleApplyRetention() {
	ctx := context.Background()
	target, err := dirtarget.Open("/srv/backup", dirtarget.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()
	store, err := filestore.New(target, filestore.Options{})
	if err != nil {
		log.Fatal(err)
	}
	plan, err := backup.PlanRetention(ctx, store, backup.Retention{Default: backup.Policy{Daily: 14, Weekly: 8, Monthly: 12}}, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(plan)
	if _, err := backup.ApplyRetention(ctx, store, plan); err != nil {
		log.Fatal(err)
	}
}
