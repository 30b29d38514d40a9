package sftptarget_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/sftptarget"
)

func ExampleOpen() {
	ctx := context.Background()
	key, err := os.ReadFile("/etc/runbook/id_ed25519")
	if err != nil {
		log.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		log.Fatal(err)
	}
	const addr = "nas.example.org:22"
	config := &ssh.ClientConfig{User: "backup", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}}
	if err := sftptarget.KnownHosts(config, addr, "/etc/runbook/known_hosts"); err != nil {
		log.Fatal(err)
	}
	target, err := sftptarget.Open(ctx, addr, config, sftptarget.Options{Root: "/srv/backup", MinFree: 10 << 30})
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()
	if err := target.Put(ctx, "notes/today", strings.NewReader("all is well")); err != nil {
		log.Fatal(err)
	}
}

func ExampleOpenURL() {
	var mux runbook.TargetMux
	mux.Handle("sftp", sftptarget.OpenURL, sftptarget.URLKeys()...)
	_, err := mux.Open(context.Background(), "sftp://backup@nas.example.org/srv/backup")
	fmt.Println(err)
	// Output: open target sftp://backup@nas.example.org/srv/backup: SFTP target: the URL has no known_hosts; add the file that records the server's host key
}
