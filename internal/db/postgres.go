package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresBackend is any server that speaks PostgreSQL's protocol. Limits on waiting are set on each connection, so that
// a stuck statement or a forgotten transaction cannot hold up other nodes.
type postgresBackend struct {
	config *pgx.ConnConfig
	pools  [3]*sql.DB // by lane
	node   string     // tells this node's own notifications from others'
}

const (
	beginRead  = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	beginWrite = "BEGIN ISOLATION LEVEL SERIALIZABLE"
	readClock  = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
	// A server that is set to forget commits would break the promise of Write; other settings are the operator's choice.
	durable = "SELECT CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END"
)

func openPostgres(url string, maxConns int) (*postgresBackend, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("db: PostgreSQL URL: %w", err) // pgx leaves the password out
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	for name, value := range map[string]string{
		"application_name":                    "mintmark",
		"statement_timeout":                   "2s",
		"lock_timeout":                        "500ms",
		"idle_in_transaction_session_timeout": "5s",
	} {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	if maxConns <= 0 {
		maxConns = 16
	}
	b := &postgresBackend{config: config, node: nodeName()}
	for l, share := range [...]int{reading: 4, writing: 2, loading: 4} {
		c := config
		if lane(l) == writing {
			c = lookingUp(config)
		}
		b.pools[l] = openPool(c, max(1, maxConns/share))
	}
	return b, nil
}

// lookingUp has the planner join rows by looking them up. Writers ask for few, by their keys. The server keeps the plan of a
// prepared statement, and one made while the tables were small would go on to read the whole of them.
func lookingUp(config *pgx.ConnConfig) *pgx.ConnConfig {
	c := config.Copy()
	for _, name := range []string{"enable_hashjoin", "enable_mergejoin"} {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = "off"
		}
	}
	return c
}

func openPool(config *pgx.ConnConfig, size int) *sql.DB {
	pool := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, durable, pgx.QueryExecModeSimpleProtocol)
		return err
	}))
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(time.Hour) // so that nodes spread again after a failover
	return pool
}

func (b *postgresBackend) conn(ctx context.Context, l lane) (*sql.Conn, error) {
	return b.pools[l].Conn(ctx)
}

func (b *postgresBackend) lost(conn *sql.Conn) (lost bool) {
	err := raw(conn, func(c *pgx.Conn) error { lost = c.IsClosed(); return nil })
	return lost || err != nil
}

// begin opens the transaction, reads the server's clock and asks the first question, all in one exchange.
func (b *postgresBackend) begin(ctx context.Context, conn *sql.Conn, l lane, first *Opening) (now time.Time, opened, err error) {
	statement := beginRead
	if l == writing {
		statement = beginWrite
	}
	err = raw(conn, func(c *pgx.Conn) error {
		batch := &pgx.Batch{}
		batch.Queue(statement)
		batch.Queue(readClock)
		if first != nil {
			batch.Queue(first.Query, first.Args...)
		}
		results := c.SendBatch(ctx, batch)
		_, err := results.Exec()
		if err == nil {
			var micros int64
			err = results.QueryRow().Scan(&micros)
			now = Time(micros)
		}
		if err == nil && first != nil {
			rows, _ := results.Query() // the rows know of the error, too
			opened = first.read(rows)
			rows.Close()
		}
		if closeErr := results.Close(); opened == nil { // else it is the same failure once more
			err = errors.Join(err, closeErr)
		}
		return err
	})
	return now, opened, err
}

// commit writes what the transaction leaves for other nodes and commits, in one exchange.
func (b *postgresBackend) commit(ctx context.Context, conn *sql.Conn, rows []record) error {
	return raw(conn, func(c *pgx.Conn) error {
		batch := &pgx.Batch{}
		for _, r := range rows {
			batch.Queue(r.query, r.args...)
		}
		batch.Queue("COMMIT")
		results := c.SendBatch(ctx, batch)
		for range rows {
			if _, err := results.Exec(); err != nil {
				results.Close()
				return err
			}
		}
		tag, err := results.Exec()
		if closeErr := results.Close(); err == nil {
			err = closeErr
		}
		if err == nil && tag.String() != "COMMIT" {
			err = pgx.ErrTxCommitRollback
		}
		return err
	})
}

// watch closes the connection when the transaction has outlived its limit: a server that does not answer must not hold a
// caller for ever.
func (b *postgresBackend) watch(conn *sql.Conn, limit time.Duration) (stop func()) {
	var timer *time.Timer
	err := raw(conn, func(c *pgx.Conn) error {
		wire := c.PgConn().Conn()
		timer = time.AfterFunc(limit, func() { wire.Close() })
		return nil
	})
	if err != nil {
		return func() {} // the connection is gone already; the first statement will say so
	}
	return func() { timer.Stop() }
}

// fresh makes a connection outside the pool, whose connections may all be dead.
func (b *postgresBackend) fresh(ctx context.Context) (*sql.Conn, func() error, error) {
	pool := stdlib.OpenDB(*b.config)
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, pool.Close())
	}
	return conn, func() error { return errors.Join(conn.Close(), pool.Close()) }, nil
}

// migrator makes a pool without the limits of everyday work: building an index takes its time.
func (b *postgresBackend) migrator() (*sql.DB, func() error, error) {
	config := b.config.Copy()
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["lock_timeout"] = "10s"
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "60s"
	pool := stdlib.OpenDB(*config)
	return pool, pool.Close, nil
}

// foreignOrder lists the text columns that follow the database's collation although it is not the order of bytes. SQLite has
// no name for that order which PostgreSQL knows, so the migrations cannot ask for it themselves. Databases that speak the
// protocol and order by bytes, whatever their collation is called, are left alone.
const foreignOrder = `SELECT quote_ident(c.relname), quote_ident(a.attname)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
AND a.atttypid = 'text'::regtype AND a.attcollation <> 'pg_catalog."C"'::regcollation AND NOT ('A' < 'a' AND 'Z' < 'a' AND 'a' < 'ä' AND 'z' < 'ä')
ORDER BY c.relname, a.attnum`

// collate changes what was just made, so its locks meet nobody. If another node does the same at the same time, one of the
// two may be told to run again.
func (b *postgresBackend) collate(ctx context.Context, pool *sql.DB) error {
	for attempt := 1; ; attempt++ {
		err := collateOnce(ctx, pool)
		if err == nil || classify(err) != again || attempt == attempts {
			return err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func collateOnce(ctx context.Context, pool *sql.DB) error {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	rows, err := tx.QueryContext(ctx, foreignOrder)
	if err != nil {
		return err
	}
	var statements []string
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return errors.Join(err, rows.Close())
		}
		statements = append(statements, fmt.Sprintf(`ALTER TABLE %s ALTER COLUMN %s TYPE TEXT COLLATE "C"`, table, column))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return tx.Commit()
}

func (b *postgresBackend) ping(ctx context.Context) error { return b.pools[loading].PingContext(ctx) }

func (b *postgresBackend) close() error {
	var errs []error
	for _, pool := range b.pools {
		errs = append(errs, pool.Close())
	}
	return errors.Join(errs...)
}

// raw lends the pgx connection under conn. An error that pgx answered by closing it takes it out of the pool.
func raw(conn *sql.Conn, f func(*pgx.Conn) error) error {
	var result error
	err := conn.Raw(func(driverConn any) error {
		c := driverConn.(*stdlib.Conn).Conn()
		if result = f(c); c.IsClosed() {
			return driver.ErrBadConn
		}
		return nil
	})
	if result != nil {
		return result
	}
	return err
}
