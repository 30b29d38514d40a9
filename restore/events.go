package restore

import (
	"io"
	"time"
)

// Events are told while work goes on. Nil funcs are not called. Within [All] and [Drill] they are called from several goroutines. They must return
// soon: the work waits for them.
type Events struct {
	Stage    func(StageInfo)    // a stage begins
	Progress func(ProgressInfo) // at most four times a second while an archive is restored, and once at its end
	Warning  func(WarningInfo)
}

// StageInfo says what begins.
type StageInfo struct {
	Database string // that is restored, by the name it is to get
	Stage    Stage
	Scratch  string // database that is being filled; empty before there is one
}

// ProgressInfo tells how far the restore of one archive is.
type ProgressInfo struct {
	Database string
	Bytes    int64         // of the archive, read so far
	Total    int64         // size of the archive
	Rate     float64       // bytes a second
	ETA      time.Duration // until the archive is read; indexes are built after that
}

// WarningInfo is something that an operator should know and that is no failure.
type WarningInfo struct {
	Database string
	Text     string
}

// meter counts the bytes of an archive as they pass.
type meter struct {
	info    ProgressInfo
	report  func(ProgressInfo)
	now     func() time.Time
	started time.Time
	last    time.Time
}

func newMeter(database string, total int64, report func(ProgressInfo), now func() time.Time) *meter {
	return &meter{info: ProgressInfo{Database: database, Total: total}, report: report, now: now, started: now()}
}

var _ io.Writer = (*meter)(nil)

func (m *meter) Write(p []byte) (int, error) {
	m.info.Bytes += int64(len(p))
	now := m.now()
	if m.report == nil || m.info.Bytes < m.info.Total && now.Sub(m.last) < time.Second/4 {
		return len(p), nil
	}
	m.last = now
	if elapsed := now.Sub(m.started).Seconds(); elapsed > 0 {
		m.info.Rate = float64(m.info.Bytes) / elapsed
		m.info.ETA = time.Duration(float64(max(m.info.Total-m.info.Bytes, 0)) / m.info.Rate * float64(time.Second)).Round(time.Second)
	}
	m.report(m.info)
	return len(p), nil
}
