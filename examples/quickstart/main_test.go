package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/runbook-go/runbook/examples/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m, "quickstart") }

// answer is what -json prints, as far as it is looked at here.
type answer struct {
	OK     bool
	Error  string
	Night1 struct {
		Databases []struct{ Database, Status string }
	}
	Night2 struct {
		Databases []struct{ Database, Status string }
	}
	Drill struct {
		Drilled []struct{ Evidence struct{ Passed bool } }
	}
	Restore, Undo struct{ Database, Old string }
}

func TestKeep(t *testing.T) {
	t.Parallel()
	temp, keep := tempDir(t), t.TempDir()
	out, _, code := stage.RunIn(t, keep, append(os.Environ(), "TMPDIR="+temp), "-json", "-scale", "0.02", "-keep", keep)
	stage.Equal(t, 0, code)
	var a answer
	stage.OK(t, json.Unmarshal([]byte(out), &a))
	stage.Equal(t, true, a.OK)
	stage.Equal(t, "", a.Error)

	backedUp := make(map[string]int)
	for _, d := range a.Night1.Databases {
		backedUp["night 1 "+d.Status]++
	}
	for _, d := range a.Night2.Databases {
		backedUp["night 2 "+d.Status]++
	}
	stage.Equal(t, 20, backedUp["night 1 backed up"])
	stage.Equal(t, 19, backedUp["night 2 backed up"])
	stage.Equal(t, 1, backedUp["night 2 failed"])
	proven := 0
	for _, d := range a.Drill.Drilled {
		if d.Evidence.Passed {
			proven++
		}
	}
	stage.Equal(t, 19, proven)
	stage.Equal(t, "SpecibikeDupont", a.Restore.Database)
	stage.Equal(t, "SpecibikeDupont", a.Undo.Database)

	stage.Equal(t, 20, len(stage.Files(t, filepath.Join(keep, "backup-server"), ".dump.zst"))) // the last of each
	stage.Equal(t, 1, len(stage.Files(t, filepath.Join(keep, "postgresql"), "postgresql.conf")))
	text, err := os.ReadFile(filepath.Join(keep, "account.txt"))
	stage.OK(t, err)
	stage.Contains(t, string(text), "19 of 19 snapshots proven restorable", "Everything went as it should")
	object, err := os.ReadFile(filepath.Join(keep, "account.json"))
	stage.OK(t, err)
	stage.Equal(t, out, string(object))
	nothingIn(t, temp)
}

// An interrupted run leaves as little as one that comes to its end: both servers are running and the first dumps are stored.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	temp, dir := tempDir(t), t.TempDir()
	cmd := stage.Command(t, "-scale", "0.02")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+temp)
	stage.OK(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for stored := 0; stored == 0; {
		select {
		case err := <-ended:
			t.Fatalf("it ended before anything was stored: %v", err)
		case <-time.After(20 * time.Millisecond):
			found, err := filepath.Glob(filepath.Join(temp, "runbook-quickstart-*", "backup-server", "*", "*", "db", "*", "*.dump.zst"))
			stage.OK(t, err)
			stored = len(found)
		}
	}
	stage.OK(t, cmd.Process.Signal(os.Interrupt))
	<-ended
	stage.Equal(t, 1, cmd.ProcessState.ExitCode())
	stage.Equal(t, 0, len(stage.Files(t, dir, "")))
	nothingIn(t, temp)
}

func TestUse(t *testing.T) {
	_, help, code := stage.Run(t, "-h")
	stage.Equal(t, 0, code)
	stage.Contains(t, help, "-keep", "Exit status: 0", "apt-get install postgresql")
	_, _, code = stage.Run(t, "surplus")
	stage.Equal(t, 2, code)
}

// tempDir makes a directory whose path is short enough for PostgreSQL's sockets, and that its system user may enter.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "q")
	stage.OK(t, err)
	stage.OK(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// nothingIn fails if something is in a directory, or if a process names it. Where there is no /proc, a server without its files ends by itself.
func nothingIn(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	stage.OK(t, err)
	for _, entry := range entries {
		t.Errorf("%s was left", entry.Name())
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	stage.OK(t, err)
	for _, command := range commands {
		if line, err := os.ReadFile(command); err == nil && bytes.Contains(line, []byte(dir)) { // or it has just ended
			t.Errorf("%s runs: %q", command, line)
		}
	}
}
