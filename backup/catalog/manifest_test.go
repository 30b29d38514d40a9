package catalog_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook/backup/catalog"
)

var update = flag.Bool("update", false, "write the golden files anew")

func example() *catalog.Manifest {
	at := time.Date(2026, 11, 21, 3, 15, 0, 0, time.UTC)
	sum := strings.Repeat("ab", 32)
	return &catalog.Manifest{
		Version: 1, ID: "20261121T031500Z-k3v2q2m4x7a5c2dh", Run: "20261121T031459Z-aaaaaaaaaaaaaaaa", Kind: catalog.Database,
		Database: "Specibike \"Dupont\"\n", Labels: map[string]string{"class": "Stmg1"},
		Cluster: catalog.Cluster{SystemID: "7312345678901234567", Version: 150018, Name: "15/main"},
		Tool:    "pg_dump (PostgreSQL) 15.18", Started: at, Finished: at.Add(3 * time.Second), LSN: "0/16B3748",
		Archive: catalog.Archive{Format: "custom 1.14", Size: 30_412_345, SHA256: sum},
		Content: &catalog.Content{
			Tables:       []catalog.Table{{Schema: "public", Name: "article", Rows: 100, Bytes: 1234, SHA256: sum}},
			LargeObjects: catalog.LargeObjects{Count: 1, Bytes: 5, SHA256: sum}, Entries: 12, Definitions: sum, Sequences: sum,
		},
		Properties: &catalog.Properties{
			Owner: "openpg", Encoding: "UTF8", Collate: "C.UTF-8", Ctype: "C.UTF-8", Provider: "libc", Tablespace: "pg_default", ConnectionLimit: -1,
			ACL:      []catalog.Grant{{Grantor: "openpg", Privilege: "CONNECT"}, {Grantee: "pupil", Grantor: "openpg", Privilege: "CREATE", Grantable: true}},
			Settings: []catalog.Setting{{Name: "search_path", Value: `"$user", public`}, {Role: "pupil", Name: "work_mem", Value: "8MB"}},
			Comment:  "a pupil's", SizeOnServer: 57_000_000,
		},
		Extensions: map[string]string{"plpgsql": "1.0"}, Roles: []string{"openpg", "pupil"},
		Stored:   []catalog.Object{{Key: "runbook-v1/…", Size: 7_412_345, SHA256: sum, Encoding: []string{"zstd"}}},
		Verified: map[catalog.Level]time.Time{catalog.L0: at, catalog.L1: at, catalog.L2: at},
	}
}

// The golden file of each version must stay readable for ever: never change it, add a new one.
func TestManifestVersion1StaysReadable(t *testing.T) {
	const golden = "testdata/manifest-v1.json"
	data, err := catalog.Encode(example())
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(golden, data, 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(data))
	m, err := catalog.Decode(want)
	require.NoError(t, err)
	require.Equal(t, example(), m)

	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, want, "\t", "    "))
	m, err = catalog.Decode(indented.Bytes())
	require.NoError(t, err, "who re-indents a manifest does not damage it")
	require.Equal(t, example(), m)
}

func TestDecodeRefuses(t *testing.T) {
	good, err := catalog.Encode(example())
	require.NoError(t, err)
	sealed := func(change func(map[string]any)) []byte {
		var e struct{ Runbook map[string]any }
		require.NoError(t, json.Unmarshal(good, &e))
		change(e.Runbook)
		data, err := catalog.Seal(e.Runbook)
		require.NoError(t, err)
		return data
	}
	for want, data := range map[string][]byte{
		"use a newer runbook":   sealed(func(m map[string]any) { m["version"] = 2 }),
		"unknown field":         sealed(func(m map[string]any) { m["surprise"] = 1 }),
		"id is malformed":       sealed(func(m map[string]any) { m["id"] = "../../etc" }),
		"run is malformed":      sealed(func(m map[string]any) { m["run"] = "" }),
		"kind":                  sealed(func(m map[string]any) { m["kind"] = "table" }),
		"system_id":             sealed(func(m map[string]any) { m["cluster"].(map[string]any)["system_id"] = "../x" }),
		"not a SHA-256":         sealed(func(m map[string]any) { m["archive"].(map[string]any)["sha256"] = "abc" }),
		"content or properties": sealed(func(m map[string]any) { delete(m, "content") }),
		"checksum":              bytes.Replace(good, []byte("article"), []byte("artikle"), 1),
		"damaged":               good[:len(good)/2],
		"behind its end":        append(bytes.Clone(good), "{}"...),
	} {
		_, err := catalog.Decode(data)
		require.ErrorContains(t, err, want)
	}
}

