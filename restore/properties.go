package restore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgname"
)

// createDatabase returns the statement that creates a database as p describes it, from template0. locale, if not empty, replaces its collation.
// tablespaces keeps its tablespace. serverVersion is that of the server the statement is for.
func createDatabase(name string, p *catalog.Properties, locale string, tablespaces bool, serverVersion int) string {
	var b strings.Builder
	set := func(option, value string) {
		if value != "" {
			fmt.Fprintf(&b, " %s %s", option, pgname.Literal(value))
		}
	}
	fmt.Fprintf(&b, "CREATE DATABASE %s TEMPLATE template0", pgname.Ident(name))
	set("ENCODING", p.Encoding)
	collate, ctype, provider := p.Collate, p.Ctype, p.Provider
	if locale != "" {
		collate, ctype, provider = locale, locale, "libc"
	}
	set("LC_COLLATE", collate)
	set("LC_CTYPE", ctype)
	if serverVersion >= 15_00_00 && provider != "" {
		fmt.Fprintf(&b, " LOCALE_PROVIDER %s", pgname.Ident(provider))
		switch {
		case provider == "icu":
			set("ICU_LOCALE", p.Locale)
			if serverVersion >= 16_00_00 {
				set("ICU_RULES", p.ICURules)
			}
		case provider == "builtin":
			set("BUILTIN_LOCALE", p.Locale)
		}
	}
	if tablespaces && p.Tablespace != "" {
		fmt.Fprintf(&b, " TABLESPACE %s", pgname.Ident(p.Tablespace))
	}
	fmt.Fprintf(&b, " CONNECTION LIMIT %d", birthLimit)
	return b.String()
}

// settingStatements returns what brings the settings of a database back. known says which roles exist, by their names on the server.
func settingStatements(name string, settings []catalog.Setting, role func(string) string, known func(string) bool) (statements, missing []string) {
	for _, s := range settings {
		target := "ALTER DATABASE " + pgname.Ident(name)
		if s.Role != "" {
			r := role(s.Role)
			if !known(r) {
				missing = append(missing, fmt.Sprintf("%s of role %q", s.Name, r))
				continue
			}
			target = "ALTER ROLE " + pgname.Ident(r) + " IN DATABASE " + pgname.Ident(name)
		}
		statements = append(statements, fmt.Sprintf("%s SET %s TO %s", target, settingName(s.Name), settingValue(s.Name, s.Value)))
	}
	return statements, missing
}

// settingName quotes the name of a parameter, which may have two parts.
func settingName(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = pgname.Ident(p)
	}
	return strings.Join(parts, ".")
}

// listQuoted are the parameters that PostgreSQL keeps as a list of identifiers, quoted where needed (GUC_LIST_QUOTE). Given back as one constant they would
// be one element. The list is that of variable_is_guc_list_quote in PostgreSQL's dumputils.c; extensions must not add to it.
func listQuoted() []string {
	return []string{
		"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
		"temp_tablespaces", "unix_socket_directories",
	}
}

func settingValue(name, value string) string {
	if !slices.Contains(listQuoted(), strings.ToLower(name)) {
		return pgname.Literal(value)
	}
	elements, ok := splitIdentifiers(value)
	if !ok {
		return pgname.Literal(value)
	}
	if len(elements) == 0 {
		return "''"
	}
	for i, e := range elements {
		elements[i] = pgname.Literal(e)
	}
	return strings.Join(elements, ", ")
}

