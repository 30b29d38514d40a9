package pgname

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
)

var awkward = []string{
	"plain", "Specibike Dupont", `a"b'c`, "..", ".", "-rf", "host=evil dbname=x", "a/b", `back\slash`, "new\nline", "été", "%2f", "^a", "$(x)", strings.Repeat("É", 31),
}

func TestQuoting(t *testing.T) {
	require.Equal(t, `"a""b"`, Ident(`a"b`))
	require.Equal(t, `'it''s'`, Literal(`it's`))
	require.Equal(t, ` E'\\''x'`, Literal(`\'x`))
	require.Equal(t, `dbname='a\'b\\'`, Conninfo("dbname", `a'b\`))
}

func TestDerivedFitsAndIsText(t *testing.T) {
	for _, name := range awkward {
		derived := Derived(name, "__old_20261121t031500")
		require.LessOrEqual(t, len(derived), 63)
		require.True(t, utf8.ValidString(derived), "%q", derived)
		require.True(t, strings.HasSuffix(derived, "__old_20261121t031500"))
	}
}

func FuzzKey(f *testing.F) {
	for _, name := range awkward {
		f.Add(name, "other")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == "" || len(a) > 63 || b == "" || len(b) > 63 {
			return // not the name of a database
		}
		require.NoError(t, runbook.CheckKey(Key(a)))
		got, err := ParseKey(Key(a))
		require.NoError(t, err)
		require.Equal(t, a, got)
		if a != b {
			require.False(t, strings.EqualFold(Key(a), Key(b)), "%q and %q are one file where case is folded", a, b)
		}
	})
}
