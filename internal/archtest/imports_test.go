package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

var (
	// products are the packages that can each be used alone.
	products = []string{"backup", "restore", "syslogfwd", "monitor", "upgrade"}

	// planned lists packages that rules name and that nobody has written yet. The rules apply as soon as they exist.
	planned = []string{"syslogfwd", "monitor", "upgrade"}

	// shared lists what one product may import of another, and which products may.
	shared = map[string][]string{
		"backup/catalog":   {"restore", "monitor"}, // the format of what is kept
		"backup/pgarchive": {"restore", "monitor"}, // the format of one dump
	}

	// exceptions lets packages under internal import a product, each for a reason.
	exceptions = map[string][]string{
		"internal/pgtest":  {"restore/scratch"}, // tests need a throw-away server, and drills need the same one in public
		"internal/awkward": {"restore/scratch"}, // likewise
	}

	// testHelpers are packages for tests whose name does not end in "test".
	testHelpers = []string{"internal/awkward", "internal/faultconn", "examples/internal/stage"}

	// families groups third-party modules that come together.
	families = map[string]string{
		"github.com/jackc/pgx/v5":            "pgx",
		"github.com/hashicorp/go-multierror": "multierror",
		"github.com/klauspost/compress":      "zstd",
		"filippo.io/age":                     "age",
		"golang.org/x/sys":                   "sys",
		"golang.org/x/net":                   "net",
		"golang.org/x/crypto/ssh":            "ssh",
		"github.com/pkg/sftp":                "ssh",
		"github.com/stretchr/testify":        "testify",
	}

	// productFamilies are those that a product may import.
	productFamilies = []string{"pgx", "multierror", "zstd", "age", "sys", "net"}
)

func isTestPackage(p string) bool {
	return strings.HasSuffix(path.Base(p), "test") || slices.Contains(testHelpers, p)
}

func isDriver(p string) bool {
	match, _ := path.Match("backup/*target", p)
	return match
}

func product(p string) string {
	top, _, _ := strings.Cut(p, "/")
	if slices.Contains(products, top) {
		return top
	}
	return ""
}

func family(imported string) string {
	for prefix, name := range families {
		if within(imported, prefix) {
			return name
		}
	}
	return ""
}

// namedPackages returns every package of this repository that a rule names.
func namedPackages() (names []string) {
	names = append(names, ".", "internal/archtest", "examples")
	names = append(names, products...)
	for name := range shared {
		names = append(names, name)
	}
	for name, imports := range exceptions {
		names = append(append(names, name), imports...)
	}
	names = append(names, testHelpers...)
	slices.Sort(names)
	return slices.Compact(names)
}

// checkNames reports packages that a rule names and that are gone, and planned ones that have arrived.
func checkNames(r *repo) (problems []string) {
	for _, name := range namedPackages() {
		exists := slices.ContainsFunc(r.packages, func(p *pkg) bool { return p.path == name || name == "examples" && within(p.path, name) })
		switch expected := !slices.Contains(planned, name); {
		case expected && !exists:
			problems = append(problems, fmt.Sprintf("package %s is named in a rule and does not exist: mend the rule", name))
		case !expected && exists:
			problems = append(problems, fmt.Sprintf("package %s exists now: take it off the list of planned ones", name))
		}
	}
	return problems
}

// checkImports holds every file against the rules of docs/design.md on imports.
func checkImports(r *repo) (problems []string) {
	for _, p := range r.packages {
		used := make(map[string]bool) // third-party families outside tests
		for _, f := range p.files {
			if f.test {
				continue
			}
			for _, imported := range f.imports() {
				if why := forbidden(p.path, imported); why != "" {
					problems = append(problems, fmt.Sprintf("%s imports %s: %s", f.name, imported, why))
				}
				if name := family(imported); name != "" && name != "sys" && name != "multierror" {
					used[name] = true
				}
			}
		}
		if isDriver(p.path) && len(used) > 1 {
			problems = append(problems, fmt.Sprintf("%s imports %d third-party families: a driver may import one", p.path, len(used)))
		}
	}
	return problems
}

// forbidden says why a package may not import another outside its _test.go files, or nothing.
func forbidden(from, imported string) string {
	own, isOwn := strings.CutPrefix(imported, "./")
	switch {
	case isOwn:
		return forbiddenOwn(from, own)
	case isStd(imported):
		if within(imported, "testing") && !isTestPackage(from) {
			return "testing belongs in _test.go files and packages whose name ends in test"
		}
		return ""
	case family(imported) == "testify":
		return "testify belongs in _test.go files"
	case within(from, "examples"):
		return ""
	case family(imported) == "":
		return "this dependency is on no list; a new one needs a decision record"
	case from == "." || from == "backup/catalog":
		return "this package imports the standard library and the root package only"
	case isTestPackage(from) && !within(from, "internal"):
		return "a public conformance suite imports the standard library and the root package only"
	case product(from) != "" && !isDriver(from) && !slices.Contains(productFamilies, family(imported)):
		return "only a driver may import it"
	}
	return ""
}

func forbiddenOwn(from, own string) string {
	switch {
	case from == ".":
		return "the root package imports the standard library only"
	case isTestPackage(own) && !isTestPackage(from):
		return "a package for tests is imported by _test.go files and its like only"
	case within(own, "examples") && !(within(from, "examples") && within(own, "examples/internal")):
		return "examples are imported by nobody"
	case within(from, "examples"):
		if within(own, "internal") {
			return "examples use the public API only"
		}
		return ""
	case own == ".":
		return ""
	case from == "backup/catalog":
		return "this package imports the standard library and the root package only"
	case isTestPackage(from) && !within(from, "internal"):
		return "a public conformance suite imports the standard library and the root package only"
	case within(own, "internal"):
		return ""
	case within(from, "internal"):
		if !slices.Contains(exceptions[from], own) {
			return "internal packages never import what stands on them"
		}
		return ""
	case isDriver(from):
		return "a driver imports the standard library, the root package, internal packages and one third-party family"
	case product(from) != "" && product(own) != product(from) && !slices.Contains(shared[own], product(from)):
		return "the products never import each other, but for the formats that they share"
	}
	return ""
}
