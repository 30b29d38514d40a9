package filestore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/runbook-go/runbook"
	"github.com/runbook-go/runbook/backup/catalog"
	"github.com/runbook-go/runbook/backup/filestore"
	"github.com/runbook-go/runbook/backup/targettest"
)

func newStore(t testing.TB, target runbook.Target, o filestore.Options) *filestore.Store {
	t.Helper()
	s, err := filestore.New(target, o)
	require.NoError(t, err)
	return s
}

func draft(database string) *catalog.Manifest {
	now := time.Now().UTC()
	return &catalog.Manifest{
		Version: catalog.FormatVersion, ID: catalog.NewID(now), Run: catalog.NewID(now), Kind: catalog.Database, Database: database,
		Cluster: catalog.Cluster{SystemID: "7312345678901234567", Version: 150018}, Started: now,
		Content: &catalog.Content{}, Properties: &catalog.Properties{},
	}
}

func writes(archive string) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, archive)
		return err
	}
}

func put(t testing.TB, s *filestore.Store, database, archive string) *catalog.Manifest {
	t.Helper()
	m := draft(database)
	require.NoError(t, s.Put(t.Context(), m, writes(archive)))
	return m
}

func list(t testing.TB, s *filestore.Store, q catalog.Query) (snapshots []*catalog.Snapshot) {
	t.Helper()
	for snapshot, err := range s.List(t.Context(), q) {
		require.NoError(t, err)
		snapshots = append(snapshots, snapshot)
	}
	return snapshots
}

func ids(snapshots []*catalog.Snapshot) (ids []string) {
	for _, s := range snapshots {
		ids = append(ids, s.ID)
	}
	return ids
}

func keys(t testing.TB, target runbook.Target) (keys []string) {
	t.Helper()
	for o, err := range target.List(t.Context(), "") {
		require.NoError(t, err)
		keys = append(keys, o.Key)
	}
	return keys
}

func content(t testing.TB, target runbook.Target, key string) []byte {
	t.Helper()
	r, err := target.Open(t.Context(), key)
	require.NoError(t, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	return data
}

func open(t testing.TB, s *filestore.Store, m *catalog.Manifest) (string, error) {
	t.Helper()
	r, err := s.Open(t.Context(), m)
	if err != nil {
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	return string(data), err
}

func TestRoundTrip(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	for name, o := range map[string]filestore.Options{
		"plain":     {},
		"encrypted": {Recipients: []string{identity.Recipient().String()}, Identity: []byte(identity.String())},
		"small":     {Level: 19},
	} {
		t.Run(name, func(t *testing.T) {
			memory := targettest.NewMemory()
			s := newStore(t, memory, o)
			archive := strings.Repeat("a secret row of the archive\n", 10_000)
			m := put(t, s, "Specibike Dupont/..", archive)

			found := list(t, s, catalog.Query{})
			require.Len(t, found, 1)
			require.Equal(t, *m, found[0].Manifest)
			require.Contains(t, found[0].Verified, catalog.L2)
			sum := sha256.Sum256([]byte(archive))
			require.Equal(t, hex.EncodeToString(sum[:]), found[0].Archive.SHA256)
			got, err := open(t, s, &found[0].Manifest)
			require.NoError(t, err)
			require.Equal(t, archive, got)

			stored := keys(t, memory)
			require.Len(t, stored, 2)
			require.True(t, strings.HasPrefix(stored[0], "runbook-v1/7312345678901234567/db/^Specibike%20^Dupont%2f.%2e/"+m.ID+".dump.zst"), stored[0])
			raw := content(t, memory, stored[0])
			if name == "encrypted" {
				require.NotContains(t, string(raw), "secret")
				plain, err := age.Decrypt(bytes.NewReader(raw), identity)
				require.NoError(t, err)
				raw, err = io.ReadAll(plain)
				require.NoError(t, err)
			}
			// What a stock zstd makes of it.
			z, err := zstd.NewReader(bytes.NewReader(raw))
			require.NoError(t, err)
			defer z.Close()
			plain, err := io.ReadAll(z)
			require.NoError(t, err)
			require.Equal(t, archive, string(plain))
		})
	}
}

func TestEncryptedNeedsTheRightIdentity(t *testing.T) {
	right, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	wrong, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	memory := targettest.NewMemory()
	m := put(t, newStore(t, memory, filestore.Options{Recipients: []string{right.Recipient().String()}}), "db", "archive")

	_, err = open(t, newStore(t, memory, filestore.Options{}), m)
	require.ErrorContains(t, err, "give the age identity")
	_, err = open(t, newStore(t, memory, filestore.Options{Identity: []byte(wrong.String())}), m)
	require.ErrorContains(t, err, "none of the given age identities")
	got, err := open(t, newStore(t, memory, filestore.Options{Identity: []byte("# key\n" + right.String() + "\n")}), m)
	require.NoError(t, err)
	require.Equal(t, "archive", got)
}

func TestOptionsReportEveryProblemAndNoSecret(t *testing.T) {
	_, err := filestore.New(nil, filestore.Options{Recipients: []string{"age1nonsense"}, Identity: []byte("AGE-SECRET-KEY-1NONSENSE"), Level: 23, UploadLimit: -1, LeaseTTL: -1})
	for _, want := range []string{"target is nil", "age1nonsense", "identity", "level 23", "upload limit", "lease TTL"} {
		require.ErrorContains(t, err, want)
	}
	require.NotContains(t, err.Error(), "SECRET-KEY-1N")
}

func TestAFailedDumpLeavesNothing(t *testing.T) {
	broken := errors.New("pg_dump exited 1 at its last byte")
	memory := targettest.NewMemory()
	s := newStore(t, &spy{Target: memory, put: func(ctx context.Context, key string, r io.Reader) error {
		err := memory.Put(ctx, key, r)
		require.Error(t, err, "not even the archive may become visible, manifest or not")
		return err
	}}, filestore.Options{})
	err := s.Put(t.Context(), draft("db"), func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("x", 1<<20))
		return errors.Join(err, broken)
	})
	require.ErrorIs(t, err, broken)
	require.Empty(t, keys(t, memory))
}

