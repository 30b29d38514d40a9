package catalog

import (
	"fmt"
	"time"
)

// Level is how far a snapshot has been verified. Each level includes those below it.
type Level int

const (
	L0 Level = iota // pg_dump exited 0
	L1              // the archive was walked from first to last byte, every table counted and hashed
	L2              // the stored object was read back from the target and is byte for byte what was sent
	L3              // the archive was restored into a scratch database without an error
	L4              // the content of the restored database equals, table by table, what was recorded when it was dumped
	L5              // the application's own probes passed on the restored database
)

// String returns "L0" to "L5".
func (l Level) String() string { return fmt.Sprintf("L%d", int(l)) }

// MarshalText implements [encoding.TextMarshaler].
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *Level) UnmarshalText(text []byte) error {
	if len(text) != 2 || text[0] != 'L' || text[1] < '0' || text[1] > '5' {
		return fmt.Errorf("%q is not a verification level (L0 to L5)", text)
	}
	*l = Level(text[1] - '0')
	return nil
}

// Evidence is the outcome of one verification of a snapshot after it was made, such as a drill's.
type Evidence struct {
	Version  int           `json:"version"` // FormatVersion
	Snapshot string        `json:"snapshot"`
	At       time.Time     `json:"at"`
	Passed   bool          `json:"passed"`
	Level    Level         `json:"level"`                    // reached if Passed, else attempted
	Problem  string        `json:"problem,omitempty"`        // why it did not pass
	Server   int           `json:"server_version,omitempty"` // server_version_num it was restored on
	Restore  time.Duration `json:"restore_ns,omitempty"`     // from the first byte read to a usable database: the RTO
	Verify   time.Duration `json:"verify_ns,omitempty"`      // time of the comparison
	Warnings []string      `json:"warnings,omitempty"`       // what did not count against it
}

// Snapshot is a manifest with all the evidence collected since.
type Snapshot struct {
	Manifest
	Evidence []Evidence `json:"evidence,omitempty"` // oldest first
}

// Proven returns the highest level the snapshot has reached and when it was last reached. Evidence that did not pass and is younger than
// every pass brings the level down to what the snapshot reached when it was made, but never above [L2].
func (s *Snapshot) Proven() (Level, time.Time) {
	level, at := L0, s.Finished
	for l, t := range s.Verified {
		if l > level || l == level && t.After(at) {
			level, at = l, t
		}
	}
	made, madeAt := min(level, L2), at
	for _, e := range s.Evidence {
		switch {
		case !e.Passed:
			level, at = made, madeAt
		case e.Level >= level:
			level, at = e.Level, e.At
		}
	}
	return level, at
}

// Restorable says whether the snapshot was restored successfully and no later attempt failed: level [L3] or more.
func (s *Snapshot) Restorable() bool {
	level, _ := s.Proven()
	return level >= L3
}
