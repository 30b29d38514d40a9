//go:build bench && linux

package backup_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup"
	"github.com/runbook-go/runbook/backup/dirtarget"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/sftptarget"
	"github.com/runbook-go/runbook/internal/pgtest"
	"github.com/runbook-go/runbook/internal/sshtest"
)

var (
	benchClones = flag.Int("clones", 100, "databases to back up")
	benchRounds = flag.Int("rounds", 5, "times that each contestant runs")
	benchScale  = flag.Float64("scale", 1, "size of a database; 1 is about 30 MB of dump")
)

// contestant is one way to back up all the databases into an empty directory.
type contestant struct {
	name string
	run  func(dir string) error
	cost []cost
}

type cost struct {
	wall, cpu time.Duration // CPU of the tool, its children and the PostgreSQL server
	rss       int64         // peak resident bytes of this process; 0 for the peers
	stored    int64         // bytes in the directory
}

// TestPeers measures this package against what people use, on the same databases in the same run, in turns.
func TestPeers(t *testing.T) {
	server := pgtest.Start(t)
	server.ERP(t, "bench_template", *benchScale)
	server.Exec(t, "", "ALTER DATABASE bench_template ALLOW_CONNECTIONS false")
	var names []string
	for i := range *benchClones {
		name := fmt.Sprintf("bench_%03d", i)
		server.CreateDatabase(t, name, "TEMPLATE bench_template STRATEGY file_copy")
		names = append(names, name)
	}
	server.Exec(t, "", "CHECKPOINT")
	daemon := sshtest.Sshd(t)
	password := server.Conn().Secrets()[0]
	conninfo := strings.Replace(strings.TrimPrefix(server.Conn().Args("x")[1], "--dbname="), "dbname='x' ", "", 1)

	shell := func(script string) func(string) error {
		return func(dir string) error {
			cmd := exec.Command("sh", "-c", script, "sh", dir)
			cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "CONNINFO="+conninfo, "RESTIC_PASSWORD=x", "RESTIC_CACHE_DIR="+filepath.Join(dir, "cache"))
			cmd.Stdin = strings.NewReader(strings.Join(names, "\n") + "\n")
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}
	}
	pgDump := server.Tools().Path("pg_dump")
	one := func(options, then string) string {
		return fmt.Sprintf(`DIR="$1" xargs -P2 -I{} sh -c 'set -e; %s %s --no-password "$CONNINFO dbname={}" %s'`, pgDump, options, then)
	}
	ours := func(target func(dir string) (runbook.Target, error)) func(string) error {
		return func(dir string) error {
			tgt, err := target(dir)
			if err != nil {
				return err
			}
			store, err := filestore.New(tgt, filestore.Options{})
			if err != nil {
				return err
			}
			report, err := backup.Run(t.Context(), server.DSN(), store, backup.Options{
				Select: backup.Selection{Include: []string{"bench_[0-9]*"}}, Workers: 2, NoGlobals: true,
			})
			if err == nil && report.Count(backup.BackedUp) != len(names) {
				err = fmt.Errorf("backed up %d of %d", report.Count(backup.BackedUp), len(names))
			}
			return err
		}
	}
	sftp := fmt.Sprintf("sftp -q -b - %s 127.0.0.1", strings.Join(daemon.SSHArgs(t, daemon.Addr), " "))
	contestants := []*contestant{
		{name: "pg_dump -Fc, 2 at a time", run: shell(one("-Fc", `> "$DIR/{}.dump"`))},
		{name: "pg_dump | zstd -1, 2 at a time", run: shell(one("-Fp", `| zstd -q -1 > "$DIR/{}.sql.zst"`))},
		{name: "runbook, directory", run: ours(func(dir string) (runbook.Target, error) { return dirtarget.Open(dir, dirtarget.Options{}) })},
		{name: "pg_dump -Fc, 2 at a time, then sftp", run: func(dir string) error {
			local := t.TempDir()
			if err := shell(one("-Fc", `> "$DIR/{}.dump"`))(local); err != nil {
				return err
			}
			cmd := exec.Command("sh", "-c", fmt.Sprintf("echo put '%s/*' '%s/' | %s", local, dir, sftp))
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return os.RemoveAll(local)
		}},
		{name: "runbook, sftp", run: ours(func(dir string) (runbook.Target, error) {
			return sftptarget.Open(t.Context(), daemon.Addr, daemon.ClientConfig(), sftptarget.Options{Root: dir})
		})},
	}
	if _, err := exec.LookPath("restic"); err == nil {
		contestants = append(contestants, &contestant{name: "pg_dump | restic, 2 at a time", run: func(dir string) error {
			if err := shell(`restic -q -r "$1/repo" init`)(dir); err != nil {
				return err
			}
			return shell(one("-Fp", `| restic -q -r "$DIR/repo" backup --stdin --stdin-filename "{}.sql"`))(dir)
		}})
	} else {
		t.Log("restic is not installed and is left out")
	}
	for range *benchRounds {
		for _, c := range contestants {
			c.measure(t, server)
		}
	}
	base := contestants[0]
	baseSFTP := contestants[3]
	t.Logf("%d databases, scale %g, %d rounds, medians; ratios to %q, for sftp to %q", *benchClones, *benchScale, *benchRounds, base.name, baseSFTP.name)
	for _, c := range contestants {
		to := base
		if strings.Contains(c.name, "sftp") {
			to = baseSFTP
		}
		t.Logf("%-36s wall %7.2fs ratio %.2f   cpu %7.2fs ratio %.2f   peak rss %4d MiB   stored %6.1f MB", c.name,
			c.median(wall), c.median(wall)/to.median(wall), c.median(cpu), c.median(cpu)/to.median(cpu), int64(c.median(rss))>>20, c.median(stored)/1e6)
	}
}

