package backup

import (
	"os"

	"golang.org/x/sys/unix"
)

// widen makes a pipe hold more. That it cannot be, because of /proc/sys/fs/pipe-user-pages-soft, costs speed only.
func widen(pipe *os.File, bytes int) {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, bytes)
	})
}
