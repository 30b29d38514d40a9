package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// backupServer is an SFTP server in this process. It listens on the loopback interface and lets in the one key that it made.
type backupServer struct {
	addr   string
	root   string            // directory of the snapshots
	client *ssh.ClientConfig // how to log in; it knows the server's key
	listen net.Listener
	config *ssh.ServerConfig
	done   sync.WaitGroup
	remove string
}

func startBackupServer(keep string) (*backupServer, error) {
	s := &backupServer{}
	if keep == "" {
		dir, err := os.MkdirTemp("", "runbook-quickstart-")
		if err != nil {
			return nil, err
		}
		keep, s.remove = dir, dir
	}
	root, err := filepath.Abs(filepath.Join(keep, "backup-server"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	s.root = filepath.ToSlash(root)
	hostKey, err := newKey()
	if err != nil {
		return nil, err
	}
	userKey, err := newKey()
	if err != nil {
		return nil, err
	}
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) == string(userKey.PublicKey().Marshal()) {
			return nil, nil
		}
		return nil, errors.New("unknown key")
	}}
	s.config.AddHostKey(hostKey)
	s.client = &ssh.ClientConfig{
		User: "backup", Auth: []ssh.AuthMethod{ssh.PublicKeys(userKey)}, HostKeyCallback: ssh.FixedHostKey(hostKey.PublicKey()),
	}
	if s.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.addr = s.listen.Addr().String()
	s.done.Go(s.accept)
	return s, nil
}

func newKey() (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

func (s *backupServer) accept() {
	for {
		conn, err := s.listen.Accept()
		if err != nil {
			return
		}
		s.done.Go(func() { s.serve(conn) })
	}
}

func (s *backupServer) serve(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			offered.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		s.done.Go(func() { serveSession(channel, requests) })
	}
}

func serveSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for request := range requests {
		var subsystem struct{ Name string }
		ok := request.Type == "subsystem" && ssh.Unmarshal(request.Payload, &subsystem) == nil && subsystem.Name == "sftp"
		request.Reply(ok, nil)
		if !ok {
			continue
		}
		server, err := sftp.NewServer(channel)
		if err != nil {
			fmt.Fprintln(os.Stderr, "backup server:", err)
			return
		}
		server.Serve() // ends with the client
		return
	}
}

// close stops listening, waits for the client to be gone, and removes the files unless they are kept.
func (s *backupServer) close() {
	s.listen.Close()
	s.done.Wait()
	if s.remove != "" {
		os.RemoveAll(s.remove)
	}
}
