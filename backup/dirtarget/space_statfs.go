//go:build linux || darwin || freebsd

package dirtarget

import "golang.org/x/sys/unix"

func (t *Target) freeSpace() (int64, error) {
	d, err := t.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer d.Close()
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &stat); err != nil {
		return 0, err
	}
	return max(0, int64(stat.Bavail)) * int64(stat.Bsize), nil
}
