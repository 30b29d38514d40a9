package sftptarget

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path"
	"strings"
	"time"
)

// Options tune a [Target]. The zero value keeps objects in the login directory.
type Options struct {
	// Root is the directory on the server that holds the objects: absolute, or relative to the login directory. It is created when
	// first needed, its parents too. It must be one file system down to its leaves.
	Root string

	// Connections is how many SSH connections are used, 0 is 1. Operations are spread over them. One is enough unless a single
	// TCP connection or a single core of the server is the limit.
	Connections int

	// Sessions is how many SFTP sessions are opened in each connection, 0 is 4 with an OpenSSH server and 1 with another. A large
	// object travels over all sessions of a connection at once, because OpenSSH takes at most 2 MiB a round trip in each. A server that
	// allows fewer (MaxSessions) is used with fewer.
	Sessions int

	// InFlight bounds the bytes of one Put or one reader that are sent or asked for but not yet confirmed, and so its memory. 0 is
	// 8 MiB. A bandwidth of InFlight per round trip cannot be exceeded. The smallest value, 1, sends one packet at a time.
	InFlight int

	FileMode fs.FileMode // permissions of objects, 0 is 0600
	DirMode  fs.FileMode // permissions of directories made by the target, 0 is 0700

	// MinFree refuses a Put, before it reads anything, if the server has less than so many bytes free. It needs a server that can
	// tell (statvfs@openssh.com), and is ignored with another.
	MinFree int64

	// VerifyRemote has the server compute the SHA-256 of what it holds (by the command sha256sum) before an object becomes visible.
	// The server must let the user run commands.
	VerifyRemote bool

	// KeepAlive is how often the server is asked for a sign of life, 0 is 15 seconds. A connection on which nothing arrives for
	// Misses times KeepAlive is closed, which ends every call that waits for it with a [*LinkError]. Negative never asks.
	KeepAlive time.Duration
	Misses    int // 0 is 3

	// DialAttempts is how often a connection that cannot be made is tried, 0 is 3. A refused key is not tried again.
	DialAttempts int

	// Dial makes the connection under SSH, nil is a TCP connection. With (*ssh.Client).DialContext the way leads through another host.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Logger hears of reconnections and of what the server cannot do, nil is nobody.
	Logger *slog.Logger
}

const (
	packetMax   = 255 << 10 // OpenSSH takes messages of 256 KiB, header included
	packetSafe  = 32 << 10  // what every server must take: draft-ietf-secsh-filexfer-02, section 3
	dialTimeout = 30 * time.Second
)

func (o Options) withDefaults() (Options, error) {
	var problems []error
	bad := func(is bool, format string, args ...any) {
		if is {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	bad(o.Connections < 0, "Connections is negative")
	bad(o.Sessions < 0, "Sessions is negative")
	bad(o.InFlight < 0, "InFlight is negative")
	bad(o.MinFree < 0, "MinFree is negative")
	bad(o.Misses < 0, "Misses is negative")
	bad(o.DialAttempts < 0, "DialAttempts is negative")
	bad(o.FileMode&^fs.ModePerm != 0, "FileMode %v has more than permission bits", o.FileMode)
	bad(o.DirMode&^fs.ModePerm != 0, "DirMode %v has more than permission bits", o.DirMode)
	bad(strings.ContainsFunc(o.Root, func(r rune) bool { return r < 0x20 || r == 0x7f }), "Root %q has a control character", o.Root)
	if len(problems) > 0 {
		return o, errors.Join(problems...)
	}
	o.Root = path.Clean(o.Root) // "" becomes "."
	o.Connections = cmp.Or(o.Connections, 1)
	o.InFlight = cmp.Or(o.InFlight, 8<<20)
	o.FileMode = cmp.Or(o.FileMode, 0o600)
	o.DirMode = cmp.Or(o.DirMode, 0o700)
	o.KeepAlive = cmp.Or(o.KeepAlive, 15*time.Second)
	o.Misses = cmp.Or(o.Misses, 3)
	o.DialAttempts = cmp.Or(o.DialAttempts, 3)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return o, nil
}
