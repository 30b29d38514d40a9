//go:build unix

package exectarget_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/exectarget"
	"github.com/runbook-go/runbook/backup/targettest"
)

// example is the plug-in that users start from.
func example(t *testing.T) string {
	t.Helper()
	name, err := filepath.Abs("../../examples/target-plugin/dir-target.sh")
	require.NoError(t, err)
	return name
}

func env() []string { return []string{"PATH=/usr/bin:/bin"} }

// shell writes a plug-in that runs script, in which "$plugin" is the example and "$@" the verb and its arguments.
func shell(t *testing.T, script string) (target *exectarget.Target, dir string) {
	t.Helper()
	dir = t.TempDir()
	name := filepath.Join(t.TempDir(), "plugin.sh")
	script = fmt.Sprintf("set -eu\nplugin() { sh %q %q \"$@\"; }\n%s\n", example(t), dir, script)
	require.NoError(t, os.WriteFile(name, []byte(script), 0o600))
	target, err := exectarget.New([]string{"/bin/sh", name}, exectarget.Options{Env: env()})
	require.NoError(t, err)
	return target, dir
}

// The suite starts the plug-in some thousand times, so sync(1) does nothing here; another test looks whether it is called.
func TestTheExamplePlugInKeepsTheContract(t *testing.T) {
	path := withSync(t, "#!/bin/sh\n")
	targettest.Run(t, func(t *testing.T) runbook.Target {
		dir := t.TempDir()
		target, err := exectarget.New([]string{"/bin/sh", example(t), dir}, exectarget.Options{Env: []string{path}})
		require.NoError(t, err)
		t.Cleanup(func() { require.Empty(t, files(t, dir)) })
		return target
	}, nil)
}

// withSync returns a PATH on which sync(1) is a script.
func withSync(t *testing.T, script string) string {
	t.Helper()
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "sync"), []byte(script), 0o700))
	return "PATH=" + bin + ":/usr/bin:/bin"
}

func TestTheExamplePlugInSyncsBeforeItAnswers(t *testing.T) {
	ctx := t.Context()
	log := filepath.Join(t.TempDir(), "log")
	path := withSync(t, fmt.Sprintf("#!/bin/sh\necho \"$1\" >>%q\n", log))
	dir := t.TempDir()
	target, err := exectarget.New([]string{"/bin/sh", example(t), dir}, exectarget.Options{Env: []string{path}})
	require.NoError(t, err)
	synced := func() []string {
		data, err := os.ReadFile(log)
		require.NoError(t, err)
		require.NoError(t, os.Remove(log))
		return strings.Fields(strings.ReplaceAll(string(data), dir, ""))
	}
	require.NoError(t, target.Put(ctx, "a/b/c", strings.NewReader("x")))
	put := synced()
	require.Regexp(t, "^/uploads/[A-Z2-7]+$", put[0])
	require.Equal(t, []string{"/objects/a/b", "/objects/a", "/objects"}, put[1:])
	require.NoError(t, target.Delete(ctx, "a/b/c"))
	require.Equal(t, []string{"/objects"}, synced())
}

func TestWhatThePlugInDoesNotOffer(t *testing.T) {
	ctx := t.Context()
	target, _ := shell(t, `if [ "$1" = hello ]; then echo "runbook-target 0 1 2"; else plugin "$@"; fi`)
	require.NoError(t, target.Put(ctx, "a", strings.NewReader("x")))
	_, err := target.OpenRange(ctx, "a", 0, 1)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = target.Sweep(ctx, time.Now())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = target.FreeSpace(ctx)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.NoError(t, target.Probe(ctx))
}

