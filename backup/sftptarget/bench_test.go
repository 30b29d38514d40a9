package sftptarget_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/sftptarget"
	"github.com/runbook-go/runbook/internal/faultconn"
	"github.com/runbook-go/runbook/internal/sshtest"
)

var (
	benchSize    = flag.Int("sftp.size", 1000, "megabytes of the large object; at 100 ms a fifth of it, for both sides")
	benchObjects = flag.Int("sftp.objects", 1000, "number of small objects, of 100 KB each")
	benchWorkers = flag.Int("sftp.workers", 128, "small objects put at the same time")
	benchRounds  = flag.Int("sftp.rounds", 5, "interleaved rounds, of which the median counts")
	benchDir     = flag.String("sftp.dir", "", "directory of both ends; default /dev/shm, else a temporary one")
)

// bench is a real sshd behind a relay that adds a round trip, and a place for files.
type bench struct {
	*sshtest.Daemon
	addr string
	dir  string
}

func newBench(b *testing.B, rtt time.Duration) *bench {
	b.Helper()
	d := sshtest.Sshd(b)
	base := *benchDir
	if _, err := os.Stat("/dev/shm"); base == "" && err == nil {
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "sftptarget-bench-")
	require.NoError(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	addr := d.Addr
	if rtt > 0 {
		relay, err := faultconn.NewRelay(d.Addr)
		require.NoError(b, err)
		b.Cleanup(func() { relay.Close() })
		relay.Delay(rtt)
		addr = relay.Addr()
	}
	return &bench{d, addr, dir}
}

// put puts files, and connects first as the peers do.
func (s *bench) put(b *testing.B, files []string, workers int, o sftptarget.Options) {
	o.Root = filepath.Join(s.dir, "ours")
	target, err := sftptarget.Open(b.Context(), s.addr, s.ClientConfig(), o)
	require.NoError(b, err)
	defer target.Close()
	queue := make(chan string)
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for file := range queue {
				f, err := os.Open(file)
				if err == nil {
					err = target.Put(b.Context(), filepath.Base(file), unsized{f})
					f.Close()
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, file := range files {
		queue <- file
	}
	close(queue)
	wait.Wait()
}

func (s *bench) run(b *testing.B, stdin, program string, args ...string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s: %s", program, out)
}

// compare times ours and the peer's in turns and reports the ratio of the medians.
func compare(b *testing.B, bytes int, clean, ours, peer func()) {
	for b.Loop() {
		var times [2][]float64
		for range *benchRounds {
			for i, f := range []func(){ours, peer} {
				clean()
				start := time.Now()
				f()
				times[i] = append(times[i], time.Since(start).Seconds())
			}
		}
		median := func(t []float64) float64 { return slices.Sorted(slices.Values(t))[len(t)/2] }
		our, their := median(times[0]), median(times[1])
		b.ReportMetric(our/their, "x-of-peer")
		b.ReportMetric(float64(bytes)/1e6/our, "MB/s")
		b.ReportMetric(float64(bytes)/1e6/their, "peer-MB/s")
		b.Logf("ours %.3f s (%.3f-%.3f), peer %.3f s (%.3f-%.3f), ratio %.2f", our, slices.Min(times[0]), slices.Max(times[0]),
			their, slices.Min(times[1]), slices.Max(times[1]), our/their)
	}
}

// BenchmarkSFTPPut puts one large object from a stream of unknown size, against "sftp -b".
func BenchmarkSFTPPut(b *testing.B) {
	sftp, err := exec.LookPath("sftp")
	if err != nil {
		b.Skip("there is no sftp here; on Debian: apt-get install openssh-client")
	}
	for _, c := range []struct {
		rtt   time.Duration
		share int
	}{{0, 1}, {10 * time.Millisecond, 1}, {100 * time.Millisecond, 5}} {
		b.Run(fmt.Sprintf("rtt=%v", c.rtt), func(b *testing.B) {
			s := newBench(b, c.rtt)
			data := random(*benchSize * 1e6 / c.share)
			file := filepath.Join(s.dir, "large")
			require.NoError(b, os.WriteFile(file, data, 0o600))
			theirs := filepath.Join(s.dir, "theirs")
			args := append([]string{"-q", "-b", "-"}, s.SSHArgs(b, s.addr)...)
			compare(b, len(data),
				func() { os.RemoveAll(filepath.Join(s.dir, "ours")); os.Remove(theirs) },
				func() { s.put(b, []string{file}, 1, sftptarget.Options{}) },
				func() { s.run(b, fmt.Sprintf("put %s %s\n", file, theirs), sftp, append(args, "127.0.0.1")...) })
		})
	}
}

// BenchmarkSFTPSmall puts many small objects over a link with delay, against rsync over ssh with whole files.
func BenchmarkSFTPSmall(b *testing.B) {
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		b.Skip("there is no rsync here; on Debian: apt-get install rsync")
	}
	for _, rtt := range []time.Duration{0, 10 * time.Millisecond} {
		for _, n := range slices.Compact([]int{min(200, *benchObjects), *benchObjects}) {
			b.Run(fmt.Sprintf("rtt=%v/objects=%d", rtt, n), func(b *testing.B) {
				s := newBench(b, rtt)
				from := filepath.Join(s.dir, "small")
				require.NoError(b, os.Mkdir(from, 0o700))
				data := random(100_000 + n)
				var files []string
				for i := range n {
					files = append(files, filepath.Join(from, fmt.Sprintf("object-%05d", i)))
					require.NoError(b, os.WriteFile(files[i], data[i:][:100_000], 0o600))
				}
				theirs := filepath.Join(s.dir, "theirs")
				shell := "ssh " + strings.Join(s.SSHArgs(b, s.addr), " ")
				compare(b, n*100_000,
					func() { os.RemoveAll(filepath.Join(s.dir, "ours")); os.RemoveAll(theirs) },
					func() { s.put(b, files, *benchWorkers, sftptarget.Options{}) },
					func() { s.run(b, "", rsync, "-rW", "-e", shell, from+"/", "127.0.0.1:"+theirs) })
			})
		}
	}
}
