package main_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/runbook-go/runbook/examples/internal/stage"
)

// sftpServer is an SFTP server in this process that lets in who has the key.
type sftpServer struct{ addr, root, knownHosts, key string }

func startSFTP(t *testing.T) *sftpServer {
	t.Helper()
	dir := t.TempDir()
	s := &sftpServer{root: filepath.Join(dir, "root"), knownHosts: filepath.Join(dir, "known_hosts"), key: filepath.Join(dir, "key")}
	stage.OK(t, os.Mkdir(s.root, 0o700))
	_, private, err := ed25519.GenerateKey(rand.Reader)
	stage.OK(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	stage.OK(t, err)
	stage.OK(t, os.WriteFile(s.key, pem.EncodeToMemory(block), 0o600))
	signer, err := ssh.NewSignerFromKey(private)
	stage.OK(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	stage.OK(t, err)
	s.addr = listener.Addr().String()
	stage.OK(t, os.WriteFile(s.knownHosts, []byte(knownhosts.Line([]string{knownhosts.Normalize(s.addr)}, signer.PublicKey())+"\n"), 0o600))

	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(signer.PublicKey().Marshal()) {
			return nil, os.ErrPermission
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serveSFTP(conn, config) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return s
}

func serveSFTP(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			defer channel.Close()
			for request := range requests {
				isSFTP := request.Type == "subsystem" && string(request.Payload[4:]) == "sftp"
				request.Reply(isSFTP, nil)
				if !isSFTP {
					continue
				}
				if server, err := sftp.NewServer(channel); err == nil {
					server.Serve() // ends with the client
				}
				return
			}
		}()
	}
}