func TestACancelledPutEndsTheDumpAndLeavesNothing(t *testing.T) {
	memory := targettest.NewMemory()
	s := newStore(t, memory, filestore.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := false
	err := s.Put(ctx, draft("db"), func(ctx context.Context, w io.Writer) error {
		cancel()
		<-ctx.Done()
		ended = true
		return context.Cause(ctx)
	})
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, ended)
	require.Empty(t, keys(t, memory))
}

// spy lets a test stand between the store and its target.
type spy struct {
	runbook.Target
	put  func(ctx context.Context, key string, r io.Reader) error
	list func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error]
}

func (s *spy) Put(ctx context.Context, key string, r io.Reader) error {
	if s.put != nil {
		return s.put(ctx, key, r)
	}
	return s.Target.Put(ctx, key, r)
}

func (s *spy) List(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
	if s.list != nil {
		return s.list(ctx, prefix)
	}
	return s.Target.List(ctx, prefix)
}

func TestTheManifestComesLast(t *testing.T) {
	memory := targettest.NewMemory()
	var order []string
	s := newStore(t, &spy{Target: memory, put: func(ctx context.Context, key string, r io.Reader) error {
		order = append(order, key[strings.LastIndexByte(key, '/')+1:])
		return memory.Put(ctx, key, r)
	}}, filestore.Options{})
	m := put(t, s, "db", "archive")
	require.Equal(t, []string{m.ID + ".dump.zst", m.ID + ".json"}, order)
}

func TestReadBackFindsWhatTheTargetChanged(t *testing.T) {
	memory := targettest.NewMemory()
	s := newStore(t, &spy{Target: memory, put: func(ctx context.Context, key string, r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		data[len(data)/2] ^= 1
		return memory.Put(ctx, key, bytes.NewReader(data))
	}}, filestore.Options{})
	err := s.Put(t.Context(), draft("db"), writes("archive"))
	require.ErrorContains(t, err, "read back")
	require.Empty(t, keys(t, memory))
}

