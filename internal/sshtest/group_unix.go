//go:build unix

package sshtest

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the command the leader of a process group, which the processes that serve sessions belong to as well.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
