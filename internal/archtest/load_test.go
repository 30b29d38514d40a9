package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/runbook-go/runbook"

// repo is the source of every package of every module in the repository, for all platforms at once.
type repo struct {
	fset     *token.FileSet
	packages []*pkg // by path
}

type pkg struct {
	path  string // relative to the repository; the root package is "."
	main  bool
	files []*file
}

type file struct {
	name string // relative to the repository
	test bool   // _test.go
	ast  *ast.File
}

// load parses a repository. Like the go command it leaves out testdata and folders that start with "." or "_".
func load(t *testing.T, root string) *repo {
	t.Helper()
	r := &repo{fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (base == "testdata" || base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		parsed, err := parser.ParseFile(r.fset, rel, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		p := r.find(path.Dir(rel))
		if p == nil {
			p = &pkg{path: path.Dir(rel)}
			r.packages = append(r.packages, p)
		}
		p.main = p.main || parsed.Name.Name == "main"
		p.files = append(p.files, &file{rel, strings.HasSuffix(rel, "_test.go"), parsed})
		return nil
	})
	require.NoError(t, err)
	slices.SortFunc(r.packages, func(a, b *pkg) int { return strings.Compare(a.path, b.path) })
	return r
}

func (r *repo) find(path string) *pkg {
	if i := slices.IndexFunc(r.packages, func(p *pkg) bool { return p.path == path }); i >= 0 {
		return r.packages[i]
	}
	return nil
}

// imports returns what a file imports. Packages of this repository are relative to it and start with "./"; the root package is "./.".
func (f *file) imports() (paths []string) {
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		if p == module {
			p = "./."
		} else if own, ok := strings.CutPrefix(p, module+"/"); ok {
			p = "./" + own
		}
		paths = append(paths, p)
	}
	return paths
}

// within says whether a path is a folder or stands below it.
func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func isStd(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}
