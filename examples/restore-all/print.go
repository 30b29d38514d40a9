package main

import (
	"fmt"
	"time"
)

func (o *outcome) print() {
	if o.Report == nil {
		for _, c := range o.Chosen {
			fmt.Printf("%s  cluster %s  %s  %s %q\n", c.Snapshot, c.Cluster, c.Started.Local().Format(time.DateTime), c.Kind, c.Database)
		}
		return
	}
	if g := o.Report.Globals; g != nil {
		fmt.Printf("roles: %d created, %d were there already\n", len(g.Roles), len(g.Existing))
		for _, skipped := range g.Skipped {
			fmt.Printf("left out: %s\n", skipped)
		}
	}
	restored := 0
	for _, r := range o.Report.Databases {
		if r.Err != nil {
			fmt.Printf("FAILED   %q: %v\n", r.Database, r.Err)
			continue
		}
		restored++
		fmt.Printf("restored %q: snapshot %s, proven at %s, %d rows compared, in %s\n", r.Database, r.Snapshot, r.Level, r.Rows,
			r.Finished.Sub(r.Started).Round(time.Millisecond))
	}
	fmt.Printf("%d of %d databases restored\n", restored, len(o.Report.Databases))
}
