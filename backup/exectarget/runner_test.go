package exectarget_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/exectarget"
)

// inProcess plays a plug-in whose put takes what take takes, reports that size and exits 0. It notes the verbs.
func inProcess(t *testing.T, take func(io.Reader) int64) (*exectarget.Target, *[]string) {
	t.Helper()
	var verbs []string
	runner := runbook.RunnerFunc(func(_ context.Context, c runbook.Cmd) error {
		verbs = append(verbs, c.Args[0])
		switch c.Args[0] {
		case "hello":
			fmt.Fprintln(c.Stdout, "runbook-target 1")
		case "put":
			fmt.Fprintln(c.Stdout, "size", take(c.Stdin))
		}
		return nil
	})
	target, err := exectarget.New([]string{"plug-in"}, exectarget.Options{Runner: runner})
	require.NoError(t, err)
	return target, &verbs
}

// The size that is reported is the number of bytes that went through the pipe, but the object has more.
func TestAPlugInThatStopsReadingIsNotCommitted(t *testing.T) {
	target, verbs := inProcess(t, func(r io.Reader) int64 {
		n, _ := io.CopyN(io.Discard, r, 5)
		return n
	})
	err := target.Put(t.Context(), "a", strings.NewReader("more than five bytes"))
	require.ErrorContains(t, err, "before it had read everything")
	require.Equal(t, []string{"hello", "put", "abort"}, *verbs)
}

// A runner of another kind, as over SSH, may not be able to tell an error of standard input from its end.
func TestTheReadersErrorIsFoundWhateverTheRunnerSays(t *testing.T) {
	own := errors.New("the dump failed")
	target, verbs := inProcess(t, func(r io.Reader) int64 {
		n, _ := io.Copy(io.Discard, r)
		return n
	})
	err := target.Put(t.Context(), "a", io.MultiReader(strings.NewReader("half"), failing{own}))
	require.ErrorIs(t, err, own)
	require.Equal(t, []string{"hello", "put", "abort"}, *verbs)

	*verbs = nil
	require.NoError(t, target.Put(t.Context(), "a", strings.NewReader("all of it")))
	require.Equal(t, []string{"put", "commit"}, *verbs)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
