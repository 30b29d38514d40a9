package scratch

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// process is a running child.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid after done is closed
}

// spawn starts cmd with the log as its output. If mortal is set the kernel, where it can, ends the child when we die. Linux does so when the *thread*
// that started the child ends, hence the goroutine that keeps its thread to itself for the life of the child.
func (s *Server) spawn(cmd *exec.Cmd, mortal bool) (*process, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, logFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if mortal {
		dieWithUs(cmd)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	}()
	return p, <-started
}

// end stops a server the fast way: without a checkpoint, as its files are going to be removed.
func (p *process) end() error {
	if err := interrupt(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(err, p.kill())
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(10 * time.Second):
		return p.kill()
	}
}

// kill ends the process and those of its group, and waits for it.
func (p *process) kill() error {
	err := killGroup(p.cmd.Process)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-p.done
	return err
}
