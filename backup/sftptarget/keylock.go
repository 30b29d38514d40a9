package sftptarget

import (
	"context"
	"sync"
)

// keyLocks keeps calls that change one key apart, even those whose caller has gone: a Delete that was given up but still waits for the
// server must not remove what a later Put of the same key made.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed by unlock
}

func (l *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		l.mu.Lock()
		other, taken := l.held[key]
		if !taken {
			if l.held == nil {
				l.held = make(map[string]chan struct{})
			}
			mine := make(chan struct{})
			l.held[key] = mine
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.held, key)
				l.mu.Unlock()
				close(mine)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
