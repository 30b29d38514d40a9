package scratch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	dataDir    = "data"
	logFile    = "log"
	socketPort = "5432" // a part of the socket's name only: the directory makes it unique
)

// baseSettings are those of every scratch server: nothing in it is worth an fsync, and nothing of it may be left outside of its directory, for
// which reason dynamic shared memory is kept in files.
func baseSettings() map[string]string {
	settings := map[string]string{
		"fsync":                      "off",
		"full_page_writes":           "off",
		"synchronous_commit":         "off",
		"wal_level":                  "minimal",
		"max_wal_senders":            "0",
		"checkpoint_timeout":         "30min",
		"shared_buffers":             "128MB",
		"max_connections":            "100",
		"max_locks_per_transaction":  "512", // a restore in one transaction locks every table and large object
		"max_prepared_transactions":  "10",
		"autovacuum":                 "off",
		"jit":                        "off",
		"timezone":                   "UTC",
		"log_timezone":               "UTC",
		"password_encryption":        "scram-sha-256",
		"unix_socket_permissions":    "0700",
		"dynamic_shared_memory_type": "mmap",
	}
	if runtime.GOOS == "windows" {
		delete(settings, "dynamic_shared_memory_type")
	}
	return settings
}

// initialise makes the cluster. The password is in a file for as long as initdb needs it.
func (s *Server) initialise(ctx context.Context, o Options, who account, password string) error {
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	if err := who.own(secret); err != nil {
		return err
	}
	locale := o.Locale
	if locale == "" {
		locale = "C"
	}
	initdb := s.command(who, "initdb", "--pgdata="+filepath.Join(s.dir, dataDir), "--username="+superuser, "--pwfile="+secret,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale="+locale, "--no-sync")
	p, err := s.spawn(initdb, true)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("initdb: %w", context.Cause(ctx)), p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("initdb: %w: %s", p.err, s.logTail())
	}
	return os.Remove(secret)
}

// launch starts the server and waits until it accepts connections. If another process took the port meanwhile it tries with another one.
func (s *Server) launch(ctx context.Context, o Options, who account, password string) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		host, port, settings, err := s.address(o.TCP)
		if err != nil {
			return err
		}
		if err := s.configure(o.Settings, settings); err != nil {
			return err
		}
		s.dsn = reach(host, port, password)
		postgres := s.command(who, "postgres", "-D", filepath.Join(s.dir, dataDir))
		if s.process, err = s.spawn(postgres, !o.outlive); err != nil {
			return err
		}
		err = s.ready(ctx)
		if attempt == attempts || !portTaken(err) {
			return err
		}
	}
}

func portTaken(err error) bool { return err != nil && strings.Contains(err.Error(), "could not bind") }

// address chooses where the server listens.
func (s *Server) address(tcp bool) (host, port string, settings map[string]string, err error) {
	if !tcp && runtime.GOOS != "windows" {
		// 104 bytes on BSD and macOS, 108 on Linux, one of them for the closing zero.
		if socket := filepath.Join(s.dir, ".s.PGSQL."+socketPort); len(socket) > 103 {
			return "", "", nil, fmt.Errorf("%s is too long for a socket; give a shorter Dir or set TCP", socket)
		}
		return s.dir, socketPort, map[string]string{"listen_addresses": "", "unix_socket_directories": s.dir, "port": socketPort}, nil
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", "", nil, err
	}
	port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	settings = map[string]string{"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": port}
	return "127.0.0.1", port, settings, listener.Close()
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.$]*$`)

func (s *Server) configure(theirs, address map[string]string) error {
	settings := baseSettings()
	maps.Copy(settings, theirs)
	maps.Copy(settings, address)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !settingName.MatchString(name) || strings.ContainsAny(settings[name], "\r\n\x00") {
			return fmt.Errorf("setting %q = %q: a name has letters, digits, _ and . only, and a value has one line", name, settings[name])
		}
		value := strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(settings[name])
		fmt.Fprintf(&text, "%s = '%s'\n", name, value)
	}
	data := filepath.Join(s.dir, dataDir)
	hba := "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if runtime.GOOS == "windows" {
		hba = "host all all 127.0.0.1/32 scram-sha-256\n"
	}
	// Both files exist and keep their owner.
	return errors.Join(
		os.WriteFile(filepath.Join(data, "postgresql.conf"), []byte(text.String()), 0o600),
		os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o600),
	)
}

func (s *Server) ready(ctx context.Context) error {
	const most = 2 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("not ready after %s", most))
	defer cancel()
	for {
		err := ping(ctx, s.dsn)
		if err == nil {
			return nil
		}
		select {
		case <-s.process.done:
			return fmt.Errorf("postgres ended: %w: %s", s.process.err, s.logTail())
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres to accept connections: %w: %s", context.Cause(ctx), s.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) command(who account, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.tools.Path(program), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC"} // without TZ initdb tries every time zone there is
	who.run(cmd)
	return cmd
}

// logTail returns the end of the log.
func (s *Server) logTail() string {
	const most = 2 << 10
	f, err := os.Open(filepath.Join(s.dir, logFile))
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // at worst the tail is longer
	}
	tail, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(tail)), "\uFFFD")
}
