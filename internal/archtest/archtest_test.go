package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRepository(t *testing.T) {
	r := load(t, "../..")
	require.NotNil(t, r.find("."))
	for name, check := range map[string]func(*repo) []string{
		"every package that a rule names exists":   checkNames,
		"packages import what they may":            checkImports,
		"the library does what a library may only": checkSource,
	} {
		t.Run(name, func(t *testing.T) {
			if problems := check(r); len(problems) > 0 {
				t.Errorf("%d problems:\n%s", len(problems), strings.Join(problems, "\n"))
			}
		})
	}
}

// write makes a repository of the files given, each by its path and source without the package clause.
func write(t *testing.T, files map[string]string) *repo {
	root := t.TempDir()
	for name, source := range files {
		name = filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		if !strings.HasPrefix(source, "package ") {
			source = "package p\n" + source
		}
		require.NoError(t, os.WriteFile(name, []byte(source), 0o644))
	}
	return load(t, root)
}

func imports(paths ...string) string {
	var b strings.Builder
	for _, p := range paths {
		b.WriteString("import _ \"" + strings.Replace(p, "~", module, 1) + "\"\n")
	}
	return b.String()
}

func TestImportRules(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"root, std only":            {"a.go": imports("io", "net/url")},
		"catalog, std and root":     {"backup/catalog/a.go": imports("io", "~")},
		"a product":                 {"backup/a.go": imports("~", "~/backup/catalog", "~/internal/x", "github.com/jackc/pgx/v5/pgconn")},
		"shared formats":            {"restore/a.go": imports("~/backup/catalog", "~/backup/pgarchive"), "monitor/a.go": imports("~/backup/catalog")},
		"a driver":                  {"backup/sftptarget/a.go": imports("~", "~/internal/x", "github.com/pkg/sftp", "golang.org/x/crypto/ssh", "golang.org/x/sys/unix")},
		"a suite":                   {"backup/targettest/a.go": imports("testing", "~", "testing/iotest")},
		"tests are free":            {"backup/a_test.go": imports("~/restore", "~/internal/pgtest", "github.com/stretchr/testify/require", "os/signal")},
		"internal":                  {"internal/x/a.go": imports("~", "~/internal/y", "golang.org/x/sys/windows")},
		"an exception":              {"internal/pgtest/a.go": imports("testing", "~/restore/scratch", "~/internal/sshtest")},
		"examples":                  {"examples/x/main.go": imports("~/backup", "~/restore", "~/examples/internal/cli", "example.com/x")},
		"what examples share":       {"examples/internal/stage/a.go": imports("testing", "~/restore/scratch")},
		"folders that are not read": {"testdata/a.go": imports("~"), "_x/a.go": imports("~"), ".x/a.go": imports("~")},
	} {
		require.Empty(t, checkImports(write(t, files)), name)
	}
	for want, files := range map[string]map[string]string{
		"a.go imports ./internal/x: the root package imports the standard library only":                 {"a.go": imports("~/internal/x")},
		"a.go imports github.com/jackc/pgx/v5: this package imports the standard library and":           {"a.go": imports("github.com/jackc/pgx/v5")},
		"backup/catalog/a.go imports ./internal/x: this package":                                        {"backup/catalog/a.go": imports("~/internal/x")},
		"backup/catalog/a.go imports filippo.io/age: this package":                                      {"backup/catalog/a.go": imports("filippo.io/age")},
		"restore/a.go imports ./backup: the products never":                                             {"restore/a.go": imports("~/backup")},
		"restore/x/a.go imports ./backup/filestore: the products never":                                 {"restore/x/a.go": imports("~/backup/filestore")},
		"backup/a.go imports ./restore: the products never":                                             {"backup/a.go": imports("~/restore")},
		"backup/a.go imports ./restore/scratch: the products never":                                     {"backup/a.go": imports("~/restore/scratch")},
		"upgrade/a.go imports ./backup/catalog: the products never":                                     {"upgrade/a.go": imports("~/backup/catalog")},
		"monitor/a.go imports ./syslogfwd: the products never":                                          {"monitor/a.go": imports("~/syslogfwd")},
		"backup/dirtarget/a.go imports ./backup/sftptarget: a driver imports":                           {"backup/dirtarget/a.go": imports("~/backup/sftptarget")},
		"backup/dirtarget/a.go imports ./backup/catalog: a driver imports":                              {"backup/dirtarget/a.go": imports("~/backup/catalog")},
		"backup/s3target imports 2 third-party families: a driver may import one":                       {"backup/s3target/a.go": imports("filippo.io/age"), "backup/s3target/b_windows.go": imports("github.com/pkg/sftp")},
		"backup/a.go imports github.com/pkg/sftp: only a driver":                                        {"backup/a.go": imports("github.com/pkg/sftp")},
		"backup/a.go imports example.com/x: this dependency is on no list":                              {"backup/a.go": imports("example.com/x")},
		"internal/x/a.go imports ./backup/catalog: internal packages never":                             {"internal/x/a.go": imports("~/backup/catalog")},
		"internal/pgtest/a.go imports ./restore: internal packages never":                               {"internal/pgtest/a.go": imports("~/restore")},
		"backup/a.go imports ./internal/pgtest: a package for tests":                                    {"backup/a.go": imports("~/internal/pgtest")},
		"internal/x/a.go imports ./backup/targettest: a package for tests":                              {"internal/x/a.go": imports("~/backup/targettest")},
		"backup/targettest/a.go imports ./internal/x: a public conformance suite":                       {"backup/targettest/a.go": imports("~/internal/x")},
		"backup/targettest/a.go imports github.com/jackc/pgx/v5: a public conformance suite":            {"backup/targettest/a.go": imports("github.com/jackc/pgx/v5")},
		"backup/a.go imports testing: testing belongs in":                                               {"backup/a.go": imports("testing")},
		"internal/x/a.go imports testing/fstest: testing belongs in":                                    {"internal/x/a.go": imports("testing/fstest")},
		"internal/pgtest/a.go imports github.com/stretchr/testify/require: testify belongs in _test.go": {"internal/pgtest/a.go": imports("github.com/stretchr/testify/require")},
		"examples/x/main.go imports ./internal/x: examples use the public API only":                     {"examples/x/main.go": imports("~/internal/x")},
		"backup/a.go imports ./examples/x: examples are imported by nobody":                             {"backup/a.go": imports("~/examples/x")},
		"backup/a.go imports ./examples/internal/cli: examples are imported by nobody":                  {"backup/a.go": imports("~/examples/internal/cli")},
		"examples/x/main.go imports ./examples/y: examples are imported by nobody":                      {"examples/x/main.go": imports("~/examples/y")},
		"examples/x/main.go imports ./examples/internal/stage: a package for tests is imported":         {"examples/x/main.go": imports("~/examples/internal/stage")},
		"backup/a_windows.go imports ./restore: the products never":                                     {"backup/a.go": "", "backup/a_windows.go": imports("~/restore")},
	} {
		problems := checkImports(write(t, files))
		require.Len(t, problems, 1, want)
		require.Contains(t, problems[0], want)
	}
}

