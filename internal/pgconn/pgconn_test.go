package pgconn

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for name, dsn := range map[string]string{
		"pairs": `host=db.example port=5433 user='o''x' password=s\'cret dbname=maint sslmode=disable`,
		"url":   `postgres://o:s%27cret@db.example:5433/maint?sslmode=disable`,
	} {
		t.Run(name, func(t *testing.T) {
			if name == "pairs" {
				dsn = strings.ReplaceAll(dsn, `'o''x'`, `o`)
			}
			s, err := Parse(dsn)
			require.NoError(t, err)
			require.Equal(t, "maint", s.Maintenance())
			require.Equal(t, "o@db.example:5433", s.String())
			require.Equal(t, []string{"--no-password", `--dbname=connect_timeout='15' dbname='a''b=\\' host='db.example' port='5433' sslmode='disable' user='o'`},
				replaceAll(s.Args(`a'b=\`), `a\'b`, `a''b`))
			require.Contains(t, s.Env(), "PGPASSWORD=s'cret")
			for _, arg := range s.Args("x") {
				require.NotContains(t, arg, "cret")
			}
		})
	}
}

func replaceAll(list []string, old, new string) []string {
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], old, new)
	}
	return list
}

func TestParseIgnoresTheEnvironment(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE", "PGOPTIONS", "PGAPPNAME", "PGTARGETSESSIONATTRS", "PGSSLROOTCERT", "PGCONNECT_TIMEOUT", "PGTZ"} {
		t.Setenv(name, "/nonsense")
	}
	s, err := Parse("host=/tmp user=me")
	require.NoError(t, err)
	config, err := s.config("db")
	require.NoError(t, err)
	require.Equal(t, "/tmp", config.Host)
	require.Equal(t, uint16(5432), config.Port)
	require.Equal(t, "me", config.User)
	require.Equal(t, "db", config.Database)
	require.Empty(t, config.Password)
	require.NotContains(t, strings.Join(mapValues(config.RuntimeParams), " "), "nonsense")
}

func mapValues(m map[string]string) (values []string) {
	for _, v := range m {
		values = append(values, v)
	}
	return values
}

func TestParseRefuses(t *testing.T) {
	for dsn, want := range map[string]string{
		"user=me":                     "host is missing",
		"host=h":                      "user is missing",
		"host=h user=u sslpassword=x": `"sslpassword" is not supported`,
		"specibike":                   "is not of the form",
		"host=h user='u":              "no closing quote",
		"postgres://u:s3cret@h:port/": "does not parse",
		"host=h user=u password=s3cret sslmode=perhaps": "sslmode",
	} {
		_, err := Parse(dsn)
		require.ErrorContains(t, err, want, dsn)
		require.NotContains(t, err.Error(), "s3cret")
	}
}
