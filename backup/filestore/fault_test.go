package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/targettest"
)

// night is what a night does to a store: lease, sweep, store two snapshots, record evidence, delete one, give the lease back. It goes on after
// errors where a program would, and returns them.
func night(ctx context.Context, target runbook.Target, now time.Time, old *catalog.Manifest) error {
	s, err := filestore.New(target, filestore.Options{Now: func() time.Time { return now }, Owner: "night"})
	if err != nil {
		return err
	}
	leased, release, err := s.Lease(ctx, "cluster")
	if err != nil {
		return err
	}
	_, err = s.Sweep(leased, now.Add(-time.Hour))
	errs := []error{err}
	for _, database := range []string{"one", "two"} {
		m := draft(database)
		m.Started = now
		if err := s.Put(leased, m, writes(strings.Repeat("row of "+database+"\n", 20))); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, s.Record(leased, m, catalog.Evidence{At: now, Passed: true, Level: catalog.L4}))
	}
	if old != nil {
		errs = append(errs, s.Delete(leased, old, "retention"))
	}
	errs = append(errs, release(context.WithoutCancel(ctx)))
	return errors.Join(errs...)
}

// Every call of a night meets every kind of fault. Whatever happens: what is listed can be read, what was listed before and not deleted still is, and
// one undisturbed night later nothing is left over.
func TestEveryCallMeetsEveryFault(t *testing.T) {
	faults := []targettest.Fault{
		{Kind: targettest.Fail},
		{Kind: targettest.Fail, Err: syscall.ENOSPC},
		{Kind: targettest.FailAfter},
		{Kind: targettest.Cut, At: 10},
		{Kind: targettest.Short, At: 10},
		{Kind: targettest.Flip, At: 20},
		{Kind: targettest.Crash},
		{Kind: targettest.Crash, At: 10},
		{Kind: targettest.CrashAfter},
	}
	injected := 0
	for _, fault := range faults {
		for index := 0; ; index++ {
			reached := t.Run(fmt.Sprint(fault, index), func(t *testing.T) { injected++; oneFault(t, fault, index) })
			if !reached || noSuchCall(t, index) {
				break
			}
		}
	}
	t.Logf("%d faults injected", injected)
	require.Greater(t, injected, 200)
}

var callsOfANight int

func noSuchCall(t *testing.T, index int) bool {
	if callsOfANight == 0 {
		memory := targettest.NewMemory()
		faulty := targettest.NewFaulty(memory, nil)
		old := put(t, newStore(t, memory, filestore.Options{}), "old", "archive")
		require.NoError(t, night(t.Context(), faulty, time.Now(), old))
		callsOfANight = len(faulty.Calls())
	}
	return index >= callsOfANight
}

func oneFault(t *testing.T, fault targettest.Fault, index int) {
	memory := targettest.NewMemory()
	plain := newStore(t, memory, filestore.Options{})
	before := put(t, plain, "one", "archive of the night before")
	old := put(t, plain, "old", "archive that retention deletes")
	now := time.Now()
	hit := false
	faulty := targettest.NewFaulty(memory, func(c targettest.Call) targettest.Fault {
		if c.Index == index {
			hit = true
			return fault
		}
		return targettest.Fault{}
	})
	err := night(t.Context(), faulty, now, old)
	check := func(when string) (listed []string) {
		for s, err := range plain.List(t.Context(), catalog.Query{}) {
			require.NoError(t, err, "%s: %v", when, fault)
			_, err := open(t, plain, &s.Manifest)
			require.NoError(t, err, "%s: a listed snapshot cannot be read", when)
			listed = append(listed, s.ID)
		}
		require.Contains(t, listed, before.ID, "%s: a snapshot was lost", when)
		return listed
	}
	listed := check("after the fault")
	if !hit {
		require.NoError(t, err)
	}
	if err == nil {
		require.Len(t, listed, 3, "the night says that all is well")
	}

	later := now.Add(3 * time.Hour)
	memory.Now = func() time.Time { return later }
	require.NoError(t, night(t.Context(), memory, later, nil), "the next night heals")
	listed = check("after the next night")
	var used []string
	for _, s := range list(t, plain, catalog.Query{}) {
		used = append(used, s.Stored[0].Key, strings.TrimSuffix(s.Stored[0].Key, ".dump.zst")+".json")
	}
	for _, key := range keys(t, memory) {
		require.True(t, slices.Contains(used, key) || strings.Contains(key, ".evidence-"), "%s is left over", key)
	}
	require.GreaterOrEqual(t, len(listed), 3)
}
