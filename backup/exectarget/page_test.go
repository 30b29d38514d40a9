//go:build unix

package exectarget_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every transcript of the protocol's page is run, in order, in one directory.
func TestThePageOfTheProtocolIsTrue(t *testing.T) {
	page, err := os.ReadFile("../../docs/plugins.md")
	require.NoError(t, err)
	dir, n := t.TempDir(), 0
	for _, block := range strings.Split(string(page), "```console\n")[1:] {
		transcript, _, _ := strings.Cut(block, "```")
		for _, step := range strings.Split("\n"+transcript, "\n$ ")[1:] {
			command, want, _ := strings.Cut(step, "\n")
			cmd := exec.Command("/bin/sh", "-c", command)
			cmd.Env = append(env(), "dir="+dir, "plugin="+example(t))
			got, _ := cmd.CombinedOutput()
			require.Equal(t, strings.TrimSpace(want), withoutTimes(string(got)), command)
			n++
		}
	}
	require.Greater(t, n, 15, "the page has lost its transcripts")
}

// withoutTimes replaces the times of object lines, which differ from run to run, by the one of the page.
func withoutTimes(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, line := range lines {
		if f := strings.SplitN(line, " ", 4); len(f) == 4 && f[0] == "object" {
			f[2] = "1767323045"
			lines[i] = strings.Join(f, " ")
		}
	}
	return strings.Join(lines, "\n")
}
