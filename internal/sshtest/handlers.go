package sshtest

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pkg/sftp"
)

// handlers serve one SFTP session from the server's directory.
type handlers struct{ *Server }

func (h *handlers) before(op, path string) error {
	if h.options.Before == nil {
		return nil
	}
	return h.options.Before(op, path)
}

func (h *handlers) local(path string) string { return filepath.Join(h.Dir, filepath.FromSlash(path)) }

func (h *handlers) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	if err := h.before("open", r.Filepath); err != nil {
		return nil, err
	}
	f, err := os.Open(h.local(r.Filepath))
	if err != nil {
		return nil, err
	}
	return &file{f, h, r.Filepath}, nil
}

func (h *handlers) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	if err := h.before("create", r.Filepath); err != nil {
		return nil, err
	}
	flags := os.O_WRONLY
	for flag, set := range map[int]bool{os.O_CREATE: r.Pflags().Creat, os.O_EXCL: r.Pflags().Excl, os.O_TRUNC: r.Pflags().Trunc} {
		if set {
			flags |= flag
		}
	}
	f, err := os.OpenFile(h.local(r.Filepath), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &file{f, h, r.Filepath}, nil
}

type file struct {
	*os.File
	h    *handlers
	path string
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.h.before("write", f.path); err != nil {
		return 0, err
	}
	if f.h.free.Load() >= 0 && f.h.free.Add(-int64(len(p))) < 0 {
		f.h.free.Store(0)
		return 0, &fs.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
	}
	return f.File.WriteAt(p, off)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.h.before("read", f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *file) Close() error {
	if err := f.h.before("close", f.path); err != nil {
		f.File.Close()
		return err
	}
	return f.File.Close()
}

func (h *handlers) Filecmd(r *sftp.Request) error {
	op := map[string]string{
		"Setstat": "setstat", "Rename": "rename", "Rmdir": "rmdir", "Mkdir": "mkdir",
		"Link": "link", "Remove": "remove",
	}[r.Method]
	if err := h.before(op, r.Filepath); err != nil {
		return err
	}
	path, target := h.local(r.Filepath), h.local(r.Target)
	switch op {
	case "setstat":
		if r.AttrFlags().Permissions {
			return os.Chmod(path, r.Attributes().FileMode().Perm())
		}
		return nil
	case "rename":
		if _, err := os.Lstat(target); err == nil && !h.options.Overwrite {
			return fs.ErrExist
		}
		return os.Rename(path, target)
	case "link":
		if h.options.NoLinks {
			return syscall.ENOTSUP
		}
		return os.Link(path, target)
	case "mkdir":
		return os.Mkdir(path, 0o755)
	case "rmdir":
		return syscall.Rmdir(path)
	case "remove":
		return os.Remove(path)
	}
	return sftp.ErrSSHFxOpUnsupported
}

// PosixRename implements posix-rename@openssh.com.
func (h *handlers) PosixRename(r *sftp.Request) error {
	if err := h.before("posix-rename", r.Filepath); err != nil {
		return err
	}
	return os.Rename(h.local(r.Filepath), h.local(r.Target))
}

// StatVFS implements statvfs@openssh.com. It knows of 1 TB free unless [Server.SetFree] was called.
func (h *handlers) StatVFS(r *sftp.Request) (*sftp.StatVFS, error) {
	if _, err := os.Stat(h.local(r.Filepath)); err != nil {
		return nil, err
	}
	free := h.free.Load()
	if free < 0 {
		free = 1e12
	}
	return &sftp.StatVFS{Bsize: 1, Frsize: 1, Blocks: 1e13, Bfree: uint64(free), Bavail: uint64(free)}, nil
}

func (h *handlers) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	path := h.local(r.Filepath)
	switch r.Method {
	case "List":
		if err := h.before("list", r.Filepath); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, err
		}
		var list lister
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				list = append(list, info)
			}
		}
		return list, nil
	case "Stat":
		if err := h.before("stat", r.Filepath); err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		return lister{info}, nil
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

type lister []fs.FileInfo

func (l lister) ListAt(into []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(into, l[offset:])
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}
