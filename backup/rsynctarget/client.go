package rsynctarget

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/internal/redact"
)

// client runs rsync between a local directory, which is its working directory, and a destination.
type client struct {
	o      Options
	at     string   // the destination, with a slash at its end
	common []string // arguments of every run
	env    []string
	redact *redact.Redactor
}

func newClient(destination string, o Options) (*client, error) {
	at, overSSH, err := parseDestination(destination)
	if err != nil {
		return nil, err
	}
	if strings.Trim(o.Chmod, "DFugoa=+-,rwxXst01234567") != "" {
		return nil, fmt.Errorf("chmod %q is nothing that rsync knows, such as ugo=rwX or D755,F644", o.Chmod)
	}
	if o.Program == "" {
		o.Program = "rsync"
	}
	if o.Runner == nil {
		o.Runner = runbook.Local{}
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	c := &client{o: o, at: at, redact: redact.New(o.Password)}
	c.common = []string{"--timeout=" + strconv.Itoa(int(max(o.Timeout, time.Second)/time.Second))}
	// In English, so that messages can be read here; times in UTC, as listings do not say their zone.
	c.env = append([]string{"LC_ALL=C", "TZ=UTC0"}, o.Env...)
	if overSSH {
		shell, err := o.SSH.command()
		if err != nil {
			return nil, err
		}
		c.common = append(c.common, "--rsh="+shell)
		return c, nil
	}
	c.common = append(c.common, "--contimeout=15", "--sockopts=TCP_NODELAY") // rsync's short messages wait 40 ms each without
	switch {
	case o.PasswordFile != "" && o.Password != "":
		return nil, fmt.Errorf("password and password file are both given")
	case o.PasswordFile != "":
		file, err := filepath.Abs(o.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("password file: %w", err)
		}
		c.common = append(c.common, "--password-file="+file)
	case o.Password != "":
		c.env = append(c.env, "RSYNC_PASSWORD="+o.Password)
	default:
		c.env = append(c.env, "RSYNC_PASSWORD=none") // else rsync asks on the terminal, and waits
	}
	return c, nil
}

// command returns what rsync is to run as remote shell. rsync splits it at spaces that are not in quotes.
func (s SSH) command() (string, error) {
	if s.KnownHosts == "" {
		return "", fmt.Errorf("a destination over ssh needs SSH.KnownHosts, a file with the server's host key; ssh-keyscan shows the key, compare it")
	}
	program := s.Program
	if program == "" {
		program = "ssh"
	}
	program, err := exec.LookPath(program) // rsync's own PATH is empty
	if err != nil {
		return "", fmt.Errorf("find ssh: %w", err)
	}
	if program, err = filepath.Abs(program); err != nil {
		return "", fmt.Errorf("find ssh: %w", err)
	}
	args := []string{
		program, "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oGlobalKnownHostsFile=/dev/null", "-oConnectTimeout=15",
		"-oServerAliveInterval=15", "-oServerAliveCountMax=4",
	}
	for _, file := range []struct{ option, name string }{{"UserKnownHostsFile", s.KnownHosts}, {"IdentityFile", s.Identity}} {
		if file.name == "" {
			continue
		}
		if strings.ContainsAny(file.name, "\"'\\$\r\n\x00") || strings.HasPrefix(file.name, "~") {
			return "", fmt.Errorf("%s %q: ssh would not take that name as it is", file.option, file.name)
		}
		name, err := filepath.Abs(file.name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", file.option, err)
		}
		if _, err := os.Stat(name); err != nil {
			return "", fmt.Errorf("%s: %w", file.option, err)
		}
		args = append(args, `-o`+file.option+`="`+strings.ReplaceAll(filepath.ToSlash(name), "%", "%%")+`"`)
	}
	if s.Identity != "" {
		args = append(args, "-oIdentitiesOnly=yes")
	}
	if s.Port != 0 {
		args = append(args, "-p"+strconv.Itoa(s.Port))
	}
	for i, arg := range args {
		args[i] = "'" + strings.ReplaceAll(arg, "'", "''") + "'"
	}
	return strings.Join(args, " "), nil
}

// run runs rsync in dir and returns its standard output. names is what rsync is to read as --files-from.
func (c *client) run(ctx context.Context, dir string, names []string, args ...string) (string, error) {
	var stdin, stdout bytes.Buffer
	all := append([]string(nil), c.common...)
	if names != nil {
		all = append(all, "--files-from=-", "--from0")
		for _, name := range names {
			stdin.WriteString("./" + name + "\x00") // with "./", as a name that begins with "#" or ";" were a comment
		}
	}
	all = append(all, args...)
	err := c.o.Runner.Run(ctx, runbook.Cmd{Path: c.o.Program, Args: all, Env: c.env, Dir: dir, Stdin: &stdin, Stdout: &stdout})
	return stdout.String(), c.redact.Error(explain(err))
}

// send sends one file to the destination and tells whether it was new there. What is there already is left alone.
func (c *client) send(ctx context.Context, dir, name string) (sent bool, err error) {
	args := []string{"--whole-file", "--ignore-existing", "--temp-dir=" + tempDir, "--out-format=%i"}
	out, err := c.run(ctx, dir, []string{name}, append(append(args, c.settings()...), "--", "./", c.at)...)
	for line := range strings.Lines(out) {
		sent = sent || strings.HasPrefix(line, "<f")
	}
	return sent, err
}

// settings are the options that decide how files are kept on the server.
func (c *client) settings() (args []string) {
	if !c.o.NoSync {
		args = append(args, "--fsync")
	}
	if c.o.Chmod != "" {
		args = append(args, "--perms", "--chmod="+c.o.Chmod)
	}
	return args
}

func (c *client) mkdir(ctx context.Context, dir, name string) error {
	_, err := c.run(ctx, dir, []string{name}, "--dirs", "--", "./", c.at)
	return err
}

// fetch fetches one file into dir. If there is none it fetches nothing.
func (c *client) fetch(ctx context.Context, dir, name string) error {
	_, err := c.run(ctx, dir, []string{name}, "--ignore-missing-args", "--", c.at, "./")
	return err
}

// delete deletes one file at the destination: rsync is told to send it, finds it missing here, and deletes it there. A folder is deleted
// only if it is empty.
func (c *client) delete(ctx context.Context, name string) error {
	return c.remove(ctx, name, false, "--delete-missing-args")
}

// prune deletes a folder at the destination if it holds nothing but folders: everything else in it is excluded, and so protected.
func (c *client) prune(ctx context.Context, name string) error {
	err := c.remove(ctx, name, true, "--recursive", "--delete", "--include=*/", "--exclude=*")
	if err == nil {
		err = c.delete(ctx, name)
	}
	return err
}

// remove has rsync delete at the destination what is not in a spool, which is empty, or holds an empty folder of that name. The options about
// existing files make sure that nothing is made or changed on that occasion.
func (c *client) remove(ctx context.Context, name string, folder bool, args ...string) error {
	s, err := newSpool(c.o.Spool)
	if err != nil {
		return err
	}
	defer s.remove()
	local, err := s.folder(name)
	if err != nil {
		return err
	}
	if folder {
		if err := os.Mkdir(local, 0o700); err != nil {
			return err
		}
	}
	_, err = c.run(ctx, s.dir, []string{name}, append(args, "--existing", "--ignore-existing", "--", "./", c.at)...)
	return err
}
