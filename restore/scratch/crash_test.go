//go:build unix

package scratch

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain plays the owner that is killed when a test starts this binary for it.
func TestMain(m *testing.M) {
	if parent := os.Getenv("SCRATCH_TEST_OWNER"); parent != "" {
		playOwner(parent, os.Getenv("SCRATCH_TEST_OUTLIVE") != "")
	}
	os.Exit(m.Run())
}

type owned struct {
	Dir string
	DSN string
}

func playOwner(parent string, outlive bool) {
	s, err := Start(context.Background(), Options{Dir: parent, outlive: outlive})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(owned{s.Dir(), s.DSN()})
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = s.Close()
	os.Exit(0)
}

// killedOwner returns what a process left that started a server and was then killed.
func killedOwner(t *testing.T, parent string, outlive bool) (left owned, postmaster int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SCRATCH_TEST_OWNER="+parent)
	if outlive {
		cmd.Env = append(cmd.Env, "SCRATCH_TEST_OUTLIVE=1")
	}
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(line, &left))
	require.NoError(t, ping(t.Context(), left.DSN))
	postmaster = postmasterOf(t, left.Dir)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	return left, postmaster
}

func postmasterOf(t *testing.T, dir string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, dataDir, "postmaster.pid"))
	require.NoError(t, err)
	return atoi(t, strings.SplitN(string(content), "\n", 2)[0])
}

// running reports whether a process exists and is not just waiting to be reaped.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(string(out), "Z")
}

func TestNextStartSweepsAfterKilledOwner(t *testing.T) {
	parent := parentDir(t)
	alive := startIn(t, Options{Dir: parent})
	left, postmaster := killedOwner(t, parent, true)
	require.True(t, running(postmaster))
	require.NoError(t, ping(t.Context(), left.DSN), "the server was to outlive its owner")

	next := startIn(t, Options{Dir: parent})
	require.NoDirExists(t, left.Dir)
	require.False(t, running(postmaster))
	require.Equal(t, "1", ask(t, alive.DSN(), "SELECT 1::text"))
	require.Equal(t, "1", ask(t, next.DSN(), "SELECT 1::text"))
}

func TestSweepCounts(t *testing.T) {
	parent := parentDir(t)
	left, postmaster := killedOwner(t, parent, true)
	n, err := Sweep(t.Context(), parent)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoDirExists(t, left.Dir)
	require.False(t, running(postmaster))
	n, err = Sweep(t.Context(), parent)
	require.NoError(t, err)
	require.Zero(t, n)
}

// bystander is a process that must not be hurt.
func bystander(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.Dir = dir
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// leftover makes a dead owner's directory whose postmaster.pid names a process.
func leftover(t *testing.T, parent string, pid int) string {
	t.Helper()
	dir := filepath.Join(parent, prefix+"leftover")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, dataDir), 0o700))
	text := fmt.Sprintf("%d\n%s\n%d\n", pid, filepath.Join(dir, dataDir), time.Now().Unix())
	require.NoError(t, os.WriteFile(filepath.Join(dir, dataDir, "postmaster.pid"), []byte(text), 0o600))
	return dir
}

func TestSweepSparesProcessThatReusedTheID(t *testing.T) {
	parent := parentDir(t)
	other := bystander(t, "/")
	dir := leftover(t, parent, other.Process.Pid)
	n, err := Sweep(t.Context(), parent)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoDirExists(t, dir)
	require.True(t, running(other.Process.Pid))
}

func TestSweepFollowsNoLinkToAnotherServer(t *testing.T) {
	victim := startIn(t, Options{Dir: parentDir(t)})
	parent := parentDir(t)
	trap := filepath.Join(parent, prefix+"trap")
	require.NoError(t, os.Mkdir(trap, 0o700))
	require.NoError(t, os.Symlink(filepath.Join(victim.Dir(), dataDir), filepath.Join(trap, dataDir)))
	link := filepath.Join(parent, prefix+"link")
	require.NoError(t, os.Symlink(victim.Dir(), link))
	defer os.Remove(link)

	_, err := Sweep(t.Context(), parent)
	require.NoError(t, err)
	require.NoDirExists(t, trap)
	require.Equal(t, "1", ask(t, victim.DSN(), "SELECT 1::text"))
}

func TestSweepTakesOnlyWhatIsOurs(t *testing.T) {
	parent := parentDir(t)
	kept := []string{"data", "runbook", "other-" + prefix + "1"}
	for _, name := range kept {
		require.NoError(t, os.Mkdir(filepath.Join(parent, name), 0o700))
		defer os.Remove(filepath.Join(parent, name))
	}
	file := filepath.Join(parent, prefix+"file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	defer os.Remove(file)
	if os.Geteuid() == 0 {
		dir := filepath.Join(parent, prefix+"foreign")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chown(dir, 12345, 12345))
		defer os.Remove(dir)
		kept = append(kept, filepath.Base(dir))
	}
	n, err := Sweep(t.Context(), parent)
	require.NoError(t, err)
	require.Zero(t, n)
	for _, name := range kept {
		require.DirExists(t, filepath.Join(parent, name))
	}
	require.FileExists(t, file)
}

func TestLockOfDirectoryThatIsGone(t *testing.T) {
	dir := filepath.Join(parentDir(t), "dir")
	require.NoError(t, os.Mkdir(dir, 0o700))
	f, err := os.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Remove(dir))
	require.ErrorIs(t, lockOpen(f, dir), os.ErrNotExist)
	require.NoError(t, os.Mkdir(dir, 0o700))
	defer os.Remove(dir)
	require.ErrorIs(t, lockOpen(f, dir), os.ErrNotExist, "it is another directory of that name")
}

// A directory must not be swept between being made and being locked and then be used all the same.
func TestSweepRacesWithStart(t *testing.T) {
	parent := parentDir(t)
	ctx, stop := context.WithCancel(t.Context())
	var sweepers sync.WaitGroup
	sweepers.Go(func() {
		for ctx.Err() == nil {
			_, _ = Sweep(t.Context(), parent)
		}
	})
	for range 50 {
		dir, lock, err := makeLocked(parent)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600), "the directory was swept though it is locked")
		require.NoError(t, removeLocked(dir, lock))
	}
	stop()
	sweepers.Wait()
}

func TestStartTellsThatServerAccountMayNotEnter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs the server as another account")
	}
	parent := parentDir(t)
	require.NoError(t, os.Chmod(parent, 0o700))
	_, err := Start(t.Context(), Options{Dir: parent})
	require.ErrorContains(t, err, "may not enter "+parent)
}
