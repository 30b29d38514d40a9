package filestore

import (
	"context"
	"io"
	"sync"
	"time"
)

// limiter spreads bytes over time: each Write waits until the bytes before it have had their share of seconds.
type limiter struct {
	rate int64 // bytes a second
	mu   sync.Mutex
	next time.Time // when the bytes granted so far are paid for
}

func newLimiter(rate int64) *limiter { return &limiter{rate: rate} }

// take reserves n bytes and returns how long to wait for them. A quarter of a second may be saved up.
func (l *limiter) take(now time.Time, n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if earliest := now.Add(-time.Second / 4); l.next.Before(earliest) {
		l.next = earliest
	}
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	return l.next.Sub(now)
}

type limitedWriter struct {
	ctx context.Context
	l   *limiter
	w   io.Writer
}

func (w limitedWriter) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), 32<<10)]
		if wait := w.l.take(time.Now(), len(part)); wait > 0 {
			select {
			case <-time.After(wait):
			case <-w.ctx.Done():
				return written, context.Cause(w.ctx)
			}
		}
		n, err := w.w.Write(part)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}
