package restore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/pgname"
)

// selection decides which entries of an archive are restored.
type selection struct {
	keep    map[int]bool // by dump ID
	skipped []string     // entries left out although their object was asked for, and why
	missing []string     // what was asked for and is not there
}

// selectEntries chooses by schemas and tables, everything if both are empty, and leaves out what would fail without harm: an ordinary role cannot comment
// on an extension, and does not have to, as CREATE EXTENSION does.
func selectEntries(toc []pgarchive.Entry, schemas []string, tables []Name, superuser bool, serverVersion int) selection {
	s := selection{keep: make(map[int]bool)}
	if len(schemas)+len(tables) == 0 {
		for i := range toc {
			s.keep[toc[i].DumpID] = true
		}
	} else {
		s.part(toc, schemas, tables)
	}
	for i := range toc {
		e := &toc[i]
		if s.keep[e.DumpID] && !superuser && isForeignComment(e, serverVersion) {
			s.keep[e.DumpID] = false
			s.skipped = append(s.skipped, e.Desc+" on "+e.Tag)
		}
	}
	return s
}

func isForeignComment(e *pgarchive.Entry, serverVersion int) bool {
	return e.Desc == "COMMENT" && (strings.HasPrefix(e.Tag, "EXTENSION ") || e.Tag == "SCHEMA public" && serverVersion < 15_00_00)
}

func (s *selection) all(toc []pgarchive.Entry) bool {
	return !slices.ContainsFunc(toc, func(e pgarchive.Entry) bool { return !s.keep[e.DumpID] })
}

// list returns the list file for pg_restore -L, or nothing if everything is restored.
func (s *selection) list(toc []pgarchive.Entry) string {
	if s.all(toc) {
		return ""
	}
	return string(pgarchive.List(toc, func(e pgarchive.Entry) bool { return s.keep[e.DumpID] }))
}

// relations are the kinds that a Name can name.
var relations = map[string]bool{"TABLE": true, "VIEW": true, "MATERIALIZED VIEW": true, "FOREIGN TABLE": true, "SEQUENCE": true}

// part chooses what was asked for, what belongs to it, and the definitions that these need.
func (s *selection) part(toc []pgarchive.Entry, schemas []string, tables []Name) {
	byID := make(map[int]*pgarchive.Entry, len(toc))
	for i := range toc {
		byID[toc[i].DumpID] = &toc[i]
	}
	chosen := make(map[int]bool) // asked for
	found := make(map[Name]bool)
	for i := range toc {
		e := &toc[i]
		name := Name{e.Namespace, e.Tag}
		switch {
		case relations[e.Desc] && slices.Contains(tables, name):
			chosen[e.DumpID], found[name] = true, true
		case e.Desc == "SCHEMA" && slices.Contains(schemas, e.Tag):
			chosen[e.DumpID], found[Name{Schema: e.Tag}] = true, true
		case e.Namespace != "" && slices.Contains(schemas, e.Namespace):
			chosen[e.DumpID], found[Name{Schema: e.Namespace}] = true, true
		}
	}
	for _, n := range tables {
		if !found[n] {
			s.missing = append(s.missing, fmt.Sprintf("relation %q.%q", n.Schema, n.Name))
		}
	}
	for _, n := range schemas {
		if !found[Name{Schema: n}] {
			s.missing = append(s.missing, fmt.Sprintf("schema %q", n))
		}
	}
	// What belongs to a chosen entry depends on it: its data, its indexes, its sequence. It is taken if no relation that was not chosen is needed for it,
	// which leaves out foreign keys to other tables, and views.
	for grown := true; grown; {
		grown = false
		for i := range toc {
			if e := &toc[i]; !chosen[e.DumpID] && belongs(e, chosen, byID) {
				chosen[e.DumpID], grown = true, true
			}
		}
	}
	for id, ok := range chosen {
		if ok {
			s.need(id, byID)
		}
	}
	for i := range toc {
		if e := &toc[i]; e.Desc == "SCHEMA" && slices.ContainsFunc(toc, func(x pgarchive.Entry) bool { return s.keep[x.DumpID] && x.Namespace == e.Tag }) {
			s.need(e.DumpID, byID)
		}
	}
	for i := range toc { // settings at the head of each archive
		if e := &toc[i]; e.Desc == "ENCODING" || e.Desc == "STDSTRINGS" || e.Desc == "SEARCHPATH" {
			s.keep[e.DumpID] = true
		}
	}
}

