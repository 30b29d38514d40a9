package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	pass := `{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
`
	end := `{"Action":"pass","Package":"p","Elapsed":1.25}
`
	for name, tc := range map[string]struct {
		in   string
		code int
		want string
	}{
		"all is well": {pass + end, 0, "ok       1.2s  p\n"},
		"a failure shows its output": {
			pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"why\n"}
{"Action":"fail","Package":"p","Test":"TestB","Elapsed":0.1}
{"Action":"fail","Package":"p","Elapsed":0.5}`, 1,
			"FAIL     0.1s  p TestB\nwhy\nFAIL     0.5s  p\n2 tests and packages failed:\n  p TestB\n  p\n",
		},
		"a skip is a failure": {
			pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"    x_test.go:1: there is no sshd here\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
` + end, 1,
			"ok       1.2s  p\nSKIP  p TestB\n    x_test.go:1: there is no sshd here\n1 tests were skipped for a reason that is not on the list in internal/testgate. " +
				"\"make deps\" installs what tests need.\n",
		},
		"unless its reason is on the list": {
			pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"    x_test.go:1: only root runs the server as another account\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
` + end, 0, "ok       1.2s  p\n",
		},
		"a package without tests is no skipped test": {pass + end + `{"Action":"skip","Package":"q"}`, 0, "ok       1.2s  p\n"},
		"a build that fails": {
			pass + `{"Action":"build-output","ImportPath":"q","Output":"q.go:1: nonsense\n"}
{"Action":"fail","Package":"q","Elapsed":0}`, 1,
			"q.go:1: nonsense\nFAIL     0.0s  q\n1 tests and packages failed:\n  q\n",
		},
		"nothing ran":        {"", 1, "no test passed\n"},
		"what is not JSON":   {"go: cannot find module\n" + pass, 0, "go: cannot find module\n"},
		"a line that is cut": {pass + `{"Action":`, 0, "{\"Action\":\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			require.Equal(t, tc.code, run(strings.NewReader(tc.in), &out))
			require.Equal(t, tc.want, out.String())
		})
	}
}
