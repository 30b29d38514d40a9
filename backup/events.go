package backup

import (
	"io"
	"sync"
	"time"
)

// Events are told while a run goes on. Nil funcs are not called. They are called from several goroutines, one after the other, and must
// return soon: the work waits for them.
type Events struct {
	Started  func(StartInfo)
	Progress func(ProgressInfo) // at most four times a second, and once at the end of each database
	Finished func(Result)       // once for each database and for the globals
	Warning  func(WarningInfo)
}

// StartInfo tells what a run is about to do.
type StartInfo struct {
	Run      string
	Selected int // databases, skipped ones included
	Workers  int
	Tool     string // such as "pg_dump (PostgreSQL) 15.18"
}

// ProgressInfo tells how far a run is.
type ProgressInfo struct {
	Database string        // that moved
	Bytes    int64         // of its archive so far
	Rate     float64       // bytes of archives a second, of the whole run, since its start
	Done     int           // databases ended
	Total    int           // databases to do
	ETA      time.Duration // estimated rest of the run, from the databases' sizes on the server; 0 if unknown
}

// WarningInfo is something that an operator should know and that is no failure.
type WarningInfo struct {
	Database string // empty if it concerns the run
	Text     string
}

// tracker adds up progress and calls the events, one at a time.
type tracker struct {
	mu      sync.Mutex
	events  Events
	now     func() time.Time
	started time.Time
	last    time.Time
	bytes   int64            // of all archives
	total   int              // databases to do
	done    int              //
	weight  int64            // sizes on the server, of all
	ended   int64            // sizes on the server, of those that ended
	current map[string]int64 // archive bytes of those at work
}

func newTracker(events Events, now func() time.Time, todo []Choice) *tracker {
	t := &tracker{events: events, now: now, started: now(), current: make(map[string]int64), total: len(todo)}
	for _, c := range todo {
		t.weight += c.Database.Properties.SizeOnServer
	}
	return t
}

// writer returns a writer that counts the archive of a database.
func (t *tracker) writer(database string) io.Writer { return &progressWriter{t, database} }

type progressWriter struct {
	t        *tracker
	database string
}

func (w *progressWriter) Write(p []byte) (int, error) {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += int64(len(p))
	t.current[w.database] += int64(len(p))
	if now := t.now(); now.Sub(t.last) >= time.Second/4 {
		t.last = now
		t.progress(w.database)
	}
	return len(p), nil
}

func (t *tracker) progress(database string) {
	if t.events.Progress == nil {
		return
	}
	elapsed := t.now().Sub(t.started)
	info := ProgressInfo{Database: database, Bytes: t.current[database], Done: t.done, Total: t.total}
	if elapsed > 0 {
		info.Rate = float64(t.bytes) / elapsed.Seconds()
	}
	if t.ended > 0 {
		info.ETA = time.Duration(float64(elapsed) * float64(t.weight-t.ended) / float64(t.ended)).Round(time.Second)
	}
	t.events.Progress(info)
}

func (t *tracker) start(info StartInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.events.Started != nil {
		t.events.Started(info)
	}
}

func (t *tracker) finish(r Result, sizeOnServer int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Database != "" {
		t.done++
		t.ended += sizeOnServer
	}
	t.progress(r.Database)
	delete(t.current, r.Database)
	if t.events.Finished != nil {
		t.events.Finished(r)
	}
}

func (t *tracker) warn(database, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.events.Warning != nil {
		t.events.Warning(WarningInfo{database, text})
	}
}
