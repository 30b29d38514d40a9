package wording

import (
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1 kB", 1234: "1.23 kB", 999_499: "999 kB", 999_500: "1 MB", 57_200_000: "57.2 MB", 3_530_000_000: "3.53 GB", 5e15: "5e+03 TB",
	} {
		require.Equal(t, want, Bytes(n))
	}
}

func TestFailures(t *testing.T) {
	require.NoError(t, Failures("parts", nil))
	err := Failures("parts", []error{errors.New("one\nin two lines"), io.ErrUnexpectedEOF})
	require.EqualError(t, err, "2 parts failed:\n  one\n    in two lines\n  unexpected EOF")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}
