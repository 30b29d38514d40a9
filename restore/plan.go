package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/pgarchive"
	"github.com/runbook-go/runbook/internal/pgtool"
	"github.com/runbook-go/runbook/internal/wording"
)

// Ownership says who owns what is restored.
type Ownership string

// Who may own.
const (
	OwnersKept   Ownership = "kept"   // each object's own role
	OwnersMapped Ownership = "mapped" // the roles that Options.Roles names for them
	OwnersOne    Ownership = "one"    // one role owns everything
)

// Plan is what a restore will do. It is plain data: [Run] does what it says, and refuses if there are problems.
type Plan struct {
	Database   string            `json:"database"` // name that the restored database gets
	Manifest   *catalog.Manifest `json:"manifest"` // of the snapshot
	Level      catalog.Level     `json:"level"`    // to be reached before the name is taken
	Walked     bool              `json:"walked"`   // the whole archive was verified beforehand
	Server     int               `json:"server_version"`
	BinDir     string            `json:"bin_dir"`      // of pg_restore and pg_dump
	Tool       int               `json:"tool_version"` // of them, such as 150018
	Superuser  bool              `json:"superuser"`    // the restoring role is one
	Replaces   bool              `json:"replaces"`     // a live database is moved aside
	LiveSize   int64             `json:"live_size,omitempty"`
	KeepOld    time.Duration     `json:"keep_old_ns,omitempty"` // how long that is kept
	Need       int64             `json:"need"`                  // estimate of the bytes needed on the server
	Free       int64             `json:"free"`                  // bytes free there, -1 if unknown
	Create     string            `json:"create"`                // statement that creates the scratch database, called scratchPlaceholder in it
	Ownership  Ownership         `json:"ownership"`
	Owner      string            `json:"owner"` // of the database, and with OwnersOne of everything in it
	Roles      map[string]string `json:"roles,omitempty"`
	NewRoles   []string          `json:"new_roles,omitempty"` // created without the right to log in
	Privileges bool              `json:"privileges"`          // on objects and on the database
	Spaces     bool              `json:"tablespaces"`
	Jobs       int               `json:"jobs"`
	Part       bool              `json:"part"`                // not everything is restored
	Tables     []Name            `json:"tables,omitempty"`    // with data, if a part
	List       string            `json:"list,omitempty"`      // for pg_restore -L, if not everything is restored
	Reown      []string          `json:"reown,omitempty"`     // statements that map owners and privileges
	Encoding   string            `json:"encoding,omitempty"`  // that the archive's text is in, in which it is dumped again
	Definition bool              `json:"compare_definitions"` // definitions must be equal too: same major version here and there
	Skipped    []string          `json:"skipped,omitempty"`   // archive entries that are left out without harm
	Leftovers  []string          `json:"leftovers,omitempty"` // scratch databases that are there now
	Warnings   []string          `json:"warnings,omitempty"`  //
	Problems   []string          `json:"problems,omitempty"`  // why this cannot be done
	roles      map[string]bool   // that exist or will
}

const scratchPlaceholder = "__restore_"

// Err returns what keeps the plan from being done, or nil.
func (p *Plan) Err() error {
	if len(p.Problems) == 0 {
		return nil
	}
	return &DatabaseError{Database: p.Database, Stage: StagePlan, Err: errors.New(strings.Join(p.Problems, "; "))}
}

