package dirtarget

import (
	"os"
	"time"
)

// SetLink replaces what gives a file a second name.
func (t *Target) SetLink(link func(oldname, newname string) error) { t.link = link }

// SetSyncDir replaces what syncs a folder and returns what it was.
func (t *Target) SetSyncDir(f func(*os.Root, string) error) (was func(*os.Root, string) error) {
	was, t.syncDir = t.syncDir, f
	return was
}

// SetPatience replaces the time that a lock is waited for.
func (t *Target) SetPatience(d time.Duration) { t.patience = d }

// LockName is the name of the lock file of a key.
func LockName(key string) string { return lockName(key) }
