// Package faultconn makes network links misbehave on cue: a link that is cut, that freezes without a word, that is slow, far away
// or flips bits. The bytes travel over real connections, so that what is tested sees what a kernel would show it.
//
// A [Relay] stands between a client and a server on loopback and can do everything. [Faults.Conn] and [Faults.Listener] wrap a
// connection or a listener in the process itself and can do everything but delay.
//
// # Guarantees
//
// Without a fault, bytes pass unchanged and in order. A fault applies to every connection of the set, those to come included.
//
// # Concurrency
//
// Every method is safe for concurrent use.
//
// # Errors
//
// A connection that was cut gives what the kernel gives for it, which differs from one platform to the next.
//
// # Stability
//
// Internal: for the tests and benchmarks of this module.
package faultconn

import (
	"net"
	"sync"
	"time"
)

// Faults is a set of switches and the connections they act upon. The zero value passes everything.
type Faults struct {
	mu       sync.Mutex
	conns    map[net.Conn]struct{}
	thawed   chan struct{} // closed by Thaw; nil while not frozen
	rate     int64         // bytes per second and direction; 0 is unlimited
	delay    time.Duration // one way
	corrupt  int
	budget   int64 // bytes until the cut
	limited  bool  // budget counts
	refusing bool
}

// Cut resets every open connection (RST where the platform can). Connections made later are not harmed.
func (f *Faults) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		reset(c)
	}
}

// CutAfter cuts every connection once n more bytes have passed towards the server. It acts once.
func (f *Faults) CutAfter(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.budget, f.limited = n, true
}

// Freeze holds back every byte, both ways, and leaves connections open: no FIN, no RST, only silence.
func (f *Faults) Freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.thawed == nil {
		f.thawed = make(chan struct{})
	}
}

// Thaw ends what [Faults.Freeze] began. The bytes that were held back go on.
func (f *Faults) Thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.thawed != nil {
		close(f.thawed)
		f.thawed = nil
	}
}

// Slow limits each direction of each connection to so many bytes per second. 0 lifts the limit.
func (f *Faults) Slow(bytesPerSecond int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rate = bytesPerSecond
}

// Corrupt flips one bit in each of the next n pieces that pass towards the server.
func (f *Faults) Corrupt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.corrupt = n
}

// Refuse makes new connections end as soon as they are accepted, until called with false.
func (f *Faults) Refuse(refuse bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusing = refuse
}

// Open returns how many connections are open.
func (f *Faults) Open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// add says whether the connection may live.
func (f *Faults) add(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusing {
		return false
	}
	if f.conns == nil {
		f.conns = make(map[net.Conn]struct{})
	}
	f.conns[c] = struct{}{}
	return true
}

func (f *Faults) remove(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// pass blocks while the link is frozen or busy, then damages p if that is due. It returns false if the link was cut or closed.
func (f *Faults) pass(p []byte, toServer bool, closed <-chan struct{}) bool {
	f.mu.Lock()
	for f.thawed != nil {
		thawed := f.thawed
		f.mu.Unlock()
		select {
		case <-thawed:
		case <-closed:
			return false
		}
		f.mu.Lock()
	}
	rate := f.rate
	if toServer && f.corrupt > 0 && len(p) > 0 {
		f.corrupt--
		p[len(p)/2] ^= 0x10
	}
	cut := false
	if toServer && f.limited {
		f.budget -= int64(len(p))
		cut = f.budget < 0
		f.limited = !cut
	}
	f.mu.Unlock()
	if cut {
		f.Cut()
		return false
	}
	if rate > 0 {
		select {
		case <-time.After(time.Duration(int64(len(p)) * int64(time.Second) / rate)):
		case <-closed:
			return false
		}
	}
	return true
}

// reset closes a connection with a RST where it is TCP.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