// NewPlan looks at a snapshot and at the server that dsn names, and decides how to restore the one on the other. It changes nothing. What keeps the restore
// from being done is listed in the plan's problems and is no error here, so that the plan can be shown; damage of the archive is an error that is
// an [*ArchiveError].
func NewPlan(ctx context.Context, dsn string, store catalog.Store, snapshot *catalog.Snapshot, o Options) (*Plan, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	m := &snapshot.Manifest
	if m.Kind != catalog.Database {
		return nil, fmt.Errorf("plan restore of snapshot %s: it holds %s, not a database", m.ID, m.Kind)
	}
	name := cmp.Or(o.As, m.Database)
	server, conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, fail(name, StageConnect, err)
	}
	defer closeConn(conn)
	s, err := readSurvey(ctx, conn, name)
	if err != nil {
		return nil, fail(name, StagePlan, err)
	}
	s.maintenance = server.Maintenance()
	p := &Plan{Database: name, Manifest: m, Free: -1}
	tools, err := pgtool.Find(ctx, o.BinDir, max(s.version/10000, toolMajor(m.Tool)), "pg_restore", "pg_dump")
	if err != nil {
		return nil, fail(name, StageConnect, err)
	}
	p.BinDir, p.Tool = tools.Dir, tools.Version
	if refuse, _ := pgtool.Advise(tools, s.version); refuse != nil {
		p.Problems = append(p.Problems, refuse.Error())
	}
	if o.FreeSpace != nil {
		if s.free, err = o.FreeSpace(ctx); err != nil {
			p.warn("free space could not be read: %v", err)
			s.free = -1
		}
	}
	toc, err := readArchive(ctx, store, m, o.Walk == WalkAlways || o.Walk == WalkReplace && s.live != nil)
	if err != nil {
		return nil, fail(name, StagePlan, err)
	}
	p.Walked = o.Walk == WalkAlways || o.Walk == WalkReplace && s.live != nil
	p.decide(toc, s, o)
	return p, nil
}

// readArchive reads the table of contents, and the whole archive if walk is set.
func readArchive(ctx context.Context, store catalog.Store, m *catalog.Manifest, walk bool) ([]pgarchive.Entry, error) {
	r, err := store.Open(ctx, m)
	if err != nil {
		return nil, &ArchiveError{m.ID, err}
	}
	defer r.Close()
	if !walk {
		_, toc, err := pgarchive.ReadTOC(r)
		if err != nil {
			return nil, &ArchiveError{m.ID, err}
		}
		return toc, nil
	}
	w := newWitness(m)
	_, err = io.CopyBuffer(w, r, make([]byte, copyBuffer))
	summary, err := w.close(err)
	if err != nil {
		return nil, err
	}
	return summary.TOC, nil
}

var toolVersion = regexp.MustCompile(`\) (\d+)`)

// toolMajor reads the major version out of what pg_dump --version says, or returns 0.
func toolMajor(tool string) int {
	if m := toolVersion.FindStringSubmatch(tool); m != nil {
		n, _ := strconv.Atoi(m[1]) // digits
		return n
	}
	return 0
}

func (p *Plan) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}

func (p *Plan) problem(format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf(format, args...))
}

// decide fills in the plan from what is known. It asks nobody.
func (p *Plan) decide(toc []pgarchive.Entry, s *survey, o Options) {
	m := p.Manifest
	p.Level, p.Server, p.Superuser, p.Jobs, p.Spaces, p.Leftovers = o.Level, s.version, s.superuser, o.Jobs, o.Tablespaces, s.leftovers
	p.Create = createDatabase(scratchPlaceholder, m.Properties, o.Locale, o.Tablespaces, s.version)
	p.Part = len(o.Schemas)+len(o.Tables) > 0
	p.Definition = !p.Part && m.Cluster.Version/10000 == s.version/10000 && toolMajor(m.Tool) == p.Tool/10000
	if !p.Definition && !p.Part && p.Level >= catalog.L4 {
		p.warn("definitions are compared for information only: the snapshot was made on version %d by version %d, this is %d with %d",
			m.Cluster.Version/10000, toolMajor(m.Tool), s.version/10000, p.Tool/10000)
	}
	if m.Cluster.Version/10000 > s.version/10000 {
		p.problem("the server is version %d, older than the snapshot's %d; restore on %d or later", s.version/10000, m.Cluster.Version/10000, m.Cluster.Version/10000)
	}
	p.decideName(s, o)
	p.Encoding = encodingOf(toc)
	choice := selectEntries(toc, o.Schemas, o.Tables, s.superuser, s.version)
	p.List, p.Skipped = choice.list(toc), choice.skipped
	if p.Part {
		p.Tables = slices.SortedFunc(maps.Keys(choice.tables(toc)), func(a, b Name) int {
			return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name))
		})
	}
	for _, what := range choice.missing {
		p.problem("%s is not in the snapshot", what)
	}
	p.decideRoles(toc, &choice, s, o)
	p.decideExtensions(toc, &choice, s)
	p.decideRoom(s, o)
}

