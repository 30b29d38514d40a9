package awkward

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// The fixtures are sound: PostgreSQL's own programs carry each of them over.
func TestPlainToolsCarryEachOver(t *testing.T) {
	s := pgtest.Start(t)
	CreateRoles(t, s)
	t.Run("all", func(t *testing.T) { // ends when the parallel ones have ended, so that they are gone before the roles
		for _, d := range contents() {
			t.Run(d.Name, func(t *testing.T) {
				t.Parallel()
				d.Create(t, s)
				copied := "copied " + d.Name
				s.CreateDatabase(t, copied, d.Options)
				restore(t, s, s.Dump(t, d.Name), copied)
				want, got := s.PlainDump(t, d.Name), s.PlainDump(t, copied)
				if d.Moves {
					want, got = sortedLines(want), sortedLines(got)
				}
				if !bytes.Equal(want, got) {
					require.Equal(t, string(want), string(got))
				}
			})
		}
		for i, d := range names() {
			t.Run(d.Name, func(t *testing.T) {
				t.Parallel()
				d.Create(t, s)
				dump := s.Dump(t, d.Name)
				s.Exec(t, d.Name, "DROP TABLE name")
				restore(t, s, dump, d.Name)
				var n int
				var name string
				require.NoError(t, s.Connect(t, d.Name).QueryRow(t.Context(), "SELECT n, name FROM name").Scan(&n, &name))
				require.Equal(t, i, n)
				require.Equal(t, d.Name, name)
			})
		}
	})
}

func sortedLines(text []byte) []byte {
	lines := bytes.Split(text, []byte("\n"))
	slices.SortFunc(lines, bytes.Compare)
	return bytes.Join(lines, []byte("\n"))
}

func restore(t *testing.T, s *pgtest.Server, dump []byte, database string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dump")
	require.NoError(t, os.WriteFile(file, dump, 0o600))
	s.Run(t, "pg_restore", database, "--exit-on-error", file)
}

func TestNamesAreDistinct(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range Databases() {
		require.False(t, seen[d.Name], d.Name)
		seen[d.Name] = true
		require.LessOrEqual(t, len(d.Name), 63)
	}
}
