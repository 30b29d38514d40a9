package sftptarget

import (
	"context"
	"io"
	"sync/atomic"
)

// source is the reader given to Put.
type source struct {
	r    io.Reader
	used atomic.Bool
}

type chunk struct {
	data []byte
	err  error // of the reader, and then no data
}

// begun tells whether something was read, so that the reader cannot be started again.
func (s *source) begun() bool { return s.used.Load() }

// read fills buffers and passes them on until the end, which closes chunks, or an error. After ctx has ended it does not begin to read.
func (s *source) read(ctx context.Context, buffer func() []byte, free <-chan []byte, chunks chan<- chunk) {
	defer close(chunks)
	for {
		var buf []byte
		select {
		case buf = <-free:
		case <-ctx.Done():
			return
		}
		if buf == nil {
			buf = buffer()
		}
		n, err := 0, error(nil)
		for n < len(buf) && err == nil {
			if ctx.Err() != nil {
				return
			}
			s.used.Store(true)
			var read int
			read, err = s.r.Read(buf[n:])
			n += read
		}
		c := chunk{data: buf[:n]}
		if err != nil && err != io.EOF {
			c = chunk{err: err}
		}
		if n > 0 || c.err != nil {
			select {
			case chunks <- c:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}
