//go:build unix

package scratch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

const removableWhileLocked = true

// account is who runs the server.
type account struct {
	name     string
	uid, gid uint32
	other    bool // not us
}

// serverAccount is ours, or if we are root, whose server PostgreSQL refuses to be, another one.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return account{name: name, uid: uint32(uid), gid: uint32(gid), other: true}, nil
		}
	}
	return account{}, errors.New("we are root, as which PostgreSQL does not run, and there is no account postgres or nobody to run it as; add one")
}

func (a account) own(path string) error {
	if !a.other {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

func (a account) run(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if a.other {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
}

// mayEnter tells early, and in words, what PostgreSQL would only call "Permission denied".
func (a account) mayEnter(dir string) error {
	for ; a.other; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		bit := os.FileMode(0o001)
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid == a.uid {
			bit = 0o100
		} else if ok && stat.Gid == a.gid {
			bit = 0o010
		}
		if info.Mode()&bit == 0 {
			return fmt.Errorf("as we are root the server runs as %s, who may not enter %s; give another Dir or chmod it to 711", a.name, dir)
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return nil
}

func isOurs(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	who, err := serverAccount()
	return stat.Uid == uint32(os.Geteuid()) || err == nil && stat.Uid == who.uid
}

// tryLock locks a directory. The lock ends when it is closed or when we die, and our children do not inherit it.
func tryLock(dir string) (io.Closer, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := lockOpen(f, dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func lockOpen(f *os.File, dir string) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errHeld
	}
	if err != nil {
		return err
	}
	// Whoever had the lock before may have removed the directory.
	locked, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !os.SameFile(locked, there) {
		return os.ErrNotExist
	}
	return nil
}

// interrupt asks a server for PostgreSQL's "immediate shutdown": it ends its children and frees its shared memory.
func interrupt(p *os.Process) error { return p.Signal(syscall.SIGQUIT) }

func killGroup(p *os.Process) error {
	err := syscall.Kill(-p.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
