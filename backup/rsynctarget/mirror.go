package rsynctarget

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Mirror makes a destination hold what a local directory holds, with rsync -a: only what differs is sent. The destination is written as for
// [New]. Unfinished files of a store's target, whose names begin with ".runbook-", are left out. Files that are there and not here stay.
//
// Files are replaced one by one, each atomically. A Mirror that returned an error may have sent some; run it again. The source should be at
// rest: a file that changes meanwhile is sent as it was read.
func Mirror(ctx context.Context, source, destination string, o Options) error {
	if err := mirror(ctx, source, destination, o); err != nil {
		return fmt.Errorf("mirror %s: %w", source, err)
	}
	return nil
}

func mirror(ctx context.Context, source, destination string, o Options) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	c, err := newClient(destination, o)
	if err != nil {
		return err
	}
	source, err = filepath.Abs(source)
	if err != nil {
		return err
	}
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("is not a directory")
	}
	_, err = c.run(ctx, source, nil, append(append([]string{"--archive", "--exclude=.runbook-*"}, c.settings()...), "--", "./", c.at)...)
	return err
}
