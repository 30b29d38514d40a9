package main_test

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
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/restore/scratch"
)

var (
	program string // built from this folder
	server  *scratch.Server
)

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "example-")
	if err == nil {
		program = filepath.Join(dir, "example.exe")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, ".")
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		err = build.Run()
	}
	if err == nil {
		server, err = scratch.Start(context.Background(), scratch.Options{})
	}
	code := 1
	if err == nil {
		code = m.Run()
		err = server.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// run runs the program and returns what it prints and its exit code.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, errs strings.Builder
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.TempDir(), &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		ok(t, err)
	}
	t.Logf("%q: exit status %d\n%s%s", args, cmd.ProcessState.ExitCode(), out.String(), errs.String())
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// runJSON runs the program with -json, decodes what it prints into v and returns the exit code.
func runJSON(t *testing.T, v any, args ...string) (code int) {
	t.Helper()
	out, _, code := run(t, append([]string{"-json"}, args...)...)
	ok(t, json.Unmarshal([]byte(out), v))
	return code
}

// create makes a database with a table of n rows, which is dropped after the test.
func create(t *testing.T, name string, n int) {
	t.Helper()
	ident := pgx.Identifier{name}.Sanitize()
	execute(t, "postgres", "CREATE DATABASE "+ident)
	t.Cleanup(func() { execute(t, "postgres", "DROP DATABASE IF EXISTS "+ident+" WITH (FORCE)") })
	execute(t, name, "CREATE TABLE invoice (id int PRIMARY KEY, label text)")
	execute(t, name, fmt.Sprintf("INSERT INTO invoice SELECT i, 'é' || i FROM generate_series(1, %d) i", n))
}

func connect(t *testing.T, dsn, database string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	ok(t, err)
	config.Database = database
	conn, err := pgx.ConnectConfig(context.Background(), config)
	ok(t, err)
	return conn
}

func execute(t *testing.T, database, sql string) {
	t.Helper()
	conn := connect(t, server.DSN(), database)
	defer conn.Close(context.Background())
	_, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
	ok(t, err)
}

// files returns the files below a directory whose path contains part.
func files(t *testing.T, dir, part string) (list []string) {
	t.Helper()
	ok(t, filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && strings.Contains(name, part) {
			list = append(list, name)
		}
		return err
	}))
	return list
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, want, got T) {
	t.Helper()
	if want != got {
		t.Fatalf("got %v and not %v", got, want)
	}
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Fatalf("%q is not in\n%s", part, text)
		}
	}
}