// attached are the kinds that are parts of what they depend on.
var attached = map[string]bool{
	"TABLE DATA": true, "DEFAULT": true, "SEQUENCE": true, "SEQUENCE OWNED BY": true, "SEQUENCE SET": true, "INDEX": true, "INDEX ATTACH": true,
	"TABLE ATTACH": true, "CONSTRAINT": true, "FK CONSTRAINT": true, "CHECK CONSTRAINT": true, "TRIGGER": true, "RULE": true, "POLICY": true, "ROW SECURITY": true, "STATISTICS": true,
	"COMMENT": true, "ACL": true, "SECURITY LABEL": true, "MATERIALIZED VIEW DATA": true,
}

func belongs(e *pgarchive.Entry, chosen map[int]bool, byID map[int]*pgarchive.Entry) bool {
	if !attached[e.Desc] {
		return false
	}
	owned := false
	for _, id := range e.Dependencies {
		on := byID[id]
		if on == nil {
			continue
		}
		switch {
		case chosen[id] && on.Desc != "SCHEMA":
			owned = true
		case relations[on.Desc]:
			return false
		}
	}
	return owned
}

// need keeps an entry and the definitions that it depends on; of a table that is only needed the data is not.
func (s *selection) need(id int, byID map[int]*pgarchive.Entry) {
	e := byID[id]
	if e == nil || s.keep[id] {
		return
	}
	s.keep[id] = true
	for _, on := range e.Dependencies {
		s.need(on, byID)
	}
}

// encodingOf returns the client encoding in which an archive was dumped.
func encodingOf(toc []pgarchive.Entry) string {
	for i := range toc {
		if toc[i].Desc != "ENCODING" {
			continue
		}
		if _, after, ok := strings.Cut(toc[i].Defn, "'"); ok {
			name, _, _ := strings.Cut(after, "'")
			return name
		}
	}
	return ""
}

// tables returns which tables' data is restored.
func (s *selection) tables(toc []pgarchive.Entry) map[Name]bool {
	kept := make(map[Name]bool)
	for i := range toc {
		if e := &toc[i]; e.Desc == "TABLE DATA" && s.keep[e.DumpID] {
			schema, name := e.DataTable()
			kept[Name{schema, name}] = true
		}
	}
	return kept
}

// rolesOf lists the roles that entries need: owners if they are kept, and those that a definition names, whoever owns it.
func rolesOf(toc []pgarchive.Entry, keep map[int]bool, owners bool) (roles []string) {
	for i := range toc {
		e := &toc[i]
		if !keep[e.DumpID] {
			continue
		}
		if owners && e.Owner != "" {
			roles = append(roles, e.Owner)
		}
		if e.Desc == "POLICY" || e.Desc == "USER MAPPING" {
			roles = append(roles, namedRoles(e.Defn)...)
		}
	}
	return roles
}

// namedRoles returns the roles in a CREATE POLICY … TO or CREATE USER MAPPING FOR. TO and FOR are reserved words, so unquoted they are what they seem.
func namedRoles(defn string) (roles []string) {
	statements, err := splitSQL(defn)
	if err != nil || len(statements) == 0 {
		return nil
	}
	tokens := statements[0].tokens
	mapping := len(tokens) > 2 && tokens[1].is("user")
	for i, t := range tokens {
		if !(mapping && t.is("for") || !mapping && t.is("to")) {
			continue
		}
		for i++; i < len(tokens); i += 2 {
			if name, ok := tokens[i].name(); ok && (tokens[i].kind == quoted || !tokens[i].is("public", "current_user", "session_user", "current_role")) {
				roles = append(roles, name)
			}
			if i+1 >= len(tokens) || tokens[i+1].text != "," {
				break
			}
		}
		break
	}
	return roles
}

