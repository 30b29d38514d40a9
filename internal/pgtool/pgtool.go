// Package pgtool finds PostgreSQL's programs on this machine and says whether they are fit to be used with a server.
//
// # Guarantees
//
// A [Tools] holds programs of one version in one real directory, never Debian's pg_wrapper, which would choose a version by itself.
// Programs are run with an environment of our own and a time-out.
//
// # Concurrency
//
// Everything may be used from several goroutines.
//
// # Errors
//
// An error of [Find] lists every place that was looked at, what was found there and how to install what is missing.
//
// # Stability
//
// Internal to this module.
package pgtool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/runbook-go/runbook"
)

// Tools is a directory with PostgreSQL's programs.
type Tools struct {
	Dir     string
	Version int // of the programs in Dir, like the server's server_version_num: 150018 is 15.18
}

// Path returns the absolute path of a program, such as "pg_dump".
func (t Tools) Path(program string) string { return filepath.Join(t.Dir, executable(program)) }

// Major returns the major version.
func (t Tools) Major() int { return t.Version / 10000 }

// Find returns the programs of the lowest major version that is at least minMajor and has all of them. dir names their directory; if it is empty
// PATH, pg_config and the directories that Debian, the RPM packages, Homebrew and others use are searched.
func Find(ctx context.Context, dir string, minMajor int, programs ...string) (Tools, error) {
	return thisMachine().find(ctx, dir, minMajor, programs)
}

// machine is where a search takes place; tests make their own.
type machine struct {
	globs    []string                             // directories that may hold programs
	lookPath func(program string) (string, error) // PATH
	timeout  time.Duration                        // for a program to tell its version
}

func thisMachine() machine {
	m := machine{lookPath: exec.LookPath, timeout: 20 * time.Second}
	if runtime.GOOS == "windows" {
		m.globs = []string{`C:\Program Files\PostgreSQL\*\bin`, `C:\Program Files (x86)\PostgreSQL\*\bin`}
		return m
	}
	m.globs = []string{
		"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
		"/usr/pgsql-*/bin",          // RPM packages of postgresql.org
		"/usr/lib/postgresql*/bin",  // SUSE
		"/usr/libexec/postgresql*",  // Alpine
		"/usr/bin",
		"/usr/local/pgsql/bin",
		"/usr/local/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/opt/homebrew/opt/libpq/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/usr/local/opt/libpq/bin",
		"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
		"/opt/local/lib/postgresql*/bin", // MacPorts
		"/Applications/Postgres.app/Contents/Versions/*/bin",
	}
	return m
}

func (m machine) find(ctx context.Context, dir string, minMajor int, programs []string) (Tools, error) {
	if len(programs) == 0 {
		programs = []string{"pg_dump"}
	}
	dirs, looked := []string{dir}, []string(nil)
	if dir == "" {
		dirs, looked = m.candidates(ctx, programs[0])
	}
	var best Tools
	for _, dir := range dirs {
		tools, err := m.inspect(ctx, dir, programs)
		if cause := context.Cause(ctx); cause != nil {
			return Tools{}, fmt.Errorf("find %s: %w", strings.Join(programs, ", "), cause)
		}
		switch {
		case err != nil:
			looked = append(looked, fmt.Sprintf("%s: %s", dir, err))
		case tools.Major() < minMajor:
			looked = append(looked, fmt.Sprintf("%s: version %s is too old", dir, format(tools.Version)))
		case best.Version == 0, tools.Major() < best.Major(), tools.Major() == best.Major() && tools.Version > best.Version:
			best = tools
		}
	}
	if best.Version == 0 {
		return Tools{}, notFound(minMajor, programs, looked)
	}
	return best, nil
}

