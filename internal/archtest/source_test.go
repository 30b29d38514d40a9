package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// banned lists functions that a library must not call, with what to do instead. "*" stands for the whole package.
var banned = map[string]map[string]string{
	"os": {
		"Exit": "return an error", "Getenv": "take an option", "LookupEnv": "take an option", "Environ": "take an option",
		"ExpandEnv": "take an option", "Setenv": "set the child's environment", "Unsetenv": "set the child's environment",
		"Clearenv": "set the child's environment",
	},
	"log":       {"*": "take a *slog.Logger"},
	"os/signal": {"*": "take a context"},
	"log/slog": {
		"Default": "take a *slog.Logger", "SetDefault": "leave it to main", "Debug": "take a *slog.Logger", "Info": "take a *slog.Logger",
		"Warn": "take a *slog.Logger", "Error": "take a *slog.Logger", "Log": "take a *slog.Logger", "LogAttrs": "take a *slog.Logger",
		"DebugContext": "take a *slog.Logger", "InfoContext": "take a *slog.Logger", "WarnContext": "take a *slog.Logger",
		"ErrorContext": "take a *slog.Logger",
	},
}

// checkSource holds what a library must not do against every file that is neither a test nor part of a program.
func checkSource(r *repo) (problems []string) {
	for _, p := range r.packages {
		if p.main || isTestPackage(p.path) || within(p.path, "examples") {
			continue
		}
		var files []*ast.File
		for _, f := range p.files {
			if !f.test {
				files = append(files, f.ast)
				problems = append(problems, checkCalls(r.fset, f)...)
			}
		}
		problems = append(problems, checkVariables(r.fset, p.path, files)...)
	}
	return problems
}

func checkCalls(fset *token.FileSet, f *file) (problems []string) {
	names := make(map[string]string) // as the file calls it, to import path
	for i, imported := range f.imports() {
		if _, some := banned[imported]; !some {
			continue
		}
		if spec := f.ast.Imports[i]; spec.Name != nil {
			names[spec.Name.Name] = imported
		} else {
			names[imported[strings.LastIndex(imported, "/")+1:]] = imported
		}
		if instead, all := banned[imported]["*"]; all {
			problems = append(problems, fmt.Sprintf("%s imports %s: a library must not; %s", f.name, imported, instead))
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				if instead := banned[names[x.Name]][n.Sel.Name]; instead != "" {
					problems = append(problems, fmt.Sprintf("%s uses %s.%s: a library must not; %s", fset.Position(n.Pos()), x.Name, n.Sel.Name, instead))
				}
			}
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				problems = append(problems, fmt.Sprintf("%s has an init function: importing a library must do nothing", fset.Position(n.Pos())))
			}
		}
		return true
	})
	return problems
}

// checkVariables reports package variables that can change: those that are assigned to, counted up, or have their address taken outside their
// declaration, in whole or in part, and those of a type that is there to change (sync, atomic, channels).
func checkVariables(fset *token.FileSet, path string, files []*ast.File) (problems []string) {
	checked, info := typeCheck(fset, path, files)
	report := func(n ast.Node, name, what string) {
		problems = append(problems, fmt.Sprintf("%s: package variable %s %s: pass it in or make it a field", fset.Position(n.Pos()), name, what))
	}
	// variable returns the package variable that an operand is, or is a part of.
	variable := func(x ast.Expr) string {
		for {
			switch e := x.(type) {
			case *ast.ParenExpr:
				x = e.X
			case *ast.SelectorExpr:
				x = e.X
			case *ast.IndexExpr:
				x = e.X
			case *ast.SliceExpr:
				x = e.X
			case *ast.StarExpr:
				x = e.X
			case *ast.Ident:
				if v, ok := info.Uses[e].(*types.Var); ok && v.Parent() == checked.Scope() {
					return e.Name
				}
				return ""
			default:
				return ""
			}
		}
	}
	changed := func(n ast.Node, x ast.Expr, what string) {
		if x != nil {
			if name := variable(x); name != "" {
				report(n, name, what)
			}
		}
	}
	for _, f := range files {
		for _, decl := range f.Decls {
			if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.VAR {
				for _, spec := range g.Specs {
					spec := spec.(*ast.ValueSpec)
					if spec.Names[0].Name != "_" && isStateful(spec) {
						report(spec, spec.Names[0].Name, "is of a type that is there to change")
					}
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, x := range n.Lhs {
					changed(n, x, "is assigned to")
				}
			case *ast.IncDecStmt:
				changed(n, n.X, "is counted")
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					changed(n, n.Key, "is assigned to")
					changed(n, n.Value, "is assigned to")
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					changed(n, n.X, "has its address taken")
				}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, id.Name) {
					changed(n, n.Args[0], "is changed by "+id.Name)
				}
			}
			return true
		})
	}
	return problems
}

// isStateful says whether a variable is declared with a type from sync or sync/atomic, or a channel.
func isStateful(spec *ast.ValueSpec) (stateful bool) {
	look := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ChanType:
			stateful = true
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && (x.Name == "sync" || x.Name == "atomic") && !strings.HasPrefix(n.Sel.Name, "OnceValue") {
				stateful = true
			}
		}
		return true
	}
	if spec.Type != nil {
		ast.Inspect(spec.Type, look)
	}
	for _, value := range spec.Values {
		ast.Inspect(value, look)
	}
	return stateful
}

// typeCheck resolves the names of a package. What it imports is taken for empty: no rule here needs it, and every platform's files can
// be looked at together.
func typeCheck(fset *token.FileSet, path string, files []*ast.File) (*types.Package, *types.Info) {
	info := &types.Info{Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: emptyImporter{}, Error: func(error) {}}
	checked, _ := config.Check(path, fset, files, info) // an error is certain and says nothing
	return checked, info
}

type emptyImporter struct{}

func (emptyImporter) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, path[strings.LastIndex(path, "/")+1:])
	p.MarkComplete()
	return p, nil
}
