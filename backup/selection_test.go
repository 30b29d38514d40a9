package backup

import (
	"regexp"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func databases(names ...string) (list []Database) {
	for _, name := range names {
		list = append(list, Database{Name: name, AllowsConnections: true})
	}
	return list
}

func names(choices []Choice) (list []string) {
	for _, c := range choices {
		list = append(list, c.Database.Name)
	}
	return list
}

func TestChoose(t *testing.T) {
	all := databases("Specibike", "SpecibikeDupont", "SpecibikeStmg1", "SpecibikeStmg1Groupe2", "a/b", "new\nline", "postgres", "specibike", "x*y", "x1y")
	all = append(all, Database{Name: "SpecibikeClosed"}, Database{Name: "template1", IsTemplate: true, AllowsConnections: true})
	for name, c := range map[string]struct {
		s    Selection
		want []string
	}{
		"everything":         {Selection{Exclude: []string{"[!S]*"}}, []string{"Specibike", "SpecibikeDupont", "SpecibikeStmg1", "SpecibikeStmg1Groupe2", "SpecibikeClosed"}},
		"prefix":             {Selection{Include: []string{"Specibike*"}, Exclude: []string{"*Groupe?"}}, []string{"Specibike", "SpecibikeDupont", "SpecibikeStmg1", "SpecibikeClosed"}},
		"case folded":        {Selection{Include: []string{"SPECIBIKE"}, FoldCase: true}, []string{"Specibike", "specibike"}},
		"one character":      {Selection{Include: []string{"x?y"}}, []string{"x*y", "x1y"}},
		"class":              {Selection{Include: []string{"x[0-9]y"}}, []string{"x1y"}},
		"negated class":      {Selection{Include: []string{"x[!0-9]y"}}, []string{"x*y"}},
		"escaped star":       {Selection{Include: []string{`x\*y`}}, []string{"x*y"}},
		"star takes a slash": {Selection{Include: []string{"a*"}}, []string{"a/b"}},
		"and a line feed":    {Selection{Include: []string{"new*"}}, []string{"new\nline"}},
		"names":              {Selection{Names: []string{"x*y", "postgres"}}, []string{"postgres", "x*y"}},
		"regexp is anchored": {Selection{Regexp: regexp.MustCompile(`Specibike`)}, []string{"Specibike"}},
		"union":              {Selection{Names: []string{"postgres"}, Include: []string{"a/?"}}, []string{"a/b", "postgres"}},
	} {
		t.Run(name, func(t *testing.T) {
			choices, err := c.s.Choose(all)
			require.NoError(t, err)
			require.Equal(t, c.want, names(choices))
		})
	}
}

func TestChooseLabelsBySchoolCode(t *testing.T) {
	s := Selection{Regexp: regexp.MustCompile(`^Specibike(?P<class>Stmg[0-9])?(?P<group>Groupe[0-9])?$`)}
	choices, err := s.Choose(databases("Specibike", "SpecibikeStmg1", "SpecibikeStmg1Groupe2", "SpecibikeStmg1Groupe2\n"))
	require.NoError(t, err)
	require.Equal(t, []string{"Specibike", "SpecibikeStmg1", "SpecibikeStmg1Groupe2"}, names(choices))
	require.Empty(t, choices[0].Labels)
	require.Equal(t, map[string]string{"class": "Stmg1", "group": "Groupe2"}, choices[2].Labels)
}

func TestChooseReportsTemplatesAndClosedOnes(t *testing.T) {
	all := append(databases("db"), Database{Name: "closed"}, Database{Name: "template0", IsTemplate: true})
	choices, err := Selection{}.Choose(all)
	require.NoError(t, err)
	require.Empty(t, choices[0].Skip)
	require.Contains(t, choices[1].Skip, "allows no connections")
	require.Contains(t, choices[2].Skip, "template")

	old := Database{Name: "db__old_20261121T031500Z", AllowsConnections: true}
	old.Properties.Comment = `runbook restore {"kind":"old"}`
	choices, err = Selection{}.Choose([]Database{old})
	require.NoError(t, err)
	require.Contains(t, choices[0].Skip, "belongs to a restore")
}

func TestChooseSaysWhatItDidNotFind(t *testing.T) {
	s := Selection{Include: []string{"nothing*", "d?"}, Names: []string{"gone"}, Regexp: regexp.MustCompile("never")}
	choices, err := s.Choose(databases("db"))
	require.Equal(t, []string{"db"}, names(choices), "the rest is chosen all the same")
	require.ErrorContains(t, err, `pattern "nothing*" matches no database`)
	require.ErrorContains(t, err, `database "gone" does not exist`)
	require.ErrorContains(t, err, `regexp "never" matches no database`)
	s.AllowMissing, s.AllowNone = true, true
	_, err = s.Choose(databases("db"))
	require.NoError(t, err)
}

func TestBadPatterns(t *testing.T) {
	for _, pattern := range []string{"", `a\`, "[a", "[z-a]", "[]"} {
		_, err := Selection{Include: []string{pattern}}.Choose(nil)
		require.ErrorContains(t, err, "pattern", pattern)
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("Specibike*", "SpecibikeDupont")
	f.Add(`[!a-z]\*?`, "x")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if re, err := globRegexp(pattern, false); err == nil {
			re.MatchString(name)
		}
		if name == "" || !utf8.ValidString(name) {
			return
		}
		literal, err := globRegexp(regexp.MustCompile(`[][*?\\]`).ReplaceAllString(name, `\$0`), false)
		require.NoError(t, err)
		require.True(t, literal.MatchString(name))
		require.False(t, literal.MatchString(name+"x"))
	})
}
