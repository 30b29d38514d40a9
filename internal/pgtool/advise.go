package pgtool

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// flaw is a published vulnerability of PostgreSQL's client programs.
type flaw struct {
	id     string
	what   string
	fixed  map[int]int // major version: first minor version without it
	free   int         // majors from here on never had it
	refuse bool        // see [Advise]
}

// flaws are those that concern pg_dump, pg_dumpall, pg_restore and the library under them, from
// https://www.postgresql.org/support/security/.
var flaws = []flaw{
	{
		id:    "CVE-2024-7348",
		what:  "a user of the server can make pg_dump run SQL of his as the role that dumps",
		fixed: map[int]int{12: 20, 13: 16, 14: 13, 15: 8, 16: 4}, free: 17,
	},
	{
		id:    "CVE-2025-8714",
		what:  "a superuser of the dumped server can run commands on the machine that restores a plain dump with psql",
		fixed: map[int]int{13: 22, 14: 19, 15: 14, 16: 10, 17: 6}, free: 18,
	},
	{
		id:    "CVE-2025-8715",
		what:  "a user of the dumped server can run SQL and commands where the dump is restored, by a line feed in a name",
		fixed: map[int]int{13: 22, 14: 19, 15: 14, 16: 10, 17: 6}, free: 18,
		refuse: true,
	},
	{
		id:    "CVE-2026-6477",
		what:  "a superuser of the dumped server can overwrite pg_dump's memory by way of a large object",
		fixed: map[int]int{14: 23, 15: 18, 16: 14, 17: 10, 18: 4}, free: 19,
	},
	{
		id:    "CVE-2026-18408",
		what:  "a superuser of the dumped server can run commands on the machine that restores a plain dump or the globals with psql",
		fixed: map[int]int{14: 24, 15: 19, 16: 15, 17: 11, 18: 6}, free: 19,
	},
}

// Advise says whether tools are fit to dump or restore a server of serverVersion (its server_version_num). Tools of an older major than the server are
// refused: they cannot read its catalog. So are tools with a flaw that gives an ordinary user of the server commands on our machine. Other known
// flaws, which need the server's superuser or stay on the server, are warnings: a backup that is not taken is worse.
//
//lint:ignore ST1008 both results are answers, none says that Advise went wrong
func Advise(tools Tools, serverVersion int) (refuse error, warnings []string) {
	var refusals []error
	if major := serverVersion / 10000; tools.Major() < major {
		refusals = append(refusals, fmt.Errorf("programs in %s are version %s, older than the server's %s; %s",
			tools.Dir, format(tools.Version), format(serverVersion), install(major, nil)))
	}
	for _, f := range flaws {
		fix, ok := f.fixes(tools)
		if ok {
			continue
		}
		text := fmt.Sprintf("programs in %s are version %s and have %s: %s; %s", tools.Dir, format(tools.Version), f.id, f.what, fix)
		if f.refuse {
			refusals = append(refusals, errors.New(text))
		} else {
			warnings = append(warnings, text)
		}
	}
	return errors.Join(refusals...), warnings
}

// fixes reports whether tools are free of the flaw and otherwise what to do about it.
func (f flaw) fixes(tools Tools) (advice string, ok bool) {
	major, minor := tools.Major(), tools.Version%10000
	fixed, known := f.fixed[major]
	switch {
	case major >= f.free, known && minor >= fixed:
		return "", true
	case known:
		return fmt.Sprintf("update to %d.%d or later", major, fixed), false
	default:
		oldest := slices.Min(slices.Collect(maps.Keys(f.fixed)))
		return fmt.Sprintf("no version %d is without it; use %d.%d or later", major, oldest, f.fixed[oldest]), false
	}
}