func wall(c cost) float64   { return c.wall.Seconds() }
func cpu(c cost) float64    { return c.cpu.Seconds() }
func rss(c cost) float64    { return float64(c.rss) }
func stored(c cost) float64 { return float64(c.stored) }

func (c *contestant) median(of func(cost) float64) float64 {
	var all []float64
	for _, one := range c.cost {
		all = append(all, of(one))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func (c *contestant) measure(t *testing.T, server *pgtest.Server) {
	t.Helper()
	dir := t.TempDir()
	debug.FreeOSMemory()
	require.NoError(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // resets the peak
	before, start := cpuTime(t, server), time.Now()
	require.NoError(t, c.run(dir), c.name)
	one := cost{wall: time.Since(start), cpu: cpuTime(t, server) - before, rss: peakRSS(t)}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if info, infoErr := d.Info(); err == nil && infoErr == nil && !d.IsDir() {
			one.stored += info.Size()
		}
		return err
	}))
	require.NoError(t, os.RemoveAll(dir))
	c.cost = append(c.cost, one)
	t.Logf("%-36s %6.2fs %6.2f CPU-s", c.name, one.wall.Seconds(), one.cpu.Seconds())
}

// cpuTime is what this process, its children that ended, and the PostgreSQL server with its backends have used. The sshd is a grandchild of init's and is not counted.
func cpuTime(t *testing.T, server *pgtest.Server) (total time.Duration) {
	t.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		require.NoError(t, syscall.Getrusage(who, &u))
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	var directory string
	conn, err := server.Conn().Connect(context.Background(), "")
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(context.Background(), "SHOW data_directory").Scan(&directory))
	pidFile, err := os.ReadFile(filepath.Join(directory, "postmaster.pid"))
	require.NoError(t, err)
	postmaster, _, _ := strings.Cut(string(pidFile), "\n")
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		isPostmaster := path == "/proc/"+postmaster+"/stat"
		if !isPostmaster && fields[1] != postmaster {
			continue
		}
		used := fields[11:13] // utime, stime
		if isPostmaster {
			used = fields[11:15] // and those of its children that ended
		}
		for _, f := range used {
			ticks, err := strconv.ParseInt(f, 10, 64)
			require.NoError(t, err)
			total += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return total
}

func peakRSS(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, err = fmt.Sscan(after, &kib)
	require.NoError(t, err)
	runtime.KeepAlive(status)
	return kib << 10
}