// candidates lists the directories that exist, each once and under its real name, and describes the places that had none.
func (m machine) candidates(ctx context.Context, program string) (dirs, looked []string) {
	add := func(dir string) {
		if real, err := filepath.EvalSymlinks(dir); err == nil && !slices.Contains(dirs, real) {
			dirs = append(dirs, real)
		}
	}
	if path, err := m.lookPath(program); err != nil {
		looked = append(looked, fmt.Sprintf("PATH: %s is not there", program))
	} else if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Base(real) == executable(program) {
		add(filepath.Dir(real))
	} else {
		add(filepath.Dir(path))
	}
	if path, err := m.lookPath("pg_config"); err != nil {
		looked = append(looked, "pg_config: not in PATH")
	} else if out, err := m.output(ctx, path, "--bindir"); err != nil {
		looked = append(looked, fmt.Sprintf("pg_config: %s", err))
	} else {
		add(filepath.FromSlash(out))
	}
	for _, glob := range m.globs {
		found, err := filepath.Glob(glob)
		if err != nil || len(found) == 0 {
			looked = append(looked, glob+": no such directory")
		}
		for _, dir := range found {
			add(dir)
		}
	}
	return dirs, looked
}

// inspect returns the tools in dir if it has all of the programs.
func (m machine) inspect(ctx context.Context, dir string, programs []string) (Tools, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Tools{}, err
	}
	tools := Tools{Dir: dir}
	var missing []string
	for _, program := range programs {
		real, err := filepath.EvalSymlinks(tools.Path(program))
		switch {
		case err != nil:
			missing = append(missing, program)
		case filepath.Base(real) == "pg_wrapper":
			return Tools{}, fmt.Errorf("%s is Debian's wrapper; the programs themselves are in /usr/lib/postgresql/<version>/bin", program)
		}
	}
	if len(missing) > 0 {
		return Tools{}, fmt.Errorf("no %s", strings.Join(missing, ", "))
	}
	out, err := m.output(ctx, tools.Path(programs[0]), "--version")
	if err != nil {
		return Tools{}, err
	}
	tools.Version, err = parseVersion(out)
	return tools, err
}

func (m machine) output(ctx context.Context, path, arg string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.timeout, fmt.Errorf("gave no answer within %s", m.timeout))
	defer cancel()
	var out bytes.Buffer
	err := runbook.Local{WaitDelay: time.Second}.Run(ctx, runbook.Cmd{
		Path: path, Args: []string{arg}, Env: []string{"LC_ALL=C"}, Dir: os.TempDir(), Stdout: &out,
	})
	return strings.TrimSpace(out.String()), err
}

var versionPattern = regexp.MustCompile(`\) (\d+)(?:\.(\d+))?(?:\.(\d+))?(alpha|beta|rc|devel)?`)

// parseVersion reads the answer to --version, as in "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)". A version before the first
// release of a major, such as 16beta1, counts as 16.0.
func parseVersion(answer string) (int, error) {
	parts := versionPattern.FindStringSubmatch(answer)
	if parts == nil {
		return 0, fmt.Errorf("%q is not the answer of a PostgreSQL program", answer)
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(parts[i+1]) // digits, or empty for 0
	}
	if n[0] < 10 {
		return n[0]*10000 + n[1]*100 + n[2], nil
	}
	return n[0]*10000 + n[1], nil
}

func format(version int) string {
	if version < 100000 {
		return fmt.Sprintf("%d.%d.%d", version/10000, version/100%100, version%100)
	}
	return fmt.Sprintf("%d.%d", version/10000, version%10000)
}

func executable(program string) string {
	if runtime.GOOS == "windows" {
		return program + ".exe"
	}
	return program
}

func notFound(minMajor int, programs, looked []string) error {
	what := "find " + strings.Join(programs, ", ")
	if minMajor > 0 {
		what += fmt.Sprintf(" of PostgreSQL %d or later", minMajor)
	}
	return errors.New(what + ": not found; looked in:\n  " + strings.Join(looked, "\n  ") + "\n" + install(minMajor, programs))
}

func install(major int, programs []string) string {
	kind := "postgresql-client"
	if slices.Contains(programs, "initdb") || slices.Contains(programs, "postgres") {
		kind = "postgresql"
	}
	if major > 0 {
		kind += fmt.Sprintf("-%d", major)
	}
	return fmt.Sprintf("install it, on Debian with \"apt-get install %s\", or name the directory that has it", kind)
}