// reownStatements give each kept object to the role that its owner is mapped to, and grant what the archive grants under mapped names. They are for a database
// in which everything was restored to one role. Sequences come last: those that belong to a table go with it.
func reownStatements(toc []pgarchive.Entry, keep map[int]bool, acl bool, role func(string) string) (statements []string, err error) {
	var sequences, grants []string
	for i := range toc {
		e := &toc[i]
		switch {
		case !keep[e.DumpID]:
		case e.Desc == "ACL" || e.Desc == "DEFAULT ACL":
			if !acl {
				continue
			}
			list, err := mapGrants(e.Defn, role)
			if err != nil {
				return nil, fmt.Errorf("privileges of %s: %w", e.Tag, err)
			}
			grants = append(grants, list...)
		case e.Owner == "":
		case e.Desc == "SEQUENCE":
			sequences = append(sequences, alterOwner(e, role(e.Owner))...)
		default:
			statements = append(statements, alterOwner(e, role(e.Owner))...)
		}
	}
	return slices.Concat(statements, sequences, grants), nil
}

// owned are the kinds that have an owner of their own; others have that of what they belong to.
var owned = map[string]bool{
	"AGGREGATE": true, "COLLATION": true, "CONVERSION": true, "DOMAIN": true, "EVENT TRIGGER": true, "FOREIGN DATA WRAPPER": true,
	"FOREIGN TABLE": true, "FUNCTION": true, "MATERIALIZED VIEW": true, "OPERATOR": true, "OPERATOR CLASS": true, "OPERATOR FAMILY": true,
	"PROCEDURAL LANGUAGE": true, "PROCEDURE": true, "PUBLICATION": true, "SCHEMA": true, "SEQUENCE": true, "SERVER": true, "STATISTICS": true,
	"SUBSCRIPTION": true, "TABLE": true, "TEXT SEARCH CONFIGURATION": true, "TEXT SEARCH DICTIONARY": true, "TYPE": true, "VIEW": true,
}

// alterOwner makes of a DROP statement, which names the object completely, an ALTER … OWNER statement.
func alterOwner(e *pgarchive.Entry, owner string) (statements []string) {
	to := " OWNER TO " + pgname.Ident(owner)
	switch {
	case e.Desc == "BLOB":
		return []string{"ALTER LARGE OBJECT " + e.Tag + to}
	case e.Desc == "BLOB METADATA":
		for oid := range strings.FieldsSeq(e.Defn) {
			statements = append(statements, "ALTER LARGE OBJECT "+oid+to)
		}
		return statements
	case !owned[e.Desc]:
		return nil
	}
	object, ok := strings.CutPrefix(strings.TrimSuffix(strings.TrimSpace(e.DropStmt), ";"), "DROP ")
	if !ok {
		return nil
	}
	object = strings.TrimPrefix(object, "PROCEDURAL ")
	if e.Desc == "TYPE" || e.Desc == "DOMAIN" {
		object = strings.TrimSuffix(object, " CASCADE")
	}
	return []string{"ALTER " + object + to}
}

// mapGrants puts mapped names into the GRANT, REVOKE and ALTER DEFAULT PRIVILEGES statements of pg_dump.
func mapGrants(script string, role func(string) string) (list []string, err error) {
	statements, err := splitSQL(script)
	if err != nil {
		return nil, err
	}
	for _, s := range statements {
		var b strings.Builder
		last := 0
		for i := 0; i+1 < len(s.tokens); i++ {
			t := s.tokens[i]
			names := t.is("to", "from") || t.is("role", "authorization") && i > 0 && s.tokens[i-1].is("for", "session") ||
				t.is("by") && i > 0 && s.tokens[i-1].is("granted")
			for j := i + 1; names && j < len(s.tokens); j += 2 {
				name, ok := s.tokens[j].name()
				if ok && (s.tokens[j].kind == quoted || !s.tokens[j].is("public", "default")) {
					b.WriteString(s.text[last:s.tokens[j].pos] + pgname.Ident(role(name)))
					last = s.tokens[j].end
				}
				if j+1 >= len(s.tokens) || s.tokens[j+1].text != "," {
					break
				}
			}
		}
		list = append(list, b.String()+s.text[last:])
	}
	return list, nil
}