func TestAProgramThatIsNoPlugIn(t *testing.T) {
	for script, want := range map[string]string{
		`echo "hello yourself"`:      "is it a target plug-in?",
		`echo "runbook-target 2"`:    `["2"]`,
		`echo "what?" >&2; exit 64`:  "exit status 64: what?",
		`printf 'x%9000d' 1`:         "a line of more than 8192 bytes",
		`kill -9 $$`:                 "signal killed",
		`printf "runbook-target 11"`: `["11"]`,
	} {
		target, _ := shell(t, script)
		err := target.Put(t.Context(), "a", strings.NewReader("x"))
		require.ErrorContains(t, err, want, script)
		require.ErrorContains(t, err, `put "a"`, script)
	}
	target, err := exectarget.New([]string{"/nonexistent/plug-in"}, exectarget.Options{})
	require.NoError(t, err)
	require.ErrorIs(t, target.Probe(t.Context()), fs.ErrNotExist)
	_, err = exectarget.New(nil, exectarget.Options{})
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func TestUnknownLinesAreIgnored(t *testing.T) {
	ctx := t.Context()
	target, dir := shell(t, `[ "$1" = get ] || echo "grease 42"; plugin "$@"; [ "$1" = get ] || printf "no line end"`)
	require.NoError(t, target.Put(ctx, "a b", strings.NewReader("x")))
	o, err := target.Stat(ctx, "a b")
	require.NoError(t, err)
	require.Equal(t, int64(1), o.Size)
	require.Equal(t, []string{"objects/a b"}, files(t, dir))
}

// Each of these plug-ins does something wrong between the first byte and the commit.
func TestAPutThatGoesWrongIsNotCommitted(t *testing.T) {
	for script, want := range map[string]string{
		`if [ "$1" = put ]; then head -c 5 >/dev/null; echo "size 5"; else plugin "$@"; fi`: "",
		`if [ "$1" = put ]; then echo "size 100000"; else plugin "$@"; fi`:                  "",
		`if [ "$1" = put ]; then head -c 99999 | plugin "$@"; else plugin "$@"; fi`:         "reports a size of 99999",
		`if [ "$1" = put ]; then cat >/dev/null; else plugin "$@"; fi`:                      "reports a size of -1",
		`if [ "$1" = put ]; then cat >/dev/null; echo "size lots"; else plugin "$@"; fi`:    "malformed line",
		`if [ "$1" = put ]; then echo "tape is full" >&2; exit 9; else plugin "$@"; fi`:     "exit status 9: tape is full",
		`if [ "$1" = put ]; then plugin "$@"; kill -9 $$; else plugin "$@"; fi`:             "signal killed",
		`if [ "$1" = commit ]; then echo "no" >&2; exit 1; else plugin "$@"; fi`:            "may have happened",
	} {
		target, dir := shell(t, script)
		err := target.Put(t.Context(), "a", strings.NewReader(strings.Repeat("x", 100_000)))
		require.Error(t, err, script)
		require.ErrorContains(t, err, want, script)
		require.Empty(t, files(t, dir), script)
	}
}

func TestAReaderThatFailsIsNotCommitted(t *testing.T) {
	own := errors.New("the dump failed")
	log := filepath.Join(t.TempDir(), "log")
	target, dir := shell(t, fmt.Sprintf(`echo "$1" >>%q; plugin "$@"`, log))
	err := target.Put(t.Context(), "a", io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), failing{own}))
	require.ErrorIs(t, err, own)
	require.Empty(t, files(t, dir))
	verbs, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "hello\nput\nabort\n", string(verbs))
}

func TestACommitThatHasBegunIsNotKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	mark := filepath.Join(t.TempDir(), "mark")
	target, dir := shell(t, fmt.Sprintf(`if [ "$1" = commit ]; then : >%[1]q; while [ -e %[1]q ]; do sleep 0.01; done; fi; plugin "$@"`, mark))
	done := make(chan error, 1)
	go func() { done <- target.Put(ctx, "a", strings.NewReader("x")) }()
	require.Eventually(t, func() bool { _, err := os.Stat(mark); return err == nil }, time.Minute, time.Millisecond)
	cancel()
	require.NoError(t, os.Remove(mark))
	require.NoError(t, <-done)
	require.Equal(t, []string{"objects/a"}, files(t, dir))
}

func TestACommitThatHangsIsBounded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "plugin.sh")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(name, fmt.Appendf(nil, "if [ \"$1\" = commit ]; then exec sleep 600; fi; exec sh %q %q \"$@\"\n", example(t), dir), 0o600))
	target, err := exectarget.New([]string{"/bin/sh", name}, exectarget.Options{Env: env(), Grace: 300 * time.Millisecond})
	require.NoError(t, err)
	err = target.Put(t.Context(), "a", strings.NewReader("x"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "may have happened")
}

func TestReadingFailsIfThePlugInDoes(t *testing.T) {
	ctx := t.Context()
	target, _ := shell(t, `if [ "$1" = get ]; then printf half; echo "tape is torn" >&2; exit 1; else plugin "$@"; fi`)
	require.NoError(t, target.Put(ctx, "a", strings.NewReader("half of it")))
	r, err := target.Open(ctx, "a")
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.ErrorContains(t, err, "tape is torn")
	require.ErrorContains(t, err, `read "a"`)
	require.Equal(t, "half", string(got))
	require.NoError(t, r.Close())
}

func TestCloseKillsThePlugIn(t *testing.T) {
	ctx := t.Context()
	pid := filepath.Join(t.TempDir(), "pid")
	target, _ := shell(t, fmt.Sprintf(`if [ "$1" = get ]; then echo $$ >%q; while :; do echo more; done; else plugin "$@"; fi`, pid))
	require.NoError(t, target.Put(ctx, "a", strings.NewReader("x")))
	r, err := target.Open(ctx, "a")
	require.NoError(t, err)
	_, err = io.ReadFull(r, make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, r.Close())
	id, err := os.ReadFile(pid)
	require.NoError(t, err)
	require.Error(t, exec.Command("kill", "-0", strings.TrimSpace(string(id))).Run(), "the plug-in still runs")
}

