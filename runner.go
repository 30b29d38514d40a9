package runbook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// Runner runs one command, on this machine or on another.
type Runner interface {
	// Run starts c, waits for it to end and returns nil if it exited 0, an [*ExitError] if it ended otherwise, and another error
	// if it could not be run. When ctx ends the command and everything it started are killed, and the error matches the
	// context's cause. Run must not use the command's streams after it returns; so a Read or Write of theirs that blocks for ever
	// keeps Run from returning.
	Run(ctx context.Context, c Cmd) error
}

// RunnerFunc makes a function a [Runner].
type RunnerFunc func(ctx context.Context, c Cmd) error

// Run calls f.
func (f RunnerFunc) Run(ctx context.Context, c Cmd) error { return f(ctx, c) }

// Cmd is a command to run. No shell is involved. Arguments can be seen by everybody on the machine: a secret belongs in Env or in a
// file that only its owner can read. Stdout and Stderr are written to at the same time: give each its own, or one that is safe for
// concurrent use.
type Cmd struct {
	Path   string   // program, absolute or looked up by the runner
	Args   []string // arguments, without the program's name
	Env    []string // the whole environment as "NAME=value"; nil is an empty environment
	Dir    string   // working directory; empty is the runner's
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer // receives standard error as well as the error's tail does
}

// ExitError says that a command ran and did not exit 0.
type ExitError struct {
	Path   string
	Code   int    // exit code, or -1 if a signal ended it
	Signal string // the signal's name, or empty
	Stderr string // the end of what it wrote to standard error, at most 8 KiB
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		how = "signal " + e.Signal
	}
	if e.Stderr == "" {
		return fmt.Sprintf("%s: %s", e.Path, how)
	}
	return fmt.Sprintf("%s: %s: %s", e.Path, how, e.Stderr)
}

// Local is a [Runner] for this machine. The zero value is ready to use. A command gets a process group of its own (on Windows:
// its own console group), and the whole group is killed when the context ends. What a command leaves running when it ends by itself
// is left alone.
type Local struct {
	// WaitDelay bounds the wait for the command's streams after it was killed or after it exited while a descendant keeps them
	// open. 0 means 5 seconds.
	WaitDelay time.Duration
}

// Run implements [Runner].
func (l Local) Run(ctx context.Context, c Cmd) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("run %s: %w", c.Path, err)
	}
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = c.Env
	if cmd.Env == nil {
		cmd.Env = []string{} // os/exec takes nil for "inherit"
	}
	cmd.Dir, cmd.Stdin, cmd.Stdout = c.Dir, c.Stdin, c.Stdout
	tail := &tailWriter{max: 8 << 10}
	cmd.Stderr = tail
	if c.Stderr != nil {
		cmd.Stderr = io.MultiWriter(tail, c.Stderr)
	}
	cmd.WaitDelay = l.WaitDelay
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = 5 * time.Second
	}
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", c.Path, err)
	}
	// exec.CommandContext would stop watching ctx once the process has exited, while a descendant may still hold its streams.
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		killGroup(cmd.Process)
	})
	err := cmd.Wait()
	if !stop() {
		<-killed
		return fmt.Errorf("run %s: %w", c.Path, context.Cause(ctx))
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &ExitError{Path: c.Path, Code: exit.ExitCode(), Signal: signalName(exit.ProcessState), Stderr: tail.String()}
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("run %s: it exited 0, but something that it started kept its output open: %w", c.Path, err)
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", c.Path, err)
	}
	return nil
}

// tailWriter keeps the last max bytes written to it.
type tailWriter struct {
	max int
	buf []byte
	cut bool
}

func (t *tailWriter) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
		t.cut = true
	}
	return len(p), nil
}

func (t *tailWriter) String() string {
	text := bytes.ToValidUTF8(t.buf, []byte("\uFFFD"))
	mark := ""
	if over := len(text) - t.max; t.cut || over > 0 {
		mark = "… "
		text = text[max(0, over+len(mark)):]
	}
	return mark + string(bytes.TrimSpace(bytes.ToValidUTF8(text, nil)))
}
