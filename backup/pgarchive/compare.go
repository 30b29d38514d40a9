package pgarchive

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Differences says how the definitions of two archives differ. Each line names one object, such as `VIEW "public"."best"`.
type Differences struct {
	Missing []string // in the first archive alone
	Extra   []string // in the second archive alone
	Changed []string // of another text, and it matters

	// Rewritten are of another text too, but of a kind whose expressions PostgreSQL writes in another way once they were restored: a CHECK with IN
	// on a varchar column is the usual case.
	Rewritten []string
}

// CompareDefinitions compares what two archives define: everything but data, sequence positions, owners and privileges.
func CompareDefinitions(want, got []Entry) Differences {
	type texts map[string]int // how often
	index := func(toc []Entry) map[string]texts {
		objects := make(map[string]texts)
		for i := range toc {
			e := &toc[i]
			for _, record := range definition(e) {
				name := record[1]
				if len(record) > 2 {
					name = fmt.Sprintf("%q.%q", record[1], record[2])
				}
				object := record[0] + " " + name
				if objects[object] == nil {
					objects[object] = make(texts)
				}
				objects[object][strings.Join(record, "\x00")]++
			}
		}
		return objects
	}
	count := func(t texts) (n int) {
		for _, times := range t {
			n += times
		}
		return n
	}
	var d Differences
	have, there := index(want), index(got)
	for _, object := range slices.Sorted(maps.Keys(have)) {
		kind, _, _ := strings.Cut(object, ` "`)
		switch a, b := have[object], there[object]; {
		case count(b) < count(a):
			d.Missing = append(d.Missing, object)
		case count(b) > count(a):
			d.Extra = append(d.Extra, object)
		case maps.Equal(a, b):
		case expressive[kind]:
			d.Rewritten = append(d.Rewritten, object)
		default:
			d.Changed = append(d.Changed, object)
		}
	}
	for _, object := range slices.Sorted(maps.Keys(there)) {
		if have[object] == nil {
			d.Extra = append(d.Extra, object)
		}
	}
	return d
}

// expressive are the kinds of entries whose text holds expressions that PostgreSQL keeps parsed and writes anew.
var expressive = map[string]bool{
	"CHECK CONSTRAINT": true, "CONSTRAINT": true, "DEFAULT": true, "DOMAIN": true, "INDEX": true, "MATERIALIZED VIEW": true, "POLICY": true,
	"PUBLICATION TABLE": true, "RULE": true, "STATISTICS": true, "TABLE": true, "TABLE ATTACH": true, "TRIGGER": true, "VIEW": true,
}
