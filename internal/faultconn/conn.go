package faultconn

import (
	"net"
	"sync"
)

// pieceSize is the most that passes at once, so that a slow link trickles.
const pieceSize = 16 << 10

// Conn returns c with the faults of f. Writing is the direction towards the server. Once refused, the result is closed.
func (f *Faults) Conn(c net.Conn) net.Conn {
	faulty := &conn{Conn: c, faults: f, closed: make(chan struct{})}
	if !f.add(c) {
		faulty.Close()
	}
	return faulty
}

// Listener returns l, whose accepted connections have the faults of f. Reading is the direction towards the server.
func (f *Faults) Listener(l net.Listener) net.Listener { return &listener{l, f} }

type listener struct {
	net.Listener
	faults *Faults
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	faulty := l.faults.Conn(c).(*conn)
	faulty.server = true
	return faulty, nil
}

type conn struct {
	net.Conn
	faults *Faults
	server bool // this end is the server's
	once   sync.Once
	closed chan struct{}
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), pieceSize)])
	if n > 0 && !c.faults.pass(p[:n], c.server, c.closed) {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(p []byte) (written int, err error) {
	piece := make([]byte, 0, min(len(p), pieceSize))
	for written < len(p) {
		piece = append(piece[:0], p[written:min(len(p), written+pieceSize)]...)
		if !c.faults.pass(piece, !c.server, c.closed) {
			return written, net.ErrClosed
		}
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.faults.remove(c.Conn)
	})
	return c.Conn.Close()
}
