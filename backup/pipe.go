package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/runbook-go/runbook"
)

// pipeBuffer is how much of a dump may lie between the program that writes it and us, in bytes: enough for it not to wait for each piece that we
// hash and compress.
const pipeBuffer = 1 << 20

// runInto runs a command whose standard output goes to w through a pipe of its own. os/exec would use one of 64 KiB and move 32 KiB at a time. An error
// of w ends the command and is returned.
func runInto(ctx context.Context, runner runbook.Runner, c runbook.Cmd, w io.Writer) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	widen(in, pipeBuffer)
	copied := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, unhurried{out}, make([]byte, pipeBuffer/4))
		out.Close() // whoever still writes is told so
		copied <- err
	}()
	c.Stdout = in
	runErr := runner.Run(ctx, c)
	in.Close()
	select {
	case err = <-copied:
	case <-time.After(10 * time.Second): // a descendant of the command holds the pipe open
		out.Close()
		err = errors.Join(errors.New("the program has ended, but something that it started still writes"), <-copied)
	}
	if staged, ok := errors.AsType[*stageError](err); ok {
		return staged
	}
	if runErr != nil {
		return runErr
	}
	return err
}

// unhurried reads from a pipe after a moment in which more has gathered, if the read before found little. pg_dump writes 4 KiB at a time: to be woken for
// each would cost both sides more than the work on it.
type unhurried struct{ pipe io.Reader }

func (u unhurried) Read(p []byte) (int, error) {
	n, err := u.pipe.Read(p)
	if err == nil && n < len(p)/2 {
		time.Sleep(time.Millisecond)
	}
	return n, err
}
