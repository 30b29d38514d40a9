// Package redacttest helps tests to show that no secret is given to a child process by way of its arguments, where everybody on the
// machine can read it.
package redacttest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/internal/redact"
)

// Recorder is a runner that notes every command and hands it on to Runner, or takes it as run if Runner is nil.
type Recorder struct {
	Runner runbook.Runner

	mu       sync.Mutex
	commands []runbook.Cmd
}

// Run implements [runbook.Runner].
func (r *Recorder) Run(ctx context.Context, c runbook.Cmd) error {
	r.mu.Lock()
	r.commands = append(r.commands, c)
	r.mu.Unlock()
	if r.Runner == nil {
		return nil
	}
	return r.Runner.Run(ctx, c)
}

// Commands returns what was run so far.
func (r *Recorder) Commands() []runbook.Cmd {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.commands)
}

// Leaks returns the command lines in which a secret stands.
func (r *Recorder) Leaks(secrets ...string) (leaks []string) {
	known := redact.New(secrets...)
	for _, c := range r.Commands() {
		line := strings.Join(append([]string{c.Path, c.Dir}, c.Args...), " ")
		if len(known.Find(line)) > 0 {
			leaks = append(leaks, line)
		}
	}
	return leaks
}

// Watch looks at the command lines of all processes of the machine over and over until stop is called. stop returns those in which
// a secret stood, and how many processes were looked at. It reads /proc and so sees nothing where there is none; a process that lives for less
// than a millisecond can be missed.
func Watch(secrets ...string) (stop func() (leaks []string, seen int)) {
	known := redact.New(secrets...)
	lines := make(map[string]bool) // command line to whether it leaks
	quit, done := make(chan struct{}), make(chan struct{})
	look := func() {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, file := range files {
			args, err := os.ReadFile(file)
			if err != nil || len(args) == 0 {
				continue // it has ended, or is a thread of the kernel
			}
			line := strings.ReplaceAll(string(args), "\x00", " ")
			if _, before := lines[line]; before {
				continue
			}
			lines[line] = len(known.Find(line)) > 0
		}
	}
	go func() {
		defer close(done)
		for {
			look()
			select {
			case <-quit:
				return
			case <-time.After(500 * time.Microsecond):
			}
		}
	}()
	return sync.OnceValues(func() (leaks []string, seen int) {
		close(quit)
		<-done
		for line, leak := range lines {
			if leak {
				leaks = append(leaks, line)
			}
		}
		slices.Sort(leaks)
		return leaks, len(lines)
	})
}
