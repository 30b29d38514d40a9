package sshtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Options choose what [Start]'s server can and cannot do. The zero value is an ordinary server with the extensions of pkg/sftp.
type Options struct {
	Plain     bool   // announce no extension: SFTP version 3 as it stands in the draft
	Extension string // announce only this one, such as "hardlink@openssh.com"
	Overwrite bool   // a plain rename replaces its target, as careless servers do
	NoLinks   bool   // announce hard links, but the file system has none
	Banner    string // such as "SSH-2.0-OpenSSH_9.2"; empty is "SSH-2.0-Go"
	Commands  bool   // run commands sent by exec with /bin/sh
	Sessions  int    // at most so many channels in a connection; 0 is no limit

	// Before is called with each request before it is served, such as "link", "a/b", and can hold it up or fail it. "write" comes
	// once for each packet. It may be nil.
	Before func(op, path string) error
}

// Server is an SSH and SFTP server inside the test process.
type Server struct {
	Access
	Dir string // what clients see as /

	options  Options
	config   *ssh.ServerConfig
	listener net.Listener
	free     atomic.Int64 // bytes until the disk is full; negative is no limit

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wait  sync.WaitGroup
}

// Start starts a server on an empty directory.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	access, host := newAccess(t, "tester")
	s := &Server{Access: *access, Dir: t.TempDir(), options: o, conns: make(map[net.Conn]struct{})}
	s.free.Store(-1)
	allowed := access.signer.PublicKey().Marshal()
	s.config = &ssh.ServerConfig{
		ServerVersion: o.Banner,
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), allowed) {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		},
	}
	s.config.AddHostKey(host)
	var err error
	s.listener, err = net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.Addr = s.listener.Addr().String()
	s.wait.Go(s.accept)
	t.Cleanup(func() {
		s.listener.Close()
		s.Drop()
		s.wait.Wait()
	})
	return s
}

// SetFree makes the disk full after n more bytes have been written. A negative n lifts the limit.
func (s *Server) SetFree(n int64) { s.free.Store(n) }

// Drop closes every connection.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wait.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *Server) serve(c net.Conn) {
	conn, channels, requests, err := ssh.NewServerConn(c, s.config)
	if err != nil {
		return
	}
	defer conn.Close()
	go func() {
		for r := range requests { // keep-alives among them
			r.Reply(false, nil)
		}
	}()
	var sessions sync.WaitGroup
	defer sessions.Wait()
	opened := 0
	for offer := range channels {
		if opened++; offer.ChannelType() != "session" || s.options.Sessions > 0 && opened > s.options.Sessions {
			offer.Reject(ssh.Prohibited, "no more sessions")
			continue
		}
		channel, requests, err := offer.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { s.session(channel, requests) })
	}
}

func (s *Server) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	var running sync.WaitGroup
	defer running.Wait()
	for r := range requests {
		var payload struct{ Name string }
		ssh.Unmarshal(r.Payload, &payload)
		switch {
		case r.Type == "subsystem" && payload.Name == "sftp":
			r.Reply(true, nil)
			running.Go(func() {
				defer channel.Close()
				h := &handlers{s}
				stream := &extensions{Channel: channel, options: s.options}
				sftp.NewRequestServer(stream, sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h}).Serve()
			})
		case r.Type == "exec" && s.options.Commands:
			r.Reply(true, nil)
			running.Go(func() { s.exec(channel, payload.Name) })
		default:
			r.Reply(false, nil)
		}
	}
}

func (s *Server) exec(channel ssh.Channel, command string) {
	defer channel.Close()
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Dir = s.Dir
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	status := make([]byte, 4)
	if err := cmd.Run(); err != nil {
		binary.BigEndian.PutUint32(status, 1)
	}
	channel.SendRequest("exit-status", false, status)
}

// extensions replaces the list of extensions in the first packet of the server, SSH_FXP_VERSION.
type extensions struct {
	ssh.Channel
	options Options
	head    []byte
	done    bool
}

func (e *extensions) Write(p []byte) (int, error) {
	if e.done || !e.options.Plain && e.options.Extension == "" {
		return e.Channel.Write(p)
	}
	e.head = append(e.head, p...)
	if len(e.head) < 4 || len(e.head) < 4+int(binary.BigEndian.Uint32(e.head)) {
		return len(p), nil
	}
	e.done = true
	body := []byte{2, 0, 0, 0, 3} // SSH_FXP_VERSION 3
	if e.options.Extension != "" {
		for _, text := range []string{e.options.Extension, "1"} {
			body = binary.BigEndian.AppendUint32(body, uint32(len(text)))
			body = append(body, text...)
		}
	}
	_, err := e.Channel.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	return len(p), err
}

var _ io.ReadWriteCloser = (*extensions)(nil)
