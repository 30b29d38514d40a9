package faultconn_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/faultconn"
)

// echo starts a server that sends back what it gets, over connections with the faults given, if any.
func echo(t *testing.T, faults *faultconn.Faults) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	if faults != nil {
		l = faults.Listener(l)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func relay(t *testing.T) (*faultconn.Relay, net.Conn) {
	t.Helper()
	r, err := faultconn.NewRelay(echo(t, nil))
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	return r, dial(t, r.Addr())
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func roundTrip(c net.Conn, data []byte) ([]byte, error) {
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil {
		return nil, err
	}
	return got, <-sent
}

func TestRelayPassesBytesAndHalfClose(t *testing.T) {
	_, c := relay(t)
	data := make([]byte, 3<<20)
	rand.Read(data)
	got, err := roundTrip(c, data)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	require.NoError(t, c.(*net.TCPConn).CloseWrite())
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestRelayDelayAddsRoundTripNotBandwidth(t *testing.T) {
	r, c := relay(t)
	_, err := roundTrip(c, []byte("the relay waits for more already when the delay begins"))
	require.NoError(t, err)
	r.Delay(200 * time.Millisecond)
	start := time.Now()
	_, err = roundTrip(c, []byte("ping"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 200*time.Millisecond)

	// One piece a round trip would take 8 MiB / 64 KiB x 0.2 s = 25 s, beyond the connection's deadline.
	_, err = roundTrip(c, make([]byte, 8<<20))
	require.NoError(t, err)
}

func TestRelayCut(t *testing.T) {
	r, c := relay(t)
	_, err := roundTrip(c, []byte("x"))
	require.NoError(t, err)
	r.Cut()
	_, err = roundTrip(c, []byte("x"))
	require.Error(t, err)
	_, err = roundTrip(dial(t, r.Addr()), []byte("x"))
	require.NoError(t, err, "a later connection works")

	r.Refuse(true)
	_, err = roundTrip(dial(t, r.Addr()), []byte("x"))
	require.Error(t, err)
	r.Refuse(false)

	c = dial(t, r.Addr())
	r.CutAfter(1 << 20)
	_, err = roundTrip(c, make([]byte, 512<<10))
	require.NoError(t, err)
	_, err = roundTrip(c, make([]byte, 1<<20))
	require.Error(t, err)
}

func TestFreezeAndThaw(t *testing.T) {
	var direct faultconn.Faults
	viaListener := dial(t, echo(t, &direct))
	viaConn := direct.Conn(dial(t, echo(t, nil)))
	r, viaRelay := relay(t)
	for name, link := range map[string]struct {
		faults *faultconn.Faults
		conn   net.Conn
	}{"listener": {&direct, viaListener}, "conn": {&direct, viaConn}, "relay": {&r.Faults, viaRelay}} {
		t.Run(name, func(t *testing.T) {
			_, err := roundTrip(link.conn, []byte("x"))
			require.NoError(t, err)
			link.faults.Freeze()
			type result struct {
				got []byte
				err error
			}
			done := make(chan result, 1)
			go func() {
				got, err := roundTrip(link.conn, []byte("held back"))
				done <- result{got, err}
			}()
			select {
			case r := <-done:
				t.Fatalf("a frozen link answered %q, %v", r.got, r.err)
			case <-time.After(100 * time.Millisecond):
			}
			link.faults.Thaw()
			got := <-done
			require.NoError(t, got.err)
			require.Equal(t, "held back", string(got.got))
		})
	}
}

func TestCloseWhileFrozen(t *testing.T) {
	r, c := relay(t)
	r.Freeze()
	c.Write(make([]byte, 1<<20))
	require.NoError(t, r.Close()) // and waits for every goroutine
	require.Zero(t, r.Open())
}

func TestSlow(t *testing.T) {
	r, c := relay(t)
	r.Slow(100 << 10)
	start := time.Now()
	_, err := roundTrip(c, make([]byte, 40<<10))
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond)
}

func TestCorrupt(t *testing.T) {
	var direct faultconn.Faults
	r, viaRelay := relay(t)
	for name, link := range map[string]struct {
		faults *faultconn.Faults
		conn   net.Conn
	}{
		"listener": {&direct, dial(t, echo(t, &direct))},
		"conn":     {&direct, direct.Conn(dial(t, echo(t, nil)))},
		"relay":    {&r.Faults, viaRelay},
	} {
		t.Run(name, func(t *testing.T) {
			link.faults.Corrupt(1)
			sent := []byte("0123456789")
			got, err := roundTrip(link.conn, sent)
			require.NoError(t, err)
			require.NotEqual(t, sent, got)
			got, err = roundTrip(link.conn, sent)
			require.NoError(t, err)
			require.Equal(t, sent, got)
		})
	}
}
