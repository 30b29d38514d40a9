package scratch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const prefix = "runbook-pg-"

// errHeld says that a living process holds a lock.
var errHeld = errors.New("held by a living process")

// makeLocked makes a server's directory and locks it. The lock is the kernel's and ends with us.
func makeLocked(parent string) (string, io.Closer, error) {
	for range 1000 {
		dir, err := os.MkdirTemp(parent, prefix)
		if err != nil {
			return "", nil, err
		}
		lock, err := tryLock(dir)
		if err == nil {
			return dir, lock, nil
		}
		// Somebody who sweeps saw the directory before it was locked, and removes it.
		if !errors.Is(err, errHeld) && !errors.Is(err, os.ErrNotExist) {
			return "", nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), os.RemoveAll(dir))
		}
	}
	return "", nil, fmt.Errorf("make a directory in %s: each one was swept at once", parent)
}

// Sweep ends and removes the servers in dir ("" is [os.TempDir]) whose owner died, and returns how many there were. A server whose owner lives is
// left alone, and so is what belongs to another account.
func Sweep(ctx context.Context, dir string) (int, error) {
	dir, err := realDir(dir)
	if err != nil {
		return 0, fmt.Errorf("sweep scratch servers: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("sweep scratch servers: %w", err)
	}
	swept := 0
	var problems []error
	for _, entry := range entries {
		if context.Cause(ctx) != nil {
			problems = append(problems, context.Cause(ctx))
			break
		}
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		switch err := sweepOne(path); {
		case err == nil:
			swept++
		case !errors.Is(err, errHeld) && !errors.Is(err, errForeign) && !errors.Is(err, os.ErrNotExist):
			problems = append(problems, fmt.Errorf("sweep scratch server in %s: %w", path, err))
		}
	}
	return swept, errors.Join(problems...)
}

// errForeign says that a directory is neither ours nor of the account that runs our servers. It may hold anything.
var errForeign = errors.New("belongs to another account")

func sweepOne(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || !isOurs(info) {
		return errForeign
	}
	lock, err := tryLock(dir)
	if err != nil {
		return err
	}
	if err := endOrphan(filepath.Join(dir, dataDir)); err != nil {
		return errors.Join(err, lock.Close())
	}
	return removeLocked(dir, lock)
}

// endOrphan ends the server that runs in a data directory, if one does. The process is held before it is proven to be that server, so that it cannot be
// another one with the same id by the time it gets a signal.
func endOrphan(data string) error {
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 1 {
		return nil // not written yet, or by initdb, whose processes have negative ids here and end by themselves
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil
	}
	defer process.Release()
	if !runs(pid, data, lines) {
		return nil
	}
	if err := interrupt(process); err != nil {
		return ignoreDone(err)
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !runs(pid, data, lines) {
			return nil
		}
	}
	if err := process.Kill(); err != nil {
		return ignoreDone(err)
	}
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !runs(pid, data, lines) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}

func ignoreDone(err error) error {
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