func FuzzDecode(f *testing.F) {
	good, err := catalog.Encode(example())
	require.NoError(f, err)
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := catalog.Decode(data)
		if err != nil {
			return
		}
		again, err := catalog.Encode(m)
		require.NoError(t, err)
		same, err := catalog.Decode(again)
		require.NoError(t, err)
		require.Equal(t, m, same)
	})
}

func TestIDs(t *testing.T) {
	at := time.Date(2026, 11, 21, 3, 15, 0, 999, time.FixedZone("", 3600))
	a, b := catalog.NewID(at), catalog.NewID(at)
	require.NotEqual(t, a, b)
	got, err := catalog.IDTime(a)
	require.NoError(t, err)
	require.Equal(t, at.UTC().Truncate(time.Second), got)
	require.Less(t, a, catalog.NewID(at.Add(time.Second)))
	for _, bad := range []string{"", "x", a + "x", a[:20], strings.ToUpper(a), "20261121T031500Z-../../../../../."} {
		_, err := catalog.IDTime(bad)
		require.Error(t, err, bad)
	}
}

func TestDiffNamesEveryDifference(t *testing.T) {
	want := example().Content
	require.Empty(t, want.Diff(example().Content))
	got := example().Content
	got.Tables[0].Rows--
	got.Tables = append(got.Tables, catalog.Table{Schema: "public", Name: "extra"})
	got.LargeObjects.Bytes++
	got.Sequences = ""
	require.Equal(t, []string{
		`table "public"."article" has 99 rows, not 100`,
		`table "public"."extra" should not be there (0 rows)`,
		`large objects differ: 1 with 6 bytes, not 1 with 5`,
		`sequence positions differ`,
	}, want.Diff(got))
	got = example().Content
	got.Tables[0].SHA256 = ""
	require.Contains(t, want.Diff(got)[0], "content differs")
	got.Tables = nil
	require.Contains(t, want.Diff(got)[0], "is missing (100 rows)")
}

func TestProven(t *testing.T) {
	at := time.Date(2026, 11, 21, 3, 15, 0, 0, time.UTC)
	pass := func(l catalog.Level, day int) catalog.Evidence {
		return catalog.Evidence{Passed: true, Level: l, At: at.AddDate(0, 0, day)}
	}
	fail := func(day int) catalog.Evidence { return catalog.Evidence{Level: catalog.L4, At: at.AddDate(0, 0, day)} }
	for name, c := range map[string]struct {
		evidence []catalog.Evidence
		want     catalog.Level
		day      int
	}{
		"as made":              {nil, catalog.L2, 0},
		"proven":               {[]catalog.Evidence{pass(catalog.L4, 1)}, catalog.L4, 1},
		"proven again":         {[]catalog.Evidence{pass(catalog.L4, 1), pass(catalog.L4, 2)}, catalog.L4, 2},
		"a lower pass later":   {[]catalog.Evidence{pass(catalog.L4, 1), pass(catalog.L3, 2)}, catalog.L4, 1},
		"failed since":         {[]catalog.Evidence{pass(catalog.L4, 1), fail(2)}, catalog.L2, 0},
		"failed, then proven":  {[]catalog.Evidence{fail(1), pass(catalog.L4, 2)}, catalog.L4, 2},
		"failed and then less": {[]catalog.Evidence{fail(1), pass(catalog.L3, 2)}, catalog.L3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := catalog.Snapshot{Manifest: *example(), Evidence: c.evidence}
			level, when := s.Proven()
			require.Equal(t, c.want, level)
			require.Equal(t, at.AddDate(0, 0, c.day), when)
			require.Equal(t, c.want >= catalog.L3, s.Restorable())
		})
	}
}
