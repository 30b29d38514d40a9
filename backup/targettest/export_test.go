package targettest

import (
	"context"
	"time"

	"github.com/runbook-go/runbook"
)

// RuleNames lists the rules.
func RuleNames() (names []string) {
	for _, r := range rules() {
		names = append(names, r.name)
	}
	return names
}

// CheckRule checks one rule with little patience.
func CheckRule(ctx context.Context, target runbook.Target, name string, patience time.Duration) error {
	for _, r := range rules() {
		if r.name == name {
			return newEnv(target, &Options{Patience: patience}, 2<<20).run(ctx, r)
		}
	}
	panic("no rule " + name)
}
