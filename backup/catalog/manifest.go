package catalog

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// FormatVersion is the version of the manifest format that this package writes.
const FormatVersion = 1

// MaxManifestSize bounds what [Decode] accepts, in bytes.
const MaxManifestSize = 256 << 20

// Kind tells what a snapshot holds.
type Kind string

const (
	Database Kind = "database" // one database: the byte-exact custom-format archive of pg_dump
	Globals  Kind = "globals"  // roles and tablespaces: the plain SQL of pg_dumpall --globals-only
)

// Manifest describes one complete snapshot. It is written last: a snapshot exists when its manifest does.
type Manifest struct {
	Version  int               `json:"version"`            // FormatVersion
	ID       string            `json:"id"`                 // see NewID; sorts by time
	Run      string            `json:"run"`                // the run that made it, also a NewID
	Kind     Kind              `json:"kind"`               //
	Database string            `json:"database,omitempty"` // exact name; empty for Globals
	Labels   map[string]string `json:"labels,omitempty"`   // named groups of the selecting regexp, and the caller's own

	Cluster  Cluster   `json:"cluster"`
	Tool     string    `json:"tool"`          // what made the archive, such as "pg_dump (PostgreSQL) 15.18"
	Started  time.Time `json:"started"`       // UTC, when the dump began
	Finished time.Time `json:"finished"`      // UTC, when the dump's last byte was stored
	LSN      string    `json:"lsn,omitempty"` // WAL position read just before the dump began, such as "0/16B3748"

	Archive    Archive             `json:"archive"`
	Content    *Content            `json:"content,omitempty"`    // of a Database
	Properties *Properties         `json:"properties,omitempty"` // of a Database
	Extensions map[string]string   `json:"extensions,omitempty"` // name to version
	Roles      []string            `json:"roles,omitempty"`      // roles that own something or are granted something in the database
	Stored     []Object            `json:"stored"`               // what the store wrote; its own business
	Verified   map[Level]time.Time `json:"verified"`             // levels reached while the snapshot was made
}

// Cluster identifies the PostgreSQL cluster a snapshot came from.
type Cluster struct {
	SystemID string `json:"system_id"`      // system identifier of pg_control_system(), decimal
	Version  int    `json:"server_version"` // server_version_num, such as 150018
	Name     string `json:"name,omitempty"` // the cluster_name setting
}

// Archive describes the bytes that [Store.Open] gives back.
type Archive struct {
	Format string `json:"format"` // "custom 1.14", or "sql"
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // hex
}

// Object is one object that a store wrote for a snapshot.
type Object struct {
	Key      string   `json:"key"`
	Size     int64    `json:"size"`
	SHA256   string   `json:"sha256"`             // hex, of the object as stored
	Encoding []string `json:"encoding,omitempty"` // what was applied to the archive, in order: "zstd", "age"
}

// Properties are the settings of a database that stand outside it, in shared catalogs.
type Properties struct {
	Owner           string    `json:"owner"`
	Encoding        string    `json:"encoding"`                 // such as "UTF8"
	Collate         string    `json:"collate"`                  // LC_COLLATE
	Ctype           string    `json:"ctype"`                    // LC_CTYPE
	Provider        string    `json:"locale_provider"`          // "libc", "icu" or "builtin"
	Locale          string    `json:"locale,omitempty"`         // of icu or builtin
	ICURules        string    `json:"icu_rules,omitempty"`      //
	Tablespace      string    `json:"tablespace"`               //
	ConnectionLimit int       `json:"connection_limit"`         // -1 is none
	Comment         string    `json:"comment,omitempty"`        //
	DefaultACL      bool      `json:"default_acl"`              // no GRANT or REVOKE was ever done; ACL is empty
	ACL             []Grant   `json:"acl,omitempty"`            //
	Settings        []Setting `json:"settings,omitempty"`       // ALTER DATABASE … SET, ALTER ROLE … IN DATABASE … SET
	SizeOnServer    int64     `json:"size_on_server,omitempty"` // pg_database_size in bytes; 0 if it could not be read
}

// Grant is one privilege on a database.
type Grant struct {
	Grantee   string `json:"grantee"` // empty is PUBLIC
	Grantor   string `json:"grantor"`
	Privilege string `json:"privilege"` // "CONNECT", "CREATE" or "TEMPORARY"
	Grantable bool   `json:"grantable,omitempty"`
}