func TestNameRules(t *testing.T) {
	files := make(map[string]string)
	for _, name := range namedPackages() {
		files[name+"/a.go"] = ""
	}
	for _, name := range planned {
		delete(files, name+"/a.go")
	}
	require.Empty(t, checkNames(write(t, files)))

	delete(files, "backup/catalog/a.go")
	files["monitor/a.go"] = ""
	require.Equal(t, []string{
		"package backup/catalog is named in a rule and does not exist: mend the rule",
		"package monitor exists now: take it off the list of planned ones",
	}, checkNames(write(t, files)))
}

func TestSourceRules(t *testing.T) {
	fine := `
		import ("errors"; "os"; "sync"; "log/slog"; "embed"; "regexp")
		var ErrX = errors.New("x")
		var _ error = (*e)(nil)
		var re = regexp.MustCompile("x")
		//go:embed a.go
		var files embed.FS
		var table = map[string][]int{"a": {1}}
		var once = sync.OnceValue(func() int { ch := make(chan int); return len(ch) })
		type e struct { mu sync.Mutex; n int; log *slog.Logger }
		func (e *e) Error() string { e.n++; e.log.Info("x"); _ = os.TempDir(); return table["a"][0] }
		func (e) init() {}
		func f(table map[string]int, re int) { table["b"]++; re = 3; p := &re; *p = 4; for ErrX := range 3 { ErrX++ } }`
	require.Empty(t, checkSource(write(t, map[string]string{"backup/a.go": fine, "backup/a.gox": ""})))

	free := `import ("os"; "log"); var n int; func init() { n++; log.Print(os.Getenv("X")); os.Exit(1) }`
	require.Empty(t, checkSource(write(t, map[string]string{
		"examples/x/main.go":     "package main\n" + free,
		"examples/internal/a.go": free,
		"backup/a_test.go":       free,
		"internal/pgtest/a.go":   free,
		"backup/targettest/a.go": free,
	})))

	for want, source := range map[string]string{
		"uses os.Exit":                      `import "os"; func f() { os.Exit(1) }`,
		"uses os.Getenv":                    `import "os"; var f = os.Getenv`,
		"uses sys.LookupEnv":                `import sys "os"; func f() { sys.LookupEnv("X") }`,
		"uses os.Environ":                   `import "os"; func f() { os.Environ() }`,
		"imports log:":                      `import "log"; func f() { log.Fatal(1) }`,
		"imports os/signal:":                `import "os/signal"; func f() { signal.Notify(nil) }`,
		"uses slog.Default":                 `import "log/slog"; func f() { slog.Default() }`,
		"uses slog.Info":                    `import "log/slog"; func f() { slog.Info("x") }`,
		"has an init function":              `func init() {}`,
		"variable n is counted":             `var n int; func f() { n++ }`,
		"variable n is assigned to":         `var n int; func f() { n += 1 }`,
		"variable m is assigned to":         `var m = map[string]int{}; func f() { m["a"] = 1 }`,
		"variable s is assigned to":         `var s struct{ x struct{ y []int } }; func f() { (s.x).y[2] = 1 }`,
		"variable p is assigned to":         `var p = new(int); func f() { *p = 1 }`,
		"variable n has its address taken":  `var n int; func f() *int { return &n }`,
		"variable a has its address taken":  `var a [3]int; func f() *int { return &a[1] }`,
		"variable r is assigned to":         `var r int; func f() { for r = range 3 {} }`,
		"variable m is changed by delete":   `var m = map[string]int{}; func f() { delete(m, "a") }`,
		"variable mu is of a type that":     `import "sync"; var mu sync.Mutex`,
		"variable once is of a type that":   `import "sync"; var once = new(sync.Once)`,
		"variable count is of a type that":  `import "sync/atomic"; var count atomic.Int64`,
		"variable ch is of a type that":     `var ch = make(chan int)`,
		"variable elsewhere is assigned to": `func f() { elsewhere = 1 }`,
		"variable shadowed is assigned to":  `var shadowed int; func f(x int) { { shadowed := 1; shadowed++ }; shadowed = x }`,
	} {
		problems := checkSource(write(t, map[string]string{"backup/a.go": source, "backup/b_linux.go": "var elsewhere int"}))
		require.Len(t, problems, 1, "%s: %q", want, problems)
		require.Contains(t, problems[0], want)
	}
}

