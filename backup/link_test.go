//go:build unix

package backup_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/sftptarget"
	"github.com/runbook-go/runbook/internal/faultconn"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/internal/sshtest"
)

// linkRun backs up three databases over SFTP, and does harm when the third begins: one is then stored for certain, and another may be about to be.
func linkRun(t *testing.T, server *pgtest.Server, addr, root string, config *ssh.ClientConfig, harm func()) (*backup.Report, error) {
	t.Helper()
	target, err := sftptarget.Open(t.Context(), addr, config, sftptarget.Options{Root: root, KeepAlive: 200 * time.Millisecond, Misses: 3, DialAttempts: 1})
	require.NoError(t, err)
	defer target.Close()
	store := newStore(t, target, filestore.Options{LeaseTTL: 2 * time.Second})
	begun := 0
	return backup.Run(t.Context(), server.DSN(), store, backup.Options{
		Select: backup.Selection{Include: []string{"link_*"}}, NoGlobals: true, Workers: 1, SweepAfter: time.Nanosecond,
		Hooks: backup.Hooks{BeforeDatabase: func(context.Context, string) error {
			if begun++; begun == 3 && harm != nil {
				harm()
			}
			return nil
		}},
	})
}

// The way to the backup server fails in the middle of a run. The run ends in bounded time and says what happened; the next one heals.
func TestTheLinkFails(t *testing.T) {
	server := pgtest.Start(t)
	for _, name := range []string{"link_a", "link_b", "link_c"} {
		create(t, server, name)
		server.Exec(t, name, `CREATE TABLE bulk AS SELECT md5(i::text || random()) AS t FROM generate_series(1, 30000) i`)
	}
	for name, test := range map[string]struct {
		harm func(*faultconn.Relay, *sshtest.Daemon)
		heal func(*faultconn.Relay, *sshtest.Daemon)
		fine bool // nothing fails, it only takes longer
	}{
		"cut":    {harm: func(r *faultconn.Relay, _ *sshtest.Daemon) { r.CutAfter(200_000) }},
		"frozen": {harm: func(r *faultconn.Relay, _ *sshtest.Daemon) { r.Freeze() }, heal: func(r *faultconn.Relay, _ *sshtest.Daemon) { r.Thaw() }},
		"slowed": {harm: func(r *faultconn.Relay, _ *sshtest.Daemon) { r.Slow(2 << 20) }, heal: func(r *faultconn.Relay, _ *sshtest.Daemon) { r.Slow(0) }, fine: true},
		"server stopped": {
			harm: func(_ *faultconn.Relay, d *sshtest.Daemon) { d.Stop() },
			heal: func(_ *faultconn.Relay, d *sshtest.Daemon) { d.Start(t) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			daemon := sshtest.Sshd(t)
			relay, err := faultconn.NewRelay(daemon.Addr)
			require.NoError(t, err)
			defer relay.Close()
			root := t.TempDir()
			config := daemon.ClientConfig()
			config.Timeout = 2 * time.Second

			started := time.Now()
			report, err := linkRun(t, server, relay.Addr(), root, config, func() { test.harm(relay, daemon) })
			require.Less(t, time.Since(started), time.Minute, "a broken link must not hang the run")
			if test.fine {
				require.NoError(t, err, "%s", report)
			} else {
				failed, ok := errors.AsType[*backup.DatabaseError](err)
				require.True(t, ok, "%v", err)
				require.True(t, failed.Retryable, "%v", err)
				_, ok = errors.AsType[*sftptarget.LinkError](err)
				require.True(t, ok, "%v", err)
				require.Positive(t, report.Count(backup.BackedUp), "%s", report)
			}
			if test.heal != nil {
				test.heal(relay, daemon)
			}
			time.Sleep(2 * time.Second) // the life of a lease whose release was cut off
			report, err = linkRun(t, server, relay.Addr(), root, config, nil)
			require.NoError(t, err, "%s", report)
			require.Equal(t, 3, report.Count(backup.BackedUp))
			wholeAndNothingElse(t, root, report.Run)
		})
	}
}

// wholeAndNothingElse looks at the files themselves: archives and manifests in pairs, and neither temporary files nor leases.
func wholeAndNothingElse(t *testing.T, root, run string) {
	t.Helper()
	archives, manifests := 0, 0
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
		case strings.HasSuffix(path, ".dump.zst"):
			archives++
		case strings.HasSuffix(path, ".json") && !strings.Contains(path, "leases"):
			manifests++
		default:
			t.Errorf("%s is left over of run %s", path, run)
		}
		return err
	}))
	require.GreaterOrEqual(t, archives, 3)
	require.Equal(t, archives, manifests)
}

func TestTheServersDiskIsFull(t *testing.T) {
	server := pgtest.Start(t)
	for _, name := range []string{"link_a", "link_b", "link_c"} {
		create(t, server, name)
		server.Exec(t, name, `CREATE TABLE bulk AS SELECT md5(i::text || random()) AS t FROM generate_series(1, 30000) i`)
	}
	ssh := sshtest.Start(t, sshtest.Options{})
	report, err := linkRun(t, server, ssh.Addr, "/backup", ssh.ClientConfig(), func() { ssh.SetFree(100_000) })
	require.ErrorIs(t, err, syscall.ENOSPC, "%s", report)
	require.ErrorContains(t, err, "apply retention")
	require.Positive(t, report.Count(backup.BackedUp), "%s", report)
	require.Positive(t, report.Count(backup.Failed), "%s", report)
	ssh.SetFree(-1)
	time.Sleep(2 * time.Second)
	report, err = linkRun(t, server, ssh.Addr, "/backup", ssh.ClientConfig(), nil)
	require.NoError(t, err, "%s", report)
	wholeAndNothingElse(t, ssh.Dir, report.Run)

	target, err := sftptarget.Open(t.Context(), ssh.Addr, ssh.ClientConfig(), sftptarget.Options{Root: "/backup"})
	require.NoError(t, err)
	defer target.Close()
	for s, err := range newStore(t, target, filestore.Options{}).List(t.Context(), catalog.Query{}) {
		require.NoError(t, err)
		archive(t, newStore(t, target, filestore.Options{}), &s.Manifest)
	}
}
