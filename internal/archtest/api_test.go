package archtest

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/printer"
	"go/token"
	"go/types"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write testdata/api.txt anew")

const golden = "testdata/api.txt"

func TestAPI(t *testing.T) {
	got := strings.Join(api(load(t, "../..")), "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	wantLines, gotLines := strings.Split(strings.ReplaceAll(string(want), "\r\n", "\n"), "\n"), strings.Split(got, "\n")
	var diff []string
	for _, line := range wantLines {
		if !slices.Contains(gotLines, line) {
			diff = append(diff, "- "+line)
		}
	}
	for _, line := range gotLines {
		if !slices.Contains(wantLines, line) {
			diff = append(diff, "+ "+line)
		}
	}
	if len(diff) > 0 {
		t.Errorf("The exported API is not the one in %s. If that is meant, run\n\n\tmake api\n\ncommit the file with the change, and add a line to "+
			"CHANGELOG.md:\n%s", golden, strings.Join(diff, "\n"))
	}
}

// The root package is what every part shares, and stays small.
func TestRootPackageStaysSmall(t *testing.T) {
	names := make(map[string]bool)
	for _, line := range api(load(t, "../..")) {
		if name, ok := strings.CutPrefix(line, ".: "); ok && !strings.HasPrefix(name, "func (") {
			names[strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(" ([", r) })[1]] = true
		}
	}
	require.LessOrEqual(t, len(names), 14, "%v: a new name needs a decision record", slices.Sorted(maps.Keys(names)))
	require.GreaterOrEqual(t, len(names), 10)
}

// api returns one line for every exported name of every public package, sorted.
func api(r *repo) (lines []string) {
	for _, p := range r.packages {
		if p.main || slices.Contains(strings.Split(p.path, "/"), "internal") || within(p.path, "examples") {
			continue
		}
		l := lister{fset: r.fset, path: p.path}
		var files []*ast.File
		for _, f := range p.files {
			if !f.test {
				files = append(files, f.ast)
			}
		}
		_, l.info = typeCheck(r.fset, p.path, files)
		for _, f := range files {
			for _, decl := range f.Decls {
				l.decl(decl)
			}
		}
		lines = append(lines, l.lines...)
	}
	slices.Sort(lines)
	return slices.Compact(lines) // a name can have a file for each platform
}

type lister struct {
	fset  *token.FileSet
	path  string
	info  *types.Info
	lines []string
}

func (l *lister) add(format string, args ...any) {
	l.lines = append(l.lines, l.path+": "+fmt.Sprintf(format, args...))
}

// text prints a piece of source on one line.
func (l *lister) text(node any) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, l.fset, node); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (l *lister) decl(decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() {
			return
		}
		if d.Recv == nil {
			l.add("func %s%s", d.Name, strings.TrimPrefix(l.text(d.Type), "func"))
			return
		}
		receiver := l.text(d.Recv.List[0].Type)
		if ast.IsExported(strings.TrimPrefix(receiver, "*")) {
			l.add("func (%s) %s%s", receiver, d.Name, strings.TrimPrefix(l.text(d.Type), "func"))
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.ValueSpec:
				l.values(d.Tok, s)
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					l.typ(s)
				}
			}
		}
	}
}

func (l *lister) values(tok token.Token, s *ast.ValueSpec) {
	for i, name := range s.Names {
		if !name.IsExported() {
			continue
		}
		line := tok.String() + " " + name.Name
		if s.Type != nil {
			line += " " + l.text(s.Type)
		}
		if c, ok := l.info.Defs[name].(*types.Const); ok && c.Val().Kind() != 0 { // 0 is unknown: it needs another package
			if named, ok := c.Type().(*types.Named); ok && s.Type == nil {
				line += " " + named.Obj().Name()
			}
			line += " = " + c.Val().ExactString()
		} else if i < len(s.Values) && tok == token.CONST {
			line += " = " + l.text(s.Values[i])
		}
		l.add("%s", line)
	}
}

func (l *lister) typ(s *ast.TypeSpec) {
	head := "type " + s.Name.Name
	if s.TypeParams != nil {
		var params []string
		for _, p := range s.TypeParams.List {
			for _, name := range p.Names {
				params = append(params, name.Name+" "+l.text(p.Type))
			}
		}
		head += "[" + strings.Join(params, ", ") + "]"
	}
	if s.Assign.IsValid() {
		head += " ="
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		l.add("%s struct", head)
		l.fields(head+" struct", t.Fields, true)
	case *ast.InterfaceType:
		l.add("%s interface", head)
		l.fields(head+" interface", t.Methods, false)
	default:
		l.add("%s %s", head, l.text(t))
	}
}

func (l *lister) fields(head string, list *ast.FieldList, embeddedByName bool) {
	for _, f := range list.List {
		text := l.text(f.Type)
		if len(f.Names) == 0 {
			base := text[strings.LastIndex(text, ".")+1:]
			if !embeddedByName || ast.IsExported(strings.TrimPrefix(base, "*")) {
				l.add("%s, embeds %s", head, text)
			}
		}
		for _, name := range f.Names {
			if !name.IsExported() {
				if !embeddedByName {
					l.add("%s, unexported methods", head)
				}
				continue
			}
			if !embeddedByName {
				l.add("%s, %s%s", head, name, strings.TrimPrefix(text, "func"))
			} else {
				l.add("%s, %s %s", head, name, text)
			}
		}
	}
}
