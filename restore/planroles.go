package restore

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/wording"
)

// decideRoles chooses who owns what, and finds out which roles are missing.
func (p *Plan) decideRoles(toc []pgarchive.Entry, choice *selection, s *survey, o Options) {
	m := p.Manifest
	p.Privileges, p.Roles = !o.NoACL, o.Roles
	switch {
	case o.Owner != "" || !s.superuser && len(o.Roles) == 0:
		p.Ownership, p.Owner = OwnersOne, cmp.Or(o.Owner, s.user)
		if !s.superuser && !s.inherits[p.Owner] {
			p.problem("role %q is no member of %q and cannot give it anything", s.user, p.Owner)
		}
		if p.Privileges {
			p.warn("one role owns everything, so privileges on objects are not restored")
		}
	case len(o.Roles) > 0:
		p.Ownership, p.Owner = OwnersMapped, p.role(m.Properties.Owner)
	default:
		p.Ownership, p.Owner = OwnersKept, m.Properties.Owner
	}
	p.roles = maps.Clone(s.roles)
	required := rolesOf(toc, choice.keep, p.Ownership != OwnersOne)
	if p.Ownership != OwnersOne {
		required = append(required, m.Roles...)
	}
	for i, r := range required {
		required[i] = p.role(r)
	}
	required = append(required, p.Owner)
	slices.Sort(required)
	for _, r := range slices.Compact(required) {
		switch {
		case p.roles[r]:
		case isPredefined(r):
			p.problem("the server does not have the predefined role %q", r)
		case o.CreateRoles && (s.superuser || s.createRole):
			p.NewRoles, p.roles[r] = append(p.NewRoles, r), true
		default:
			p.problem("role %q does not exist; map it (Options.Roles), have it created (CreateRoles), or give everything to one role (Owner)", r)
		}
	}
	var err error
	switch {
	case p.Ownership == OwnersMapped:
		p.Reown, err = reownStatements(toc, choice.keep, p.Privileges, p.role)
		p.warnOfNames(toc, choice)
	case p.Ownership == OwnersOne && p.Owner != s.user:
		p.Reown, err = reownStatements(toc, choice.keep, false, func(string) string { return p.Owner })
	}
	if err != nil {
		p.problem("%v", err)
	}
}

// warnOfNames warns of definitions that name a role inside: those are restored as they are.
func (p *Plan) warnOfNames(toc []pgarchive.Entry, choice *selection) {
	for i := range toc {
		e := &toc[i]
		if !choice.keep[e.DumpID] || e.Desc != "POLICY" && e.Desc != "USER MAPPING" {
			continue
		}
		for _, r := range namedRoles(e.Defn) {
			if p.role(r) == r {
				continue
			}
			if !p.roles[r] {
				p.problem("%s %q names role %q, which cannot be mapped there and does not exist", strings.ToLower(e.Desc), e.Tag, r)
			} else {
				p.warn("%s %q keeps role %q", strings.ToLower(e.Desc), e.Tag, r)
			}
		}
	}
}

func isPredefined(role string) bool { return strings.HasPrefix(role, "pg_") }

// role maps a role of the snapshot.
func (p *Plan) role(name string) string {
	if to, ok := p.Roles[name]; ok {
		return to
	}
	return name
}

// String describes the plan for people.
func (p *Plan) String() string {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s "+format+"\n", append([]any{what}, args...)...)
	}
	m := p.Manifest
	fmt.Fprintf(&b, "restore database %q\n", p.Database)
	line("snapshot", "%s of database %q, %s", m.ID, m.Database, m.Finished.UTC().Format("2006-01-02 15:04:05 UTC"))
	if m.Content != nil {
		line("holds", "%d tables, %d rows, %d large objects, archive of %s", len(m.Content.Tables), m.Content.Rows(), m.Content.LargeObjects.Count, wording.Bytes(m.Archive.Size))
	}
	line("server", "version %s, programs %s in %s", versionText(p.Server), versionText(p.Tool), p.BinDir)
	if p.Walked {
		line("archive", "read from its first byte to its last: whole and as recorded")
	} else {
		line("archive", "will be verified while it is restored")
	}
	if p.Replaces {
		line("replaces", "the live database of %s by a swap; it is kept aside for %s", wording.Bytes(p.LiveSize), p.KeepOld)
	} else {
		line("creates", "a database beside what is there")
	}
	switch p.Ownership {
	case OwnersOne:
		line("owner", "%q of everything", p.Owner)
	case OwnersMapped:
		line("owners", "mapped by name; the database belongs to %q", p.Owner)
	default:
		line("owners", "as recorded; the database belongs to %q", p.Owner)
	}
	if len(p.NewRoles) > 0 {
		line("new roles", "%s (they cannot log in)", strings.Join(p.NewRoles, ", "))
	}
	if p.Part {
		line("part", "%d tables with data", len(p.Tables))
	}
	line("proof", "%s before it gets its name%s", p.Level, map[bool]string{true: ", definitions included"}[p.Definition && p.Level >= catalog.L4])
	if p.Free >= 0 {
		line("space", "about %s needed, %s free", wording.Bytes(p.Need), wording.Bytes(p.Free))
	} else {
		line("space", "about %s needed; how much is free is not known", wording.Bytes(p.Need))
	}
	for _, list := range []struct {
		what  string
		lines []string
	}{{"left out", p.Skipped}, {"left over", p.Leftovers}, {"warning", p.Warnings}, {"PROBLEM", p.Problems}} {
		for _, l := range list.lines {
			line(list.what, "%s", l)
		}
	}
	return b.String()
}

func versionText(v int) string { return fmt.Sprintf("%d.%d", v/10000, v%10000) }
