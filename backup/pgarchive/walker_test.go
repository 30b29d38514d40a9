package pgarchive_test

import (
	"bytes"
	"io"
	"io/fs"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/pgarchive"
)

// feed writes archive in pieces of size bytes and closes.
func feed(archive []byte, size int) (*pgarchive.Summary, error) {
	w := pgarchive.NewWalker()
	for len(archive) > 0 {
		n := min(size, len(archive))
		if _, err := w.Write(archive[:n]); err != nil {
			break
		}
		archive = archive[n:]
	}
	return w.Close()
}

func TestWalkerIsWalk(t *testing.T) {
	for name, archive := range samples(t) {
		want, wantErr := pgarchive.Walk(bytes.NewReader(archive))
		for _, size := range []int{1, 7, 4096, len(archive)} {
			got, err := feed(archive, size)
			require.Equal(t, wantErr, err, name)
			require.Equal(t, want, got, name)
		}
	}
	archive := golden(t)["pg_dump-15"]
	for n := 0; n < len(archive); n += 7 {
		_, want := pgarchive.Walk(bytes.NewReader(archive[:n]))
		_, err := feed(archive[:n], 1000)
		require.Equal(t, want, err)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

func TestWalkerStopsAtTheFirstError(t *testing.T) {
	w := pgarchive.NewWalker()
	n, err := w.Write([]byte("PGDMP\x01\x0e\x00\x04\x08\x01" + "\x07"))
	require.NoError(t, err)
	require.Equal(t, 12, n)
	_, first := w.Write(make([]byte, 100))
	require.ErrorContains(t, first, "cannot have written")
	for range 2 {
		n, err = w.Write([]byte("more"))
		require.Zero(t, n)
		require.Equal(t, first, err)
		s, err := w.Close()
		require.Nil(t, s)
		require.Equal(t, first, err)
	}
	w.Abort()
	_, err = w.Close()
	require.Equal(t, first, err)
}

func TestWalkerBehindTheEnd(t *testing.T) {
	archive := golden(t)["pg_dump-15"]
	w := pgarchive.NewWalker()
	_, err := w.Write(archive)
	require.NoError(t, err)
	_, err = w.Write(nil)
	require.NoError(t, err)
	s, err := w.Close()
	require.NoError(t, err)
	require.Equal(t, walk(t, archive), s)
	w.Abort()
	again, err := w.Close()
	require.NoError(t, err)
	require.Same(t, s, again)
	_, err = w.Write([]byte{0})
	require.ErrorIs(t, err, fs.ErrClosed)

	w = pgarchive.NewWalker()
	_, err = w.Write(append(bytes.Clone(archive), 0))
	require.ErrorContains(t, err, "goes on behind its end")
	_, err = pgarchive.NewWalker().Close()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestAbortedWalkersLeaveNothingRunning(t *testing.T) {
	archive := golden(t)["pg_dump-15"]
	before := runtime.NumGoroutine()
	for n := range 200 {
		w := pgarchive.NewWalker()
		if n > 0 {
			_, err := w.Write(archive[:n*len(archive)/200])
			require.NoError(t, err)
		}
		w.Abort()
		w.Abort()
		_, err := w.Write(archive)
		require.ErrorIs(t, err, fs.ErrClosed)
		s, err := w.Close()
		require.ErrorIs(t, err, fs.ErrClosed)
		require.Nil(t, s)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}

func TestAbortWhileOthersWrite(t *testing.T) {
	archive := golden(t)["pg_dump-15"]
	for range 50 {
		w := pgarchive.NewWalker()
		var group sync.WaitGroup
		group.Go(func() {
			for n := range archive {
				if _, err := w.Write(archive[n : n+1]); err != nil {
					return
				}
			}
		})
		group.Go(w.Abort)
		group.Wait()
		w.Abort()
		_, err := w.Close()
		require.ErrorIs(t, err, fs.ErrClosed)
	}
}
