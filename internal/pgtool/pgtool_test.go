package pgtool

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseVersion(t *testing.T) {
	for answer, want := range map[string]int{
		"pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)": 150018,
		"pg_dump (PostgreSQL) 9.6.24":                         90624,
		"pg_dump (PostgreSQL) 16beta1":                        160000,
		"pg_dump (PostgreSQL) 18rc1":                          180000,
		"pg_dump (PostgreSQL) 17devel":                        170000,
		"initdb (PostgreSQL) 18.4":                            180004,
		"pg_dump (EnterpriseDB) 15.4.0 (Debian 15.4.0-1)":     150004,
	} {
		got, err := parseVersion(answer)
		require.NoError(t, err, answer)
		require.Equal(t, want, got, answer)
	}
	for _, answer := range []string{"", "pg_dump 15.18", "hello (world) is 15", "pg_dump (PostgreSQL) x15"} {
		_, err := parseVersion(answer)
		require.Error(t, err, answer)
	}
}

// fake makes directories with scripts that tell a version.
type fake struct {
	t    *testing.T
	root string
}

func newFake(t *testing.T) fake {
	if runtime.GOOS == "windows" {
		t.Skip("the fake programs are shell scripts")
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return fake{t, root}
}

func (f fake) dir(name string) string { return filepath.Join(f.root, name) }

func (f fake) program(dir, name, script string) {
	f.t.Helper()
	require.NoError(f.t, os.MkdirAll(f.dir(dir), 0o755))
	require.NoError(f.t, os.WriteFile(filepath.Join(f.dir(dir), name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
}

func (f fake) release(dir, version string, programs ...string) {
	f.t.Helper()
	for _, name := range programs {
		f.program(dir, name, "echo '"+name+" (PostgreSQL) "+version+"'")
	}
}

func (f fake) link(target, name string) {
	f.t.Helper()
	require.NoError(f.t, os.MkdirAll(filepath.Dir(f.dir(name)), 0o755))
	require.NoError(f.t, os.Symlink(f.dir(target), f.dir(name)))
}

// machine looks in path for PATH and in the given globs.
func (f fake) machine(path string, globs ...string) machine {
	m := machine{timeout: 10 * time.Second, lookPath: func(program string) (string, error) {
		if path == "" {
			return "", exec.ErrNotFound
		}
		return exec.LookPath(filepath.Join(f.dir(path), program))
	}}
	for _, glob := range globs {
		m.globs = append(m.globs, f.dir(glob))
	}
	return m
}

func TestFindChoosesLowestMajorThatWillDo(t *testing.T) {
	f := newFake(t)
	f.release("lib/13/bin", "13.22", "pg_dump", "pg_restore")
	f.release("lib/15/bin", "15.18", "pg_dump")
	f.release("lib/16/bin", "16.3", "pg_dump", "pg_restore")
	f.release("lib/17/bin", "17.6", "pg_dump", "pg_restore")
	f.release("other/16", "16.10", "pg_dump", "pg_restore")
	f.release("lib/18/bin", "18beta1", "pg_dump")
	m := f.machine("lib/17/bin", "lib/*/bin", "other/*")
	for _, c := range []struct {
		minMajor int
		programs []string
		dir      string
		version  int
	}{
		{0, []string{"pg_dump"}, "lib/13/bin", 130022},
		{0, nil, "lib/13/bin", 130022},
		{14, []string{"pg_dump"}, "lib/15/bin", 150018},
		{14, []string{"pg_dump", "pg_restore"}, "other/16", 160010}, // 15 lacks one, and of two 16s the newer minor
		{17, []string{"pg_dump", "pg_restore"}, "lib/17/bin", 170006},
		{18, []string{"pg_dump"}, "lib/18/bin", 180000},
	} {
		tools, err := m.find(t.Context(), "", c.minMajor, c.programs)
		require.NoError(t, err)
		require.Equal(t, Tools{Dir: f.dir(c.dir), Version: c.version}, tools)
	}

	_, err := m.find(t.Context(), "", 18, []string{"pg_dump", "pg_restore"})
	require.ErrorContains(t, err, "pg_dump, pg_restore of PostgreSQL 18 or later: not found")
	require.ErrorContains(t, err, f.dir("lib/13/bin")+": version 13.22 is too old")
	require.ErrorContains(t, err, f.dir("lib/18/bin")+": no pg_restore")
	require.ErrorContains(t, err, "pg_config: not in PATH")
	require.ErrorContains(t, err, "apt-get install postgresql-client-18")

	_, err = m.find(t.Context(), "", 0, []string{"initdb"})
	require.ErrorContains(t, err, `apt-get install postgresql"`)
}

func TestFindInExplicitDirectory(t *testing.T) {
	f := newFake(t)
	f.release("good", "15.18", "pg_dump")
	f.release("elsewhere", "16.1", "pg_dump", "pg_restore")
	m := f.machine("elsewhere", "elsewhere")

	tools, err := m.find(t.Context(), f.dir("good"), 15, []string{"pg_dump"})
	require.NoError(t, err)
	require.Equal(t, f.dir("good/pg_dump"), tools.Path("pg_dump"))

	_, err = m.find(t.Context(), f.dir("good"), 16, []string{"pg_dump"})
	require.ErrorContains(t, err, "too old")
	_, err = m.find(t.Context(), f.dir("good"), 15, []string{"pg_dump", "pg_restore"})
	require.ErrorContains(t, err, "no pg_restore")
	_, err = m.find(t.Context(), f.dir("missing"), 15, []string{"pg_dump"})
	require.ErrorContains(t, err, f.dir("missing")+": no pg_dump")
}

func TestFindResolvesLinksAndAvoidsDebianWrapper(t *testing.T) {
	f := newFake(t)
	f.program("share/postgresql-common", "pg_wrapper", "echo 'pg_dump (PostgreSQL) 15.18'")
	f.link("share/postgresql-common/pg_wrapper", "usr/bin/pg_dump")
	_, err := f.machine("usr/bin").find(t.Context(), "", 0, nil)
	require.ErrorContains(t, err, "pg_dump is Debian's wrapper")

	f.release("lib/16/bin", "16.10", "pg_dump")
	tools, err := f.machine("usr/bin", "lib/*/bin").find(t.Context(), "", 0, nil)
	require.NoError(t, err)
	require.Equal(t, f.dir("lib/16/bin"), tools.Dir)

	f.link("lib/16/bin/pg_dump", "alternatives/pg_dump")
	tools, err = f.machine("alternatives").find(t.Context(), "", 0, nil)
	require.NoError(t, err)
	require.Equal(t, f.dir("lib/16/bin"), tools.Dir)

	f.program("config", "pg_config", "echo "+f.dir("lib/16/bin"))
	tools, err = f.machine("config").find(t.Context(), "", 0, nil)
	require.NoError(t, err)
	require.Equal(t, f.dir("lib/16/bin"), tools.Dir)
}

func TestFindSurvivesProgramsThatMisbehave(t *testing.T) {
	f := newFake(t)
	f.program("a/hangs", "pg_dump", "sleep 60")
	f.program("a/fails", "pg_dump", "echo broken library >&2; exit 127")
	f.program("a/lies", "pg_dump", "echo hello")
	f.release("a/good", "15.18", "pg_dump")
	m := f.machine("", "a/*")
	m.timeout = 300 * time.Millisecond
	_, err := m.find(t.Context(), "", 99, nil)
	require.ErrorContains(t, err, "gave no answer within 300ms")
	require.ErrorContains(t, err, "broken library")
	require.ErrorContains(t, err, `"hello" is not the answer`)

	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("changed my mind")
	cancel(cause)
	_, err = m.find(ctx, "", 0, nil)
	require.ErrorIs(t, err, cause)
}

func TestProgramsGetNoneOfOurEnvironment(t *testing.T) {
	f := newFake(t)
	t.Setenv("PGTOOL_SECRET", "seen")
	f.program("bin", "pg_dump", `echo "pg_dump (PostgreSQL) 15.18 $PGTOOL_SECRET"; test -z "$PGTOOL_SECRET"`)
	_, err := f.machine("").find(t.Context(), f.dir("bin"), 0, nil)
	require.NoError(t, err)
}

func TestAdvise(t *testing.T) {
	const (
		object   = "CVE-2024-7348"
		plain    = "CVE-2025-8714"
		linefeed = "CVE-2025-8715"
		blob     = "CVE-2026-6477"
		restrict = "CVE-2026-18408"
	)
	for _, c := range []struct {
		tools, server int
		refused       []string
		warned        []string
	}{
		{150019, 150018, nil, nil},
		{150019, 130002, nil, nil},
		{180006, 150018, nil, nil},
		{190000, 180006, nil, nil},
		{150018, 150018, nil, []string{restrict}},
		{150017, 150018, nil, []string{blob, restrict}},
		{160009, 150018, []string{linefeed}, []string{plain, blob, restrict}},
		{140012, 140000, []string{linefeed}, []string{object, plain, blob, restrict}},
		{120022, 120022, []string{linefeed}, []string{plain, blob, restrict}},
		{90624, 90624, []string{linefeed}, []string{object, plain, blob, restrict}},
		{170000, 170000, []string{linefeed}, []string{plain, blob, restrict}},
		{150019, 160000, []string{"older than the server's 16.0"}, nil},
		{150013, 170002, []string{"older than the server's 17.2", linefeed}, []string{plain, blob, restrict}},
	} {
		refuse, warnings := Advise(Tools{Dir: "/x", Version: c.tools}, c.server)
		if len(c.refused) == 0 {
			require.NoError(t, refuse, c)
		}
		for _, text := range c.refused {
			require.ErrorContains(t, refuse, text, c)
		}
		require.Len(t, warnings, len(c.warned), "%v: %q", c, warnings)
		for i, id := range c.warned {
			require.Contains(t, warnings[i], id, c)
		}
	}

	refuse, _ := Advise(Tools{Dir: "/x", Version: 150013}, 170002)
	require.ErrorContains(t, refuse, "update to 15.14 or later")
	require.ErrorContains(t, refuse, "postgresql-client-17")
	refuse, _ = Advise(Tools{Dir: "/x", Version: 120022}, 120022)
	require.ErrorContains(t, refuse, "no version 12 is without it; use 13.22 or later")
}
