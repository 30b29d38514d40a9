package sftptarget

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// KnownHosts makes config accept, for the server at addr ("host:port"), only a host key that one of the known_hosts files records
// (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). It also has the server asked for a key of a type that is recorded; without that a server
// with several keys may show another one, which looks like an attack. A host that only a @cert-authority line covers is asked for
// whatever it has.
func KnownHosts(config *ssh.ClientConfig, addr string, files ...string) error {
	if len(files) == 0 {
		return errors.New("known hosts: no file is given")
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return fmt.Errorf("known hosts: %w", err)
	}
	algorithms, err := recordedAlgorithms(check, addr)
	if err != nil {
		return fmt.Errorf("known hosts: %w", err)
	}
	config.HostKeyCallback, config.HostKeyAlgorithms = check, algorithms
	return nil
}

// recordedAlgorithms shows the check a key that nobody has, upon which it tells which ones it wants.
func recordedAlgorithms(check ssh.HostKeyCallback, addr string) (algorithms []string, err error) {
	nobodys, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil, err
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, err
	}
	refusal, ok := errors.AsType[*knownhosts.KeyError](check(addr, &net.TCPAddr{IP: net.IPv4zero}, nobodys))
	if !ok {
		return nil, nil
	}
	for _, known := range refusal.Want {
		switch kind := known.Key.Type(); kind {
		case ssh.KeyAlgoRSA:
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			algorithms = append(algorithms, kind)
		}
	}
	return algorithms, nil
}