func (p *Plan) decideName(s *survey, o Options) {
	switch {
	case p.Database == "" || !utf8.ValidString(p.Database) || strings.ContainsRune(p.Database, 0):
		p.problem("the name %q is not valid UTF-8", p.Database)
	case p.Database == "template0", p.Database == "template1":
		p.problem("%s belongs to the server; restore it under another name", p.Database)
	case scratchForm.MatchString(p.Database) || oldForm.MatchString(p.Database):
		p.problem("the name %q is of the form of our own scratch or replaced databases", p.Database)
	}
	if !s.superuser && !s.createDB {
		p.problem("role %q may not create databases; give it CREATEDB", s.user)
	}
	if s.live == nil {
		return
	}
	p.Replaces, p.LiveSize, p.KeepOld = true, s.liveSize, o.UndoWindow
	switch {
	case !o.Replace:
		p.problem("database %q exists; set Options.Replace to swap it, or Options.As to restore beside it", p.Database)
	case s.maintenance == p.Database:
		p.problem("the connection string's dbname is the database to be replaced; name another one, such as postgres")
	case !s.superuser && !s.inherits[s.liveOwner]:
		p.problem("database %q belongs to %q, and only its owner or a superuser can replace it", p.Database, s.liveOwner)
	}
}

func (p *Plan) decideExtensions(toc []pgarchive.Entry, choice *selection, s *survey) {
	for i := range toc {
		e := &toc[i]
		if !choice.keep[e.DumpID] {
			continue
		}
		switch e.Desc {
		case "EXTENSION":
			x, ok := s.extensions[e.Tag]
			switch recorded := p.Manifest.Extensions[e.Tag]; {
			case !ok:
				p.problem("extension %q is not installed on the server; install its package", e.Tag)
			case !s.superuser && !x.anyone:
				p.problem("extension %q can only be created by a superuser", e.Tag)
			case recorded != "" && recorded != x.version:
				p.warn("extension %q is version %s here and was %s", e.Tag, x.version, recorded)
			}
		case "EVENT TRIGGER", "FOREIGN DATA WRAPPER":
			if !s.superuser {
				p.problem("%s %q can only be created by a superuser", strings.ToLower(e.Desc), e.Tag)
			}
		case "SUBSCRIPTION":
			p.warn("subscription %q is restored but not enabled", e.Tag)
		}
	}
}

func (p *Plan) decideRoom(s *survey, o Options) {
	m := p.Manifest
	if p.Need, p.Free = max(m.Properties.SizeOnServer, m.Archive.Size), s.free; p.Free >= 0 && p.Free < p.Need {
		p.problem("about %s are needed on the server and %s are free", wording.Bytes(p.Need), wording.Bytes(p.Free))
	}
	props := m.Properties
	switch locale := cmp.Or(o.Locale, props.Collate); {
	case o.Locale == "" && props.Provider == "icu" && (!s.icu || s.version < 15_00_00),
		o.Locale == "" && props.Provider == "builtin" && s.version < 17_00_00:
		p.problem("the server has no %s locales; set Options.Locale", props.Provider)
	case !s.locales[normalLocale(locale)]:
		p.warn("the server may not know the locale %q; if it does not, install it or set Options.Locale", locale)
	}
}
