package filestore

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUploadLimitIsSharedByAllWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1 << 20)
		start := time.Now()
		for range 4 {
			go func() {
				var sink bytes.Buffer
				n, err := limitedWriter{t.Context(), l, &sink}.Write(make([]byte, 1<<20))
				require.NoError(t, err)
				require.Equal(t, 1<<20, n)
				require.Equal(t, 1<<20, sink.Len())
				require.LessOrEqual(t, time.Since(start), 4*time.Second)
			}()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		before := time.Now()
		_, err := limitedWriter{t.Context(), l, &bytes.Buffer{}}.Write(make([]byte, 2<<20))
		require.NoError(t, err)
		took := time.Since(before)
		require.GreaterOrEqual(t, took, 1700*time.Millisecond, "no more than a quarter of a second is saved up")
		require.LessOrEqual(t, took, 2*time.Second)
	})
}

func TestALimitedWriteEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var sink bytes.Buffer
		n, err := limitedWriter{ctx, newLimiter(32 << 10), &sink}.Write([]byte(strings.Repeat("x", 1<<20)))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, sink.Len(), n)
		require.LessOrEqual(t, n, 3*32<<10)
	})
}