func TestATargetThatHidesAReadersErrorPublishesNothing(t *testing.T) {
	broken := errors.New("cut")
	memory := targettest.NewMemory()
	s := newStore(t, &spy{Target: memory, put: func(ctx context.Context, key string, r io.Reader) error {
		data, _ := io.ReadAll(r)
		return memory.Put(ctx, key, bytes.NewReader(data))
	}}, filestore.Options{})
	err := s.Put(t.Context(), draft("db"), func(context.Context, io.Writer) error { return broken })
	require.ErrorIs(t, err, broken)
	require.Empty(t, keys(t, memory))
}

func TestEveryFlippedByteIsFound(t *testing.T) {
	memory := targettest.NewMemory()
	s := newStore(t, memory, filestore.Options{})
	archive := strings.Repeat("row\n", 50)
	m := put(t, s, "db", archive)
	for _, key := range keys(t, memory) {
		good := content(t, memory, key)
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 0x10
			replace(t, memory, key, bad)
			for snapshot, err := range s.List(t.Context(), catalog.Query{}) {
				if err != nil {
					require.ErrorContains(t, err, m.ID)
					continue
				}
				got, err := open(t, s, &snapshot.Manifest)
				if strings.HasSuffix(key, ".json") {
					// A change that only re-indents the document is no damage.
					require.NoError(t, err)
					require.Equal(t, *m, snapshot.Manifest, "byte %d of %s", i, key)
					continue
				}
				require.Error(t, err, "byte %d of %s", i, key)
				require.NotEqual(t, archive+"x", got)
			}
		}
		for cut := range len(good) {
			replace(t, memory, key, good[:cut])
			for _, err := range s.List(t.Context(), catalog.Query{}) {
				if err == nil {
					require.True(t, strings.HasSuffix(key, ".json") && len(bytes.TrimSpace(good[cut:])) == 0, "%s cut to %d bytes", key, cut)
				}
			}
		}
		replace(t, memory, key, good)
	}
	require.Len(t, list(t, s, catalog.Query{}), 1)
}

func replace(t testing.TB, target runbook.Target, key string, data []byte) {
	t.Helper()
	require.NoError(t, target.Delete(t.Context(), key))
	require.NoError(t, target.Put(t.Context(), key, bytes.NewReader(data)))
}

func TestAManifestInAnotherFolderIsNotTrusted(t *testing.T) {
	memory := targettest.NewMemory()
	s := newStore(t, memory, filestore.Options{})
	m := put(t, s, "victim", "archive")
	for _, key := range keys(t, memory) {
		data := content(t, memory, key)
		require.NoError(t, memory.Delete(t.Context(), key))
		require.NoError(t, memory.Put(t.Context(), strings.Replace(key, "/victim/", "/other/", 1), bytes.NewReader(data)))
	}
	for _, err := range s.List(t.Context(), catalog.Query{}) {
		require.ErrorContains(t, err, "belongs into")
	}
	lying := put(t, s, "db", "archive")
	lying.Archive.SHA256 = strings.Repeat("00", 32)
	_, err := open(t, s, lying)
	require.ErrorContains(t, err, "not the one its manifest describes")

	m.Stored[0].Key = "runbook-v1/../../etc/passwd"
	_, err = s.Open(t.Context(), m)
	require.ErrorContains(t, err, "not its own")
}

