package main

import (
	"context"
	"fmt"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/restore"
)

const victim = "SpecibikeDupont"

// accident loses rows, restores last night's snapshot over the live database by a verified swap, and takes that back again.
func accident(ctx context.Context, a *account, dsn string, store catalog.Store, s *school, bin string) error {
	before, err := s.invoices(ctx, victim)
	if err != nil {
		return err
	}
	if err := s.deleteInvoices(ctx, victim); err != nil {
		return err
	}
	lost, err := s.invoices(ctx, victim)
	if err != nil {
		return err
	}
	a.say("%s had %d invoice lines and now has %d", victim, before, lost)

	latest, err := restore.Latest(ctx, store, catalog.Query{Kind: catalog.Database, Database: victim})
	if err != nil {
		return err
	}
	o := restore.Options{Replace: true, BinDir: bin}
	plan, err := restore.NewPlan(ctx, dsn, store, latest[0], o)
	if err != nil {
		return err
	}
	a.text(plan.String())
	report, err := restore.Run(ctx, dsn, store, plan, o)
	a.restore("restore", report)
	if err != nil {
		return err
	}
	if n, err := s.invoices(ctx, victim); err != nil || n != before {
		return fmt.Errorf("after the restore %s has %d invoice lines, not %d (%v)", victim, n, before, err)
	}
	a.say("it has its %d invoice lines again", before)

	undone, err := restore.Undo(ctx, dsn, victim, restore.Options{BinDir: bin})
	a.restore("undo", undone)
	if err != nil {
		return err
	}
	if n, err := s.invoices(ctx, victim); err != nil || n != lost {
		return fmt.Errorf("after the undo %s has %d invoice lines, not %d (%v)", victim, n, lost, err)
	}
	a.say("the restore was undone: it has %d again, and what was restored is kept aside", lost)
	return nil
}
