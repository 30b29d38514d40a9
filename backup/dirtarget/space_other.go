//go:build !linux && !darwin && !freebsd && !windows

package dirtarget

import "errors"

func (t *Target) freeSpace() (int64, error) { return 0, errors.ErrUnsupported }