func TestListSelectsAndGroups(t *testing.T) {
	memory := targettest.NewMemory()
	s := newStore(t, memory, filestore.Options{})
	var want []string
	for _, database := range []string{"B", "a", "z"} {
		for range 20 {
			m := draft(database)
			m.Labels = map[string]string{"class": database}
			require.NoError(t, s.Put(t.Context(), m, writes("archive")))
			want = append(want, m.ID)
		}
		slices.Sort(want[len(want)-20:])
	}
	globals := draft("")
	globals.Kind, globals.Content, globals.Properties = catalog.Globals, nil, nil
	require.NoError(t, s.Put(t.Context(), globals, writes("CREATE ROLE x;")))
	require.NoError(t, memory.Put(t.Context(), "runbook-v1/README.json", strings.NewReader("what others put here is no snapshot")))

	require.ElementsMatch(t, append(slices.Clone(want), globals.ID), ids(list(t, s, catalog.Query{})))
	require.Equal(t, want[20:40], ids(list(t, s, catalog.Query{Database: "a"})))
	require.Equal(t, want[20:40], ids(list(t, s, catalog.Query{SystemID: "7312345678901234567", Database: "a"})))
	require.Equal(t, want[:20], ids(list(t, s, catalog.Query{Labels: map[string]string{"class": "B"}})))
	require.Equal(t, want[5:6], ids(list(t, s, catalog.Query{ID: want[5]})))
	require.Equal(t, []string{globals.ID}, ids(list(t, s, catalog.Query{Kind: catalog.Globals})))
	require.Empty(t, list(t, s, catalog.Query{SystemID: "1"}))
	n := 0
	for range s.List(t.Context(), catalog.Query{}) {
		if n++; n == 3 {
			break
		}
	}
}

func TestEvidence(t *testing.T) {
	memory := targettest.NewMemory()
	s := newStore(t, memory, filestore.Options{})
	m := put(t, s, "db", "archive")
	other := put(t, s, "db", "archive")
	at := time.Now().UTC().Truncate(time.Second)
	require.NoError(t, s.Record(t.Context(), m, catalog.Evidence{At: at, Passed: true, Level: catalog.L4, Restore: time.Second}))
	require.NoError(t, s.Record(t.Context(), m, catalog.Evidence{At: at.Add(time.Hour), Passed: false, Level: catalog.L4, Problem: "row lost"}))
	require.NoError(t, s.Record(t.Context(), m, catalog.Evidence{At: at.Add(2 * time.Hour), Passed: true, Level: catalog.L3}))
	for _, snapshot := range list(t, s, catalog.Query{}) {
		level, when := snapshot.Proven()
		if snapshot.ID == other.ID {
			require.Equal(t, catalog.L2, level)
			require.False(t, snapshot.Restorable())
			continue
		}
		require.Len(t, snapshot.Evidence, 3)
		require.Equal(t, "row lost", snapshot.Evidence[1].Problem)
		require.Equal(t, catalog.L3, level)
		require.Equal(t, at.Add(2*time.Hour), when)
	}
	for _, key := range keys(t, memory) {
		if strings.Contains(key, "evidence") {
			replace(t, memory, key, []byte("damaged"))
		}
	}
	require.Len(t, list(t, s, catalog.Query{}), 2, "damaged evidence must not hide a snapshot")
}

func TestDeleteIsUnlistedFirstAndSweptLater(t *testing.T) {
	memory := targettest.NewMemory()
	plain := newStore(t, memory, filestore.Options{})
	stays := put(t, plain, "db", "stays")
	for crash := 1; ; crash++ {
		m := put(t, plain, "db", "goes")
		faulty := &dies{Target: memory, after: crash}
		err := newStore(t, faulty, filestore.Options{}).Delete(t.Context(), m, "test")
		if err == nil {
			require.Greater(t, crash, 4)
			break
		}
		for _, s := range list(t, plain, catalog.Query{}) {
			_, err := open(t, plain, &s.Manifest)
			require.NoError(t, err, "a listed snapshot must be whole after a crash at change %d", crash)
		}
		if crash > 1 {
			require.Equal(t, []string{stays.ID}, ids(list(t, plain, catalog.Query{})), "its mark alone makes it unlisted")
		}
		_, err = plain.Sweep(t.Context(), time.Now().Add(-time.Hour))
		require.NoError(t, err)
		if found := ids(list(t, plain, catalog.Query{})); len(found) == 2 {
			require.Equal(t, 1, crash, "only before the first change it may still be listed")
			require.NoError(t, plain.Delete(t.Context(), m, "test"))
		}
		require.Equal(t, []string{stays.ID}, ids(list(t, plain, catalog.Query{})))
		require.Len(t, keys(t, memory), 2, "crash at change %d", crash)
	}
	require.Equal(t, []string{stays.ID}, ids(list(t, plain, catalog.Query{})))
}

