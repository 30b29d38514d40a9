package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	rbconn "github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/pgname"
)

// exchange gives the name of a live database to another one.
type exchange struct {
	live     string
	old      string // name that the live database gets; empty if there is no live database
	oldMark  mark
	incoming string
	oid      uint32   // of incoming
	final    []string // statements about the database that is now called live, in the same transaction
}

// statements returns the transaction. Its RENAME holds a lock on the database for which every new session waits, before it counts as one: once the
// sessions that are there have gone, none comes. So the live database need not be closed first, and a run that is killed here leaves it open.
func (x *exchange) statements() string {
	list := []string{"BEGIN", "SET LOCAL lock_timeout = '5s'"}
	if x.old != "" {
		list = append(list,
			"ALTER DATABASE "+pgname.Ident(x.live)+" RENAME TO "+pgname.Ident(x.old),
			"COMMENT ON DATABASE "+pgname.Ident(x.old)+" IS "+pgname.Literal(x.oldMark.comment()),
			allowStatement(x.old, false))
	}
	list = append(list, "ALTER DATABASE "+pgname.Ident(x.incoming)+" RENAME TO "+pgname.Ident(x.live))
	list = append(list, x.final...)
	return strings.Join(append(list, "COMMIT"), ";\n")
}

// swapped tells what an exchange cost.
type swapped struct {
	down  time.Duration // in which no session could be opened or used
	ended int           // sessions that were terminated
}

// run does the exchange on conn. While it waits for sessions of the live database to go, they are terminated from another connection. It tries until
// timeout, and then tells who remains; nothing has changed then.
func (x *exchange) run(ctx context.Context, server *rbconn.Server, conn *pgx.Conn, timeout time.Duration) (s swapped, err error) {
	killer, err := server.Connect(ctx, "")
	if err != nil {
		return s, err
	}
	defer closeConn(killer)
	begin := time.Now()
	for deadline := begin.Add(timeout); ; {
		stop := x.terminator(ctx, killer, &s.ended)
		_, err = conn.PgConn().Exec(ctx, x.statements()).ReadAll()
		left, killErr := stop()
		s.down = time.Since(begin)
		if err == nil {
			return s, nil
		}
		if done, known := x.committed(ctx, server); known && done {
			return s, nil
		}
		if conn.IsClosed() {
			return s, err
		}
		if _, e := conn.Exec(context.WithoutCancel(ctx), "ROLLBACK"); e != nil {
			return s, errors.Join(err, fmt.Errorf("roll back: %w", e))
		}
		busy := sqlState(err) == "55006" || sqlState(err) == "55P03" // object in use, lock not available
		if !busy || ctx.Err() != nil {
			return s, err
		}
		if !time.Now().Before(deadline) {
			return s, fmt.Errorf("sessions of %q did not go within %s%s: %w", x.live, timeout, remaining(left), errors.Join(err, killErr))
		}
	}
}

// terminator ends the sessions of both databases until it is stopped. stop returns those that it could not end, and why.
func (x *exchange) terminator(ctx context.Context, conn *pgx.Conn, ended *int) (stop func() (left []string, err error)) {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		left []string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		asked := make(map[int32]bool)
		for ctx.Err() == nil {
			r = result{}
			sessions, err := readSessions(ctx, conn, x.live, x.incoming)
			if err != nil {
				if ctx.Err() == nil {
					r.err = err
				}
				break
			}
			for _, one := range sessions {
				r.left = append(r.left, one.describe)
				if asked[one.pid] {
					continue
				}
				if _, err := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_catalog.pg_terminate_backend($1)`, one.pid); err != nil {
					r.err = err
					continue
				}
				asked[one.pid] = true
				*ended++
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
		done <- r
	}()
	return func() ([]string, error) {
		cancel()
		r := <-done
		return r.left, r.err
	}
}

type session struct {
	pid      int32
	describe string
}

func readSessions(ctx context.Context, conn *pgx.Conn, databases ...string) ([]session, error) {
	// The context is not given to the query: cancelling it would close the connection.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	rows, err := conn.Query(ctx, `SELECT pid, pg_catalog.format('process %s of %s (%s)', pid, coalesce(usename, backend_type),
			coalesce(nullif(application_name, ''), host(client_addr), 'local'))
		FROM pg_catalog.pg_stat_activity WHERE datname = ANY($1) AND pid <> pg_catalog.pg_backend_pid() ORDER BY pid`, databases)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s session, err error) {
		return s, row.Scan(&s.pid, &s.describe)
	})
}

func remaining(left []string) string {
	if len(left) == 0 {
		return ""
	}
	return ": " + strings.Join(left, ", ")
}

// committed looks whether an exchange whose answer was lost took place.
func (x *exchange) committed(ctx context.Context, server *rbconn.Server) (done, known bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	conn, err := server.Connect(ctx, "")
	if err != nil {
		return false, false
	}
	defer closeConn(conn)
	d, err := readDatabase(ctx, conn, x.live)
	if err != nil {
		return false, false
	}
	return d != nil && d.oid == x.oid, true
}

func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}
