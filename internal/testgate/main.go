// Testgate reads what go test -json writes and shows what a person needs: a line for each package, and the output of what failed. It fails if a
// test failed, if nothing ran, or if a test was skipped for a reason that is not on its list: a layer of tests that quietly stopped
// running is worse than one that fails.
//
//	go test -json ./... | go run ./internal/testgate
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// allowed are the reasons for which a test may be skipped where everything is installed.
var allowed = regexp.MustCompile(strings.Join([]string{
	`only root runs the server as another account`,
	`Windows keeps no permission bits`,
	`the fake programs are shell scripts`,
}, "|"))

func main() { os.Exit(run(os.Stdin, os.Stdout)) }

// event is what go test -json writes, see go doc test2json.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

func run(in io.Reader, out io.Writer) int {
	output := make(map[string][]string) // of each test and package that has not ended well yet
	var failed, skipped []string
	passed := 0
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		name := strings.TrimSuffix(e.Package+" "+e.Test, " ")
		switch e.Action {
		case "output":
			output[name] = append(output[name], e.Output)
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "pass":
			passed++
			if e.Test == "" {
				fmt.Fprintf(out, "ok    %6.1fs  %s\n", e.Elapsed, e.Package)
			}
			delete(output, name)
		case "fail":
			failed = append(failed, name)
			fmt.Fprintf(out, "FAIL  %6.1fs  %s\n%s", e.Elapsed, name, strings.Join(output[name], ""))
			delete(output, name)
		case "skip":
			if text := strings.Join(output[name], ""); e.Test != "" && !allowed.MatchString(text) {
				skipped = append(skipped, name+"\n"+text)
			}
			delete(output, name)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(out, "testgate:", err)
		return 1
	}
	for _, name := range slices.Sorted(slices.Values(skipped)) {
		fmt.Fprintf(out, "SKIP  %s", name)
	}
	if len(skipped) > 0 {
		fmt.Fprintf(out, "%d tests were skipped for a reason that is not on the list in internal/testgate. \"make deps\" installs what tests need.\n", len(skipped))
	}
	if len(failed) > 0 {
		fmt.Fprintf(out, "%d tests and packages failed:\n  %s\n", len(failed), strings.Join(failed, "\n  "))
	}
	if passed == 0 {
		fmt.Fprintln(out, "no test passed")
	}
	if len(skipped) > 0 || len(failed) > 0 || passed == 0 {
		return 1
	}
	return 0
}
