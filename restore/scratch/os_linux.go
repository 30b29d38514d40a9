package scratch

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel send the child SIGQUIT when the thread that starts it ends; see spawn.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT }

// runs reports whether a process is the server of a data directory: that is the working directory of a server.
func runs(pid int, data string, _ []string) bool {
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && cwd == data
}
