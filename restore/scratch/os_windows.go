package scratch

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

const removableWhileLocked = false

// account is always ours.
type account struct{}

func serverAccount() (account, error) { return account{}, nil }

func (account) own(string) error { return nil }

func (account) run(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

func (account) mayEnter(string) error { return nil }

func isOurs(os.FileInfo) bool { return true }

// tryLock opens a file in the directory that nobody else can open meanwhile. Windows closes it when we die.
func tryLock(dir string) (io.Closer, error) {
	name, err := windows.UTF16PtrFromString(filepath.Join(dir, "owner"))
	if err != nil {
		return nil, err
	}
	handle, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_ALWAYS, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return nil, errHeld
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(handle), "owner"), nil
}

// interrupt ends the server: Windows has no signal for it. Its children notice.
func interrupt(p *os.Process) error { return p.Kill() }

func killGroup(p *os.Process) error {
	if err := exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(p.Pid)).Run(); err == nil {
		return nil
	}
	return p.Kill()
}

// dieWithUs does nothing. What is left is swept.
func dieWithUs(*exec.Cmd) {}

// runs reports whether a process is the server of a data directory: the third line of its postmaster.pid has the second at which the server started.
func runs(pid int, _ string, lines []string) bool {
	if len(lines) < 3 {
		return false
	}
	started, err := strconv.ParseInt(strings.TrimSpace(lines[2]), 10, 64)
	if err != nil {
		return false
	}
	handle, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return false
	}
	defer windows.CloseHandle(handle)
	var creation, exit, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(handle, &creation, &exit, &kernel, &user); err != nil || exit.Nanoseconds() > 0 {
		return false
	}
	return time.Unix(0, creation.Nanoseconds()).Sub(time.Unix(started, 0)).Abs() < 5*time.Second
}