func TestAPIListsWhatIsExported(t *testing.T) {
	r := write(t, map[string]string{
		"a.go": `
			import "time"
			const Timeout = 5 * time.Second
			const ( L0 Level = iota; L1; l2 )
			type Level int
			type S struct { A, B int; c int; *time.Time; hidden; F func(x int) error }
			type hidden struct{ X int }
			type I interface { M(a int) (b string, err error); m(); time.Stringer }
			type G[T, U any] struct{ V T }
			type Alias = S
			var V, w = 1, 2
			func F[T any](
				a,
				b T) error { return nil }
			func (s *S) Method() {}
			func (hidden) Method() {}
			func (g G[T, U]) Get() T { return g.V }
			func f() {}`,
		"a_test.go":       "type T int",
		"internal/a.go":   "type T int",
		"examples/a.go":   "type T int",
		"cmd/main.go":     "package main\ntype T int",
		"backup/a.go":     "type B int",
		"b_linux.go":      "func Both() {}",
		"b_windows.go":    "func Both() {}",
		"x/internal/a.go": "type T int",
	})
	require.Equal(t, []string{
		".: const L0 Level = 0",
		".: const L1 Level = 1",
		".: const Timeout = 5 * time.Second",
		".: func (*S) Method()",
		".: func (G[T, U]) Get() T",
		".: func Both()",
		".: func F[T any]( a, b T) error",
		".: type Alias = S",
		".: type G[T any, U any] struct",
		".: type G[T any, U any] struct, V T",
		".: type I interface",
		".: type I interface, M(a int) (b string, err error)",
		".: type I interface, embeds time.Stringer",
		".: type I interface, unexported methods",
		".: type Level int",
		".: type S struct",
		".: type S struct, A int",
		".: type S struct, B int",
		".: type S struct, F func(x int) error",
		".: type S struct, embeds *time.Time",
		".: var V",
		"backup: type B int",
	}, api(r))
}