// splitIdentifiers reads a list of identifiers separated by commas, some of them in double quotes.
func splitIdentifiers(list string) (elements []string, ok bool) {
	rest := strings.TrimSpace(list)
	if rest == "" {
		return nil, true
	}
	for {
		var e strings.Builder
		if quoted, isQuoted := strings.CutPrefix(rest, `"`); isQuoted {
			for {
				text, after, closed := strings.Cut(quoted, `"`)
				if !closed {
					return nil, false
				}
				e.WriteString(text)
				if quoted, isQuoted = strings.CutPrefix(after, `"`); !isQuoted {
					rest = after
					break
				}
				e.WriteByte('"')
			}
		} else {
			n := strings.IndexAny(rest, ", \t\n")
			if n < 0 {
				n = len(rest)
			}
			if n == 0 {
				return nil, false
			}
			e.WriteString(rest[:n])
			rest = rest[n:]
		}
		elements = append(elements, e.String())
		rest = strings.TrimLeft(rest, " \t\n")
		if rest == "" {
			return elements, true
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, false
		}
		rest = strings.TrimLeft(rest, " \t\n")
	}
}

// ownerStatement gives a database to a role.
func ownerStatement(name, owner string) string {
	return "ALTER DATABASE " + pgname.Ident(name) + " OWNER TO " + pgname.Ident(owner)
}

// grantStatements returns what gives a database of owner the privileges of p, after [ownerStatement]. In a scratch database nobody but its owner may connect; this
// undoes that. Each grant is given by its grantor, and after the grant that lets him. single names a role that stands for all owners and grantors, or is empty.
// Those statements that are a grantor's are to be run in one transaction.
func grantStatements(name, owner string, p *catalog.Properties, noACL, single bool, role func(string) string, known func(string) bool) (statements, missing []string) {
	on := " ON DATABASE " + pgname.Ident(name)
	if noACL || p.DefaultACL {
		return []string{"GRANT CONNECT, TEMPORARY" + on + " TO PUBLIC"}, nil
	}
	statements = []string{"REVOKE ALL" + on + " FROM PUBLIC", "REVOKE ALL" + on + " FROM " + pgname.Ident(owner)}
	mapped := func(r string) string {
		if r == "" {
			return ""
		}
		if single && r == p.Owner {
			return owner
		}
		return role(r)
	}
	var todo []catalog.Grant
	for _, g := range p.ACL {
		g.Grantee, g.Grantor = mapped(g.Grantee), mapped(g.Grantor)
		if single {
			g.Grantor = owner
		}
		if g.Grantee != "" && !known(g.Grantee) || !known(g.Grantor) {
			missing = append(missing, fmt.Sprintf("%s granted to role %q", g.Privilege, g.Grantee))
			continue
		}
		todo = append(todo, g)
	}
	type may struct{ role, privilege string }
	granted := make(map[may]bool)
	for progress := true; progress && len(todo) > 0; {
		progress = false
		var later []catalog.Grant
		for _, g := range todo {
			if g.Grantor != owner && !granted[may{g.Grantor, g.Privilege}] {
				later = append(later, g)
				continue
			}
			progress = true
			granted[may{g.Grantee, g.Privilege}] = g.Grantable
			statements = append(statements, grantStatement(on, owner, g))
		}
		todo = later
	}
	for _, g := range todo {
		missing = append(missing, fmt.Sprintf("%s granted by role %q, which may not grant it", g.Privilege, g.Grantor))
	}
	return statements, missing
}

func grantStatement(on, owner string, g catalog.Grant) string {
	to := "PUBLIC"
	if g.Grantee != "" {
		to = pgname.Ident(g.Grantee)
	}
	s := "GRANT " + g.Privilege + on + " TO " + to
	if g.Grantable {
		s += " WITH GRANT OPTION"
	}
	if g.Grantor != owner {
		// A superuser's GRANT counts as the owner's.
		s = "SET LOCAL ROLE " + pgname.Ident(g.Grantor) + "; " + s + "; RESET ROLE"
	}
	return s
}

// finalStatements bring back what is only right once a database has its name: what concerns a scratch database's mark.
func finalStatements(name, comment string, limit int) []string {
	is := "NULL"
	if comment != "" {
		is = pgname.Literal(comment)
	}
	return []string{
		"COMMENT ON DATABASE " + pgname.Ident(name) + " IS " + is,
		fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", pgname.Ident(name), limit),
	}
}

func allowStatement(name string, allow bool) string {
	return fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", pgname.Ident(name), allow)
}
