// Package stage is where the tests of the example programs play: the programs, built once, and a throw-away PostgreSQL server.
package stage

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/runbook-go/runbook/restore/scratch"
)

var (
	programs string // directory
	program  string // that Run runs
	server   *scratch.Server
	starting sync.Once
)

// Main builds programs, which are folders beside that of the test, runs the tests, and ends the process. The first is the one that [Run] runs.
func Main(m *testing.M, names ...string) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "example-")
	if err == nil {
		programs, program = dir, filepath.Join(dir, names[0])
		args := []string{"build", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
		for _, name := range names {
			args = append(args, "../"+name)
		}
		build := exec.Command("go", args...)
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	code := 1
	if err == nil {
		code = m.Run()
		if server != nil {
			err = server.Close()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// Programs returns the directory of the programs that were built.
func Programs() string { return programs }

// Server returns the server that the tests of a package share.
func Server(t *testing.T) *scratch.Server {
	t.Helper()
	starting.Do(func() {
		var err error
		server, err = scratch.Start(context.Background(), scratch.Options{})
		OK(t, err)
	})
	return server
}

// Run runs the program and returns what it prints and its exit code.
func Run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return RunIn(t, t.TempDir(), os.Environ(), args...)
}

// Command returns the program, ready to be started.
func Command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), program, args...)
}

// RunIn is [Run] in a directory, with an environment.
func RunIn(t *testing.T, dir string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := Command(t, args...)
	var out, errs strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &out, &errs
	err := cmd.Run()
	if _, exit := errors.AsType[*exec.ExitError](err); !exit {
		OK(t, err)
	}
	t.Logf("%q: exit status %d\n%s%s", args, cmd.ProcessState.ExitCode(), out.String(), errs.String())
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// RunJSON runs the program with -json, decodes what it prints into v and returns the exit code.
func RunJSON(t *testing.T, v any, args ...string) (code int) {
	t.Helper()
	out, _, code := Run(t, append([]string{"-json"}, args...)...)
	OK(t, json.Unmarshal([]byte(out), v))
	return code
}

// Files returns the files below a directory whose path contains part.
func Files(t *testing.T, dir, part string) (list []string) {
	t.Helper()
	OK(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && strings.Contains(name, part) {
			list = append(list, name)
		}
		return err
	}))
	return list
}

// OK ends the test if there is an error.
func OK(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Equal ends the test if two values differ.
func Equal[T comparable](t *testing.T, want, got T) {
	t.Helper()
	if want != got {
		t.Fatalf("got\n%v\nand not\n%v", got, want)
	}
}

// Contains ends the test if a part is not in a text.
func Contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Fatalf("%q is not in\n%s", part, text)
		}
	}
}
