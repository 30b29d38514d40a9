package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/runbook-go/runbook"
)

// pipeBuffer is how much of a dump may lie between the program that writes it and us, in bytes: enough for it not to wait for each piece that we
// hash and compress.
const pipeBuffer = 1 << 20

// pipeGrace is how long an empty pipe may stay open after the program has ended, as something that it started holds it.
const pipeGrace = 10 * time.Second

// runInto runs a command whose standard output goes to w through a pipe of its own. os/exec would use one of 64 KiB and move 32 KiB at a time. An error
// of w ends the command and is returned. However slow w is, it gets everything.
func runInto(ctx context.Context, runner runbook.Runner, c runbook.Cmd, w io.Writer, grace time.Duration) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	widen(in, pipeBuffer)
	r := &unhurried{pipe: out, grace: grace}
	copied := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, r, make([]byte, pipeBuffer/4))
		out.Close() // whoever still writes is told so
		copied <- err
	}()
	c.Stdout = in
	runErr := runner.Run(ctx, c)
	in.Close()
	r.end()
	err = <-copied
	if staged, ok := errors.AsType[*stageError](err); ok {
		return staged
	}
	if runErr != nil {
		return runErr
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s has ended, but something that it started still holds its output", c.Path)
	}
	return err
}

// unhurried reads from a pipe after a moment in which more has gathered, if the read before found little. pg_dump writes 4 KiB at a time: to be woken for
// each would cost both sides more than the work on it.
type unhurried struct {
	pipe  *os.File
	grace time.Duration
	ended atomic.Bool // the program that writes has
}

// end bounds every read from now on, the one under way included: what is in the pipe comes at once.
func (u *unhurried) end() {
	u.ended.Store(true)
	u.bound()
}

func (u *unhurried) bound() {
	// Pipes of Windows know no deadlines; there a descendant that holds the pipe is waited for.
	_ = u.pipe.SetReadDeadline(time.Now().Add(u.grace))
}

func (u *unhurried) Read(p []byte) (int, error) {
	if u.ended.Load() {
		u.bound()
	}
	n, err := u.pipe.Read(p)
	if err == nil && n < len(p)/2 {
		time.Sleep(time.Millisecond)
	}
	return n, err
}
