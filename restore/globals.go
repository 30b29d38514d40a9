package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/wording"
)

// GlobalsReport says what was done with the roles and tablespaces of a cluster.
type GlobalsReport struct {
	Snapshot string   `json:"snapshot"`
	Roles    []string `json:"roles,omitempty"`    // that were created
	Existing []string `json:"existing,omitempty"` // roles that were there already and were left as they are
	Skipped  []string `json:"skipped,omitempty"`  // what was left out, and why
	Run      int      `json:"statements"`         // that were run
}

// maxGlobals bounds the size in bytes of a globals snapshot.
const maxGlobals = 64 << 20

// globalKind says what a statement of pg_dumpall --globals-only does.
type globalKind int

const (
	globalSet        globalKind = iota // a setting of the session: not needed
	globalCreateRole                   //
	globalRole                         // about one role: its attributes, settings, comment
	globalInDatabase                   // about a role in a database, which is a property of the database
	globalMember                       // membership of a role in another
	globalSpace                        // a tablespace
	globalOther                        // privileges on parameters, security labels
)

// global is one statement of a globals snapshot.
type global struct {
	kind globalKind
	role string // that it changes
	text string
}

// parseGlobals reads the plain SQL of pg_dumpall. It accepts only what pg_dumpall writes there, and everything or nothing: one statement of another
// kind means that the text is not what it should be.
func parseGlobals(script string) (list []global, err error) {
	statements, err := splitSQL(script)
	if err != nil {
		return nil, err
	}
	for i, s := range statements {
		g, ok := parseGlobal(s)
		if !ok {
			return nil, fmt.Errorf("statement %d is of no kind that belongs there", i+1)
		}
		list = append(list, g)
	}
	return list, nil
}

func parseGlobal(s statement) (global, bool) {
	t := append(slices.Clone(s.tokens), make([]token, 8)...) // so that looking ahead needs no check
	for i := len(s.tokens); i < len(t); i++ {
		t[i] = token{kind: punct}
	}
	n := len(s.tokens)
	name := func(i int) (string, bool) { return t[i].name() }
	g := global{text: s.text}
	var ok bool
	switch {
	case t[0].is("set"):
		g.kind, ok = globalSet, true
	case t[0].is("create") && t[1].is("role"):
		g.kind = globalCreateRole
		g.role, ok = name(2)
		ok = ok && n == 3
	case t[0].is("alter") && t[1].is("role"):
		g.kind = globalRole
		g.role, ok = name(2)
		if t[3].is("in") && t[4].is("database") {
			g.kind = globalInDatabase
		} else {
			ok = ok && t[3].is("with", "set")
		}
	case t[0].is("comment") && t[1].is("on") && t[2].is("role"):
		g.kind = globalRole
		g.role, ok = name(3)
		ok = ok && t[4].is("is")
	case t[0].is("security") && t[1].is("label"):
		i := slices.IndexFunc(s.tokens, func(t token) bool { return t.is("on") })
		g.kind = globalOther
		if ok = i > 0 && t[i+1].is("role", "tablespace"); ok && t[i+1].is("role") {
			g.kind = globalRole
			g.role, ok = name(i + 2)
		} else if ok {
			g.kind = globalSpace
		}
	case t[0].is("grant", "revoke") && isName(t[1]) && t[2].is("to", "from"):
		g.kind = globalMember
		g.role, ok = name(3)
	case t[0].is("create", "alter") && t[1].is("tablespace"),
		t[0].is("comment") && t[1].is("on") && t[2].is("tablespace"):
		g.kind, ok = globalSpace, true
	case t[0].is("grant", "revoke"):
		i := slices.IndexFunc(s.tokens, func(t token) bool { return t.is("on") })
		ok = i > 0 && t[i+1].is("tablespace", "parameter")
		if g.kind = globalOther; ok && t[i+1].is("tablespace") {
			g.kind = globalSpace
		} else if to := slices.IndexFunc(s.tokens, func(t token) bool { return t.is("to", "from") }); ok {
			ok = to > 0
			g.role, _ = name(max(to, 0) + 1)
		}
	}
	return g, ok
}

func isName(t token) bool {
	_, ok := t.name()
	return ok
}

// restoreGlobals creates the roles of a globals snapshot that do not exist, with what belongs to them. Roles that exist are left alone, membership
// included. Tablespaces are created only if asked for, as their directories may belong to another server on this machine.
func restoreGlobals(ctx context.Context, dsn string, store catalog.Store, m *catalog.Manifest, o Options) (*GlobalsReport, error) {
	r := &GlobalsReport{Snapshot: m.ID}
	script, err := readGlobals(ctx, store, m)
	if err != nil {
		return r, err
	}
	list, err := parseGlobals(script)
	if err != nil {
		return r, &ArchiveError{m.ID, fmt.Errorf("the globals are not what pg_dumpall writes: %w", err)}
	}
	server, conn, err := connect(ctx, dsn)
	if err != nil {
		return r, err
	}
	defer closeConn(conn)
	existing, err := readSet(ctx, conn, `SELECT rolname FROM pg_catalog.pg_roles`)
	if err != nil {
		return r, err
	}
	// The server's log must not get a password verifier with a statement that fails; only a superuser may say so.
	_, _ = conn.Exec(ctx, `SET log_min_error_statement = 'panic'; SET log_statement = 'none'`)
	var failures []error
	for _, g := range list {
		switch {
		case g.kind == globalSet:
		case g.kind == globalInDatabase: // restored with its database
		case g.kind == globalSpace && !o.Tablespaces:
			r.Skipped = append(r.Skipped, "tablespaces are not restored unless asked for")
		case g.role != "" && existing[g.role] || isPredefined(g.role):
			if g.kind == globalCreateRole {
				r.Existing = append(r.Existing, g.role)
			}
		default:
			// The extended protocol takes one statement only, whatever the text holds.
			if _, err := conn.PgConn().ExecParams(ctx, g.text, nil, nil, nil, nil).Close(); err != nil {
				if conn.IsClosed() {
					return r, errors.Join(context.Cause(ctx), err)
				}
				if sqlState(err) == "42601" { // a syntax error quotes the text
					err = errors.New("the server does not understand it")
				}
				failures = append(failures, fmt.Errorf("%s: %w", g.describe(), err))
				continue
			}
			if r.Run++; g.kind == globalCreateRole {
				r.Roles = append(r.Roles, g.role)
			}
		}
	}
	r.Skipped = slices.Compact(r.Skipped)
	if len(failures) > 0 {
		return r, hide(server, wording.Failures("statements of the globals", failures))
	}
	return r, nil
}

// describe names a statement without its text, which may hold a password.
func (g *global) describe() string {
	words := strings.Fields(g.text)
	what := strings.ToLower(strings.Join(words[:min(2, len(words))], " "))
	if g.kind == globalMember {
		what = "membership of"
	}
	return fmt.Sprintf("%s (role %s)", what, pgname.Ident(g.role))
}

func readGlobals(ctx context.Context, store catalog.Store, m *catalog.Manifest) (string, error) {
	f, err := store.Open(ctx, m)
	if err != nil {
		return "", &ArchiveError{m.ID, err}
	}
	defer f.Close()
	var b bytes.Buffer
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(&b, h), io.LimitReader(f, maxGlobals+1))
	if err == nil && n > maxGlobals {
		err = fmt.Errorf("the globals are larger than %d bytes", maxGlobals)
	}
	if err == nil {
		err = checkSum(m, n, h)
	}
	if err != nil {
		return "", &ArchiveError{m.ID, err}
	}
	return b.String(), nil
}
