package restore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/runbook-go/runbook/internal/pgconn"
	"github.com/runbook-go/runbook/internal/pgname"
	"github.com/runbook-go/runbook/internal/wording"
)

// Heal removes the scratch databases that killed runs left on a server and returns their names. What a living run uses stays; Heal waits 3 seconds
// for each, as the server may still be at work for one that was killed. Every run heals its own
// database first, so Heal is only needed where no further run comes.
func Heal(ctx context.Context, dsn string) (dropped []string, err error) {
	server, conn, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer closeConn(conn)
	// Locks before databases: what is being created meanwhile is either locked now or listed then.
	hashes, err := lockedHashes(ctx, conn)
	if err != nil {
		return nil, err
	}
	list, err := readDatabases(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if hash, ours := d.scratchHash(); ours && !slices.Contains(hashes, hash) {
			hashes = append(hashes, hash)
		}
	}
	var failures []error
	for _, hash := range hashes {
		names, err := healOne(ctx, server, conn, hash)
		dropped = append(dropped, names...)
		if err != nil {
			failures = append(failures, fmt.Errorf("heal: %w", err))
		}
	}
	return dropped, wording.Failures("clean-ups", failures)
}

// lockedHashes returns the hashes that are locked on the server, by living runs or by backends that still work for a killed one.
func lockedHashes(ctx context.Context, conn *pgx.Conn) ([][4]byte, error) {
	rows, err := conn.Query(ctx, `SELECT DISTINCT objid::bigint FROM pg_catalog.pg_locks
		WHERE locktype = 'advisory' AND granted AND classid::bigint = $1 AND objsubid = 2`, int64(lockClass))
	if err != nil {
		return nil, fmt.Errorf("list advisory locks: %w", err)
	}
	hashes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (hash [4]byte, err error) {
		var key int64
		err = row.Scan(&key)
		binary.BigEndian.PutUint32(hash[:], uint32(key))
		return hash, err
	})
	if err != nil {
		return nil, fmt.Errorf("list advisory locks: %w", err)
	}
	return hashes, nil
}

// healOne heals one lock's databases if its owner is dead. A backend that still works for a client that was killed holds the lock for a moment: it is waited for.
func healOne(ctx context.Context, server *pgconn.Server, conn *pgx.Conn, hash [4]byte) ([]string, error) {
	got, err := lock(ctx, conn, hash, 3*time.Second)
	if err != nil || !got {
		return nil, err
	}
	dropped, err := healLocked(ctx, server, conn, hash)
	if e := unlock(ctx, conn, hash); err == nil {
		err = e
	}
	return dropped, err
}

// healLocked drops the scratch databases of a lock that conn holds: nobody can be at work on them.
func healLocked(ctx context.Context, server *pgconn.Server, conn *pgx.Conn, hash [4]byte) (dropped []string, err error) {
	list, err := readDatabases(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if h, ours := d.scratchHash(); !ours || h != hash {
			continue
		}
		if err := drop(ctx, server, conn, d.name); err != nil {
			return dropped, err
		}
		dropped = append(dropped, d.name)
	}
	return dropped, nil
}

// drop removes a database and ends its sessions. The caller has made sure that it is ours.
func drop(ctx context.Context, server *pgconn.Server, conn *pgx.Conn, name string) error {
	statement := "DROP DATABASE IF EXISTS " + pgname.Ident(name)
	if version(conn) >= 13_00_00 {
		statement += " WITH (FORCE)"
	} else if _, err := conn.Exec(ctx, `SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = $1`, name); err != nil {
		return fmt.Errorf("end sessions in %q: %w", name, err)
	}
	_, err := conn.Exec(ctx, statement)
	if sqlState(err) == "55006" { // object in use
		// A database that was moved aside is closed, and only from within can its subscriptions be removed.
		_, openErr := conn.Exec(ctx, allowStatement(name, true))
		if e := errors.Join(openErr, forgetSubscriptions(ctx, server, name)); e != nil {
			return fmt.Errorf("drop database %q: %w", name, errors.Join(err, e))
		}
		_, err = conn.Exec(ctx, statement)
	}
	if err != nil {
		return fmt.Errorf("drop database %q: %w", name, err)
	}
	return nil
}

// forgetSubscriptions removes the logical subscriptions of a database, with which it cannot be dropped, and leaves their slots on the publisher alone: they
// belong to the database that was dumped.
func forgetSubscriptions(ctx context.Context, server *pgconn.Server, name string) error {
	conn, err := server.Connect(ctx, name)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	rows, err := conn.Query(ctx, `SELECT subname FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = subdbid WHERE datname = pg_catalog.current_database()`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, s := range names {
		for _, statement := range []string{"ALTER SUBSCRIPTION %s DISABLE", "ALTER SUBSCRIPTION %s SET (slot_name = NONE)", "DROP SUBSCRIPTION %s"} {
			if _, err := conn.Exec(ctx, fmt.Sprintf(statement, pgname.Ident(s))); err != nil {
				return err
			}
		}
	}
	return nil
}

// fileName begins the names of files that a run on this lock keeps outside the server.
func fileName(hash [4]byte) string { return fmt.Sprintf("runbook-restore-%x-", hash) }

// sweepFiles removes the files that a killed run on a lock that we hold left in dir.
func sweepFiles(dir string, hash [4]byte) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), fileName(hash)) && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}

// connect parses a connection string and connects to its maintenance database.
func connect(ctx context.Context, dsn string) (*pgconn.Server, *pgx.Conn, error) {
	server, err := pgconn.Parse(dsn)
	if err != nil {
		return nil, nil, err
	}
	conn, err := server.Connect(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	// What a database or role sets must not change what our statements mean or how long they may take.
	const settings = `SET standard_conforming_strings = on; SET client_encoding = 'UTF8'; SET search_path = pg_catalog; SET statement_timeout = 0;
		SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; SET synchronous_commit = on`
	if _, err := conn.PgConn().Exec(ctx, settings).ReadAll(); err != nil {
		closeConn(conn)
		return nil, nil, fmt.Errorf("prepare the session: %w", err)
	}
	return server, conn, nil
}

func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // nothing was left to be flushed
}