func TestMalformedAnswers(t *testing.T) {
	ctx := t.Context()
	for line, want := range map[string]string{
		"object 12 1700000000":      "does not begin with a slash",
		"object 12 1700000000 a":    "does not begin with a slash",
		"object -1 1700000000 /a":   "negative",
		"object many 1700000000 /a": "size",
		"object 12 today /a":        "time",
		"object 12 17.x /a":         "time",
		"object 12 17 /b":           "described 1 objects",
		"":                          "described 0 objects",
	} {
		target, _ := shell(t, fmt.Sprintf(`if [ "$1" = stat ]; then echo '%s'; else plugin "$@"; fi`, line))
		_, err := target.Stat(ctx, "a")
		require.ErrorContains(t, err, want, line)
	}
	target, _ := shell(t, `if [ "$1" = stat ]; then echo 'object 12 1700000000.25 /a'; else plugin "$@"; fi`)
	o, err := target.Stat(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, runbook.Object{Key: "a", Size: 12, Modified: time.Unix(1700000000, 250_000_000)}, o)
}

func TestAListingIsSortedAndCompleteOrAnError(t *testing.T) {
	ctx := t.Context()
	target, _ := shell(t, `if [ "$1" = list ]; then
		printf 'object 1 1 /b\nobject 1 1 /a/b\nobject 1 1 /a-b\nobject 1 1 /a/b\nobject 1 1 /.runbook-x\nobject 1 1 /c\n'; else plugin "$@"; fi`)
	var got []string
	for o, err := range target.List(ctx, "a") {
		require.NoError(t, err)
		got = append(got, o.Key)
	}
	require.Equal(t, []string{"a-b", "a/b"}, got)

	target, _ = shell(t, `if [ "$1" = list ]; then echo 'object 1 1 /a'; echo "no more" >&2; exit 1; else plugin "$@"; fi`)
	for o, err := range target.List(ctx, "a") {
		require.ErrorContains(t, err, "no more")
		require.Zero(t, o)
	}
}

func TestTheEnvironmentIsExplicitAndKeysAreArguments(t *testing.T) {
	ctx := t.Context()
	t.Setenv("RUNBOOK_TEST_INHERITED", "must not be seen")
	var calls []runbook.Cmd
	var mu sync.Mutex
	runner := runbook.RunnerFunc(func(ctx context.Context, c runbook.Cmd) error {
		mu.Lock()
		calls = append(calls, c)
		mu.Unlock()
		return runbook.Local{}.Run(ctx, c)
	})
	out := filepath.Join(t.TempDir(), "env")
	script := filepath.Join(t.TempDir(), "plugin.sh")
	require.NoError(t, os.WriteFile(script, fmt.Appendf(nil, "env >%q; exec sh %q %q \"$@\"\n", out, example(t), t.TempDir()), 0o600))
	target, err := exectarget.New([]string{"/bin/sh", script}, exectarget.Options{Runner: runner, Env: append(env(), "TAPE=drive0")})
	require.NoError(t, err)
	require.NoError(t, target.Put(ctx, "--help", strings.NewReader("x")))
	seen, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Contains(t, string(seen), "TAPE=drive0\n")
	require.NotContains(t, string(seen), "RUNBOOK_TEST_INHERITED")
	require.Len(t, calls, 3)
	require.Equal(t, []string{script, "hello"}, calls[0].Args)
	require.Equal(t, "/--help", calls[1].Args[3])
	require.Equal(t, []string{script, "commit", calls[1].Args[2], "/--help"}, calls[2].Args)
}

func TestSweepRemovesWhatAKilledProcessLeft(t *testing.T) {
	ctx := t.Context()
	target, dir := shell(t, `plugin "$@"`)
	require.NoError(t, target.Put(ctx, "a", strings.NewReader("x")))
	// A process that is killed with everything it started between put and commit.
	cmd := exec.Command("/bin/sh", example(t), dir, "put", "KILLED", "/b")
	cmd.Env, cmd.Stdin = env(), strings.NewReader("half")
	require.NoError(t, cmd.Run())
	require.Equal(t, []string{"objects/a", "uploads/KILLED"}, files(t, dir))
	_, err := target.Stat(ctx, "b")
	require.ErrorIs(t, err, fs.ErrNotExist)
	n, err := target.Sweep(ctx, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Zero(t, n)
	n, err = target.Sweep(ctx, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []string{"objects/a"}, files(t, dir))
	free, err := target.FreeSpace(ctx)
	require.NoError(t, err)
	require.Positive(t, free)
}

// files lists every file below dir.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, err = filepath.Rel(dir, name)
			names = append(names, name)
		}
		return err
	}))
	return names
}
