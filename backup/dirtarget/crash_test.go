package dirtarget_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/dirtarget"
)

var long = flag.Bool("long", false, "kill many more processes")

// TestMain plays the process that is killed when this binary is started by the test.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DIRTARGET_TEST_CRASH"); dir != "" {
		if err := putForEver(dir, os.Getenv("DIRTARGET_TEST_MODE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// putForEver puts objects and reports each chunk that is read ("chunk") and each object that is stored (its key). In the mode "block" it
// stops in the middle of the first.
func putForEver(dir, mode string) error {
	target, err := dirtarget.Open(dir, dirtarget.Options{})
	if err != nil {
		return err
	}
	if mode == "no links" {
		target.SetLink(func(string, string) error { return errors.ErrUnsupported })
	}
	for i := 0; ; i++ {
		key := fmt.Sprintf("process-%d/%d/%d", os.Getpid(), i%3, i)
		content := bytes.NewReader(contentOf(key))
		r := readerFunc(func(p []byte) (int, error) {
			fmt.Println("chunk")
			if mode == "block" && content.Len() < int(content.Size()) {
				return os.Stdin.Read(p)
			}
			return content.Read(p[:min(len(p), 10_000)])
		})
		if err := target.Put(context.Background(), key, r); err != nil {
			return err
		}
		fmt.Println(key)
	}
}

// contentOf depends on the whole key, so that nothing can pass for another object.
func contentOf(key string) []byte {
	return bytes.Repeat([]byte(key+"\n"), 1+len(key)*200)
}

func TestKilledProcessesLeaveNothingPartial(t *testing.T) {
	rounds := 12
	if *long {
		rounds = 400
	}
	for _, mode := range []string{"links", "no links"} {
		t.Run(mode, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			dir := t.TempDir()
			target, err := dirtarget.Open(dir, dirtarget.Options{})
			require.NoError(t, err)
			defer target.Close()
			stored := map[string]bool{}
			for range rounds {
				for _, key := range killAfter(t, dir, mode, 1+random.IntN(60), time.Duration(random.IntN(3000))*time.Microsecond) {
					stored[key] = true
				}
				seen := map[string]bool{}
				for o, err := range target.List(t.Context(), "") {
					require.NoError(t, err)
					seen[o.Key] = true
					data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(o.Key)))
					require.NoError(t, err)
					require.True(t, bytes.Equal(contentOf(o.Key), data), "%q is not whole: %d bytes", o.Key, len(data))
				}
				for key := range stored {
					require.True(t, seen[key], "%q was stored and is not there", key)
				}
			}
			_, err = target.Sweep(t.Context(), time.Now().Add(time.Minute))
			require.NoError(t, err)
			entries, err := os.ReadDir(filepath.Join(dir, ".runbook-tmp"))
			require.NoError(t, err)
			require.Empty(t, entries)
			t.Logf("%d processes killed, %d objects stored, all whole", rounds, len(stored))
		})
	}
}

// killAfter starts a process, kills it some time after it has reported some lines, and returns the keys it had stored by then.
func killAfter(t *testing.T, dir, mode string, lines int, later time.Duration) (stored []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DIRTARGET_TEST_CRASH="+dir, "DIRTARGET_TEST_MODE="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	prefix := "process-" + strconv.Itoa(cmd.Process.Pid) + "/"
	for s, n := bufio.NewScanner(out), 1; s.Scan(); n++ {
		if strings.HasPrefix(s.Text(), prefix) {
			stored = append(stored, s.Text())
		}
		if n == lines {
			time.Sleep(later)
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait())
	return stored
}

func TestAProcessKilledInPutLeavesOneTemporaryFile(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DIRTARGET_TEST_CRASH="+dir, "DIRTARGET_TEST_MODE=block")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.ReadFull(out, make([]byte, len("chunk\nchunk\n")))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	target, err := dirtarget.Open(dir, dirtarget.Options{})
	require.NoError(t, err)
	defer target.Close()
	require.Empty(t, keys(t, target, ""))
	left, err := os.ReadDir(filepath.Join(dir, ".runbook-tmp"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	n, err := target.Sweep(t.Context(), time.Now().Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	requireTree(t, dir, ".runbook-tmp/")
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
