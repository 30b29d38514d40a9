package faultconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Relay forwards TCP connections made to its own loopback address to another address, with faults.
type Relay struct {
	Faults
	upstream string
	listener net.Listener
	buffers  sync.Pool
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	wait     sync.WaitGroup
}

const pieceMax = 64 << 10

// NewRelay starts a relay to the TCP address upstream on a loopback port that the kernel chooses.
func NewRelay(upstream string) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start relay: %w", err)
	}
	r := &Relay{upstream: upstream, listener: l}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.buffers.New = func() any { return new([pieceMax]byte) }
	r.wait.Go(r.accept)
	return r, nil
}

// Addr is where the relay listens, as "127.0.0.1:port".
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Delay adds rtt to the round trip, half of it each way, and leaves the bandwidth as it is: many bytes may be on their way. It
// holds for bytes that arrive from now on.
func (r *Relay) Delay(rtt time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = rtt / 2
}

// Close cuts every connection, stops listening, and waits until nothing is running any more.
func (r *Relay) Close() error {
	r.Refuse(true)
	err := r.listener.Close()
	r.stop()
	r.wait.Wait()
	return err
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wait.Go(func() { r.serve(client) })
	}
}

func (r *Relay) serve(client net.Conn) {
	defer client.Close()
	if !r.add(client) {
		reset(client)
		return
	}
	defer r.remove(client)
	server, err := net.Dial("tcp", r.upstream)
	if err != nil {
		reset(client)
		return
	}
	if !r.add(server) {
		reset(client)
		reset(server)
		return
	}
	defer r.remove(server)
	defer server.Close()

	closed := make(chan struct{})
	abort := sync.OnceFunc(func() {
		close(closed)
		reset(client)
		reset(server)
	})
	defer abort()
	stop := context.AfterFunc(r.ctx, abort)
	defer stop()
	var pumps sync.WaitGroup
	pumps.Go(func() { r.pump(server, client, true, closed, abort) })
	pumps.Go(func() { r.pump(client, server, false, closed, abort) })
	pumps.Wait()
}

type packet struct {
	buf *[pieceMax]byte
	n   int
	due time.Time
}

// pump moves bytes from src to dst. It reads at once and writes each piece when it is due, so that delay costs no bandwidth.
func (r *Relay) pump(dst, src net.Conn, toServer bool, closed <-chan struct{}, abort func()) {
	queue := make(chan packet, 4096)
	var writing sync.WaitGroup
	writing.Go(func() { r.deliver(dst, queue, toServer, closed, abort) })
	defer writing.Wait()
	defer close(queue)
	for {
		buf := r.buffers.Get().(*[pieceMax]byte)
		n, err := src.Read(buf[:r.size()])
		if n > 0 {
			select {
			case queue <- packet{buf, n, r.due()}:
			case <-closed:
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return // deliver passes the end on once everything before it has gone
		case err != nil, !r.pass(nil, false, closed):
			abort()
			return
		}
	}
}

func (r *Relay) deliver(dst net.Conn, queue <-chan packet, toServer bool, closed <-chan struct{}, abort func()) {
	for p := range queue {
		if wait := time.Until(p.due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-closed:
			}
		}
		if !r.pass(p.buf[:p.n], toServer, closed) {
			abort()
			continue
		}
		if _, err := dst.Write(p.buf[:p.n]); err != nil {
			abort()
		}
		r.buffers.Put(p.buf)
	}
	if tcp, ok := dst.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
}

// size tells how much to read at once: little on a slow link.
func (r *Relay) size() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rate > 0 {
		return min(pieceMax, max(1, r.rate/20))
	}
	return pieceMax
}

// due tells when what has arrived now shall leave.
func (r *Relay) due() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.delay)
}
