package dirtarget

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// noLinks tells whether a link failed because the file system has none, as FAT.
func noLinks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, windows.ERROR_INVALID_FUNCTION)
}

func full(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

func (t *Target) freeSpace() (int64, error) {
	name, err := windows.UTF16PtrFromString(t.root.Name())
	if err != nil {
		return 0, err
	}
	var free uint64
	err = windows.GetDiskFreeSpaceEx(name, &free, nil, nil)
	return int64(free), err
}

// rmdir removes an empty folder and nothing else. [os.Root.Remove] would take an object that has come in the place of the folder.
func (t *Target) rmdir(dir string) error {
	name, err := windows.UTF16PtrFromString(filepath.Join(t.root.Name(), filepath.FromSlash(dir)))
	if err != nil {
		return err
	}
	return windows.RemoveDirectory(name)
}