// Setting is one configuration parameter kept for a database.
type Setting struct {
	Role  string `json:"role,omitempty"` // empty is every role
	Name  string `json:"name"`
	Value string `json:"value"` // as PostgreSQL keeps it in pg_db_role_setting
}

// NewID returns an identifier that sorts by time and is unique: the UTC time to the second, a dash and 80 random bits, such as
// "20261121T031500Z-k3v9q2m4x7a5c8dh". It needs no escaping in a file name.
func NewID(now time.Time) string {
	var random [10]byte
	rand.Read(random[:])
	return now.UTC().Format(idTime) + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
}

const idTime = "20060102T150405Z"

// IDTime returns the time in an identifier made by [NewID].
func IDTime(id string) (time.Time, error) {
	stamp, random, ok := strings.Cut(id, "-")
	t, err := time.Parse(idTime, stamp)
	if !ok || err != nil || len(random) != 16 || strings.Trim(random, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return time.Time{}, fmt.Errorf("%q is not a snapshot or run identifier", id)
	}
	return t, nil
}

// envelope is what stands in a file: the document and the checksum of its compact form, so that re-indenting is harmless.
type envelope struct {
	Document json.RawMessage `json:"runbook"`
	SHA256   string          `json:"sha256"`
}

// Encode returns the manifest as an indented JSON document with a checksum.
func Encode(m *Manifest) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	return Seal(m)
}

// Decode reads what [Encode] wrote. It refuses a document that was changed, cut, or written by a later version.
func Decode(data []byte) (*Manifest, error) {
	var probe struct{ Version int }
	body, err := unseal(data)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := json.Unmarshal(body, &probe); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if probe.Version != FormatVersion {
		return nil, fmt.Errorf("manifest: version %d is not known here (this program knows %d); use a newer runbook", probe.Version, FormatVersion)
	}
	var m Manifest
	if err := strictJSON(body, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	return &m, nil
}

func (m *Manifest) validate() error {
	var problems []error
	check := func(ok bool, what string) {
		if !ok {
			problems = append(problems, errors.New(what))
		}
	}
	check(m.Version == FormatVersion, fmt.Sprintf("version is %d, not %d", m.Version, FormatVersion))
	_, err := IDTime(m.ID)
	check(err == nil, "id is malformed")
	_, err = IDTime(m.Run)
	check(err == nil, "run is malformed")
	check(m.Kind == Database || m.Kind == Globals, fmt.Sprintf("kind %q is unknown", m.Kind))
	check((m.Kind == Database) == (m.Database != ""), "a database's name is missing, or globals have one")
	check(m.Cluster.SystemID != "" && strings.Trim(m.Cluster.SystemID, "0123456789") == "", "cluster.system_id is not a number")
	check(m.Archive.Size >= 0, "archive.size is negative")
	check(isSHA256(m.Archive.SHA256), "archive.sha256 is not a SHA-256")
	check(m.Kind != Database || m.Content != nil && m.Properties != nil, "content or properties of a database are missing")
	if len(problems) > 0 {
		return fmt.Errorf("manifest of snapshot %q: %w", m.ID, errors.Join(problems...))
	}
	return nil
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size
}

// Seal encodes any small document as JSON with a checksum. [Unseal] is its inverse.
func Seal(document any) ([]byte, error) {
	body, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	out, err := json.MarshalIndent(envelope{body, hex.EncodeToString(sum[:])}, "", " ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

// Unseal decodes into document what [Seal] encoded, and fails if it was changed or cut or has unknown fields.
func Unseal(data []byte, document any) error {
	body, err := unseal(data)
	if err != nil {
		return err
	}
	return strictJSON(body, document)
}

func unseal(data []byte) ([]byte, error) {
	var e envelope
	if err := strictJSON(data, &e); err != nil {
		return nil, fmt.Errorf("is damaged or not ours: %w", err)
	}
	var body bytes.Buffer
	if err := json.Compact(&body, e.Document); err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	if sum := sha256.Sum256(body.Bytes()); e.SHA256 != hex.EncodeToString(sum[:]) {
		return nil, errors.New("is damaged: its checksum does not match")
	}
	return body.Bytes(), nil
}

func strictJSON(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("has something behind its end")
	}
	return nil
}