// dies fails every change from the given one on, as if the process had been killed.
type dies struct {
	runbook.Target
	after int
}

func (d *dies) step() error {
	if d.after--; d.after <= 0 {
		return errors.New("killed")
	}
	return nil
}

func (d *dies) Put(ctx context.Context, key string, r io.Reader) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Target.Put(ctx, key, r)
}

func (d *dies) Delete(ctx context.Context, key string) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Target.Delete(ctx, key)
}

func TestSweepRemovesOldOrphansOnly(t *testing.T) {
	memory := targettest.NewMemory()
	s := newStore(t, memory, filestore.Options{})
	whole := put(t, s, "db", "whole")
	orphan := draft("db")
	key := fmt.Sprintf("runbook-v1/%s/db/db/%s.dump.zst", orphan.Cluster.SystemID, orphan.ID)
	require.NoError(t, memory.Put(t.Context(), key, strings.NewReader("cut off")))

	swept, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Zero(t, swept.Objects, "it is young: its writer may live")
	swept, err = s.Sweep(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, catalog.Swept{Objects: 1, Bytes: 7}, swept)
	require.Equal(t, []string{whole.ID}, ids(list(t, s, catalog.Query{})))
	require.Len(t, keys(t, memory), 2)
}

// A sweep and a slow writer meet at every possible point: either the snapshot is published and whole, or it is not listed.
func TestSweepMeetsASlowWriter(t *testing.T) {
	for at := range 12 {
		memory := targettest.NewMemory()
		plain := newStore(t, memory, filestore.Options{})
		calls := 0
		meet := func() {
			if calls++; calls == at {
				_, err := plain.Sweep(t.Context(), time.Now().Add(time.Hour))
				require.NoError(t, err)
			}
		}
		s := newStore(t, &spy{
			Target: memory,
			put: func(ctx context.Context, key string, r io.Reader) error {
				meet()
				err := memory.Put(ctx, key, r)
				meet()
				return err
			},
			list: func(ctx context.Context, prefix string) iter.Seq2[runbook.Object, error] {
				meet()
				return memory.List(ctx, prefix)
			},
		}, filestore.Options{SkipReadBack: true})
		m := draft("db")
		err := s.Put(t.Context(), m, writes("archive"))
		found := list(t, plain, catalog.Query{})
		if err != nil {
			require.Empty(t, found, "sweep at call %d", at)
			continue
		}
		require.Equal(t, []string{m.ID}, ids(found), "sweep at call %d", at)
		_, err = open(t, plain, m)
		require.NoError(t, err)
	}
}

func TestAFullTargetIsRefusedBeforeTheDump(t *testing.T) {
	s := newStore(t, full{targettest.NewMemory()}, filestore.Options{})
	err := s.Put(t.Context(), draft("db"), func(context.Context, io.Writer) error { t.Error("dumped"); return nil })
	require.ErrorContains(t, err, "must stay free")
}

type full struct{ runbook.Target }

func (full) FreeSpace(context.Context) (int64, error) { return 1 << 20, nil }

func TestOpenMissing(t *testing.T) {
	memory := targettest.NewMemory()
	s := newStore(t, memory, filestore.Options{})
	m := put(t, s, "db", "archive")
	require.NoError(t, memory.Delete(t.Context(), m.Stored[0].Key))
	_, err := s.Open(t.Context(), m)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, err := range s.List(t.Context(), catalog.Query{}) {
		require.ErrorContains(t, err, "gone")
	}
}

func TestCopyBetweenStores(t *testing.T) {
	from, to := newStore(t, targettest.NewMemory(), filestore.Options{}), newStore(t, targettest.NewMemory(), filestore.Options{Level: 3})
	m := put(t, from, "db", "archive")
	_, err := catalog.Copy(t.Context(), to, from, m)
	require.NoError(t, err)
	found := list(t, to, catalog.Query{})
	require.Equal(t, []string{m.ID}, ids(found))
	got, err := open(t, to, &found[0].Manifest)
	require.NoError(t, err)
	require.Equal(t, "archive", got)
}
