package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync"

	"modernc.org/sqlite"
)

// keepingDriver is SQLite's driver with a memory for statements. SQLite compiles each text that it is given, which for the
// statements of a token request costs more than to run them; so each connection keeps what it compiled. The other driver
// does so by itself.
const keepingDriver = "sqlite-keeping-statements"

// keptStatements bounds how many a connection keeps. Those that ran longest ago go first: what a server does once when it
// starts must not take the room of what it does all day.
const keptStatements = 256

func init() { sql.Register(keepingDriver, &statementKeeper{&sqlite.Driver{}}) }

type statementKeeper struct{ driver.Driver }

func (k *statementKeeper) Open(name string) (driver.Conn, error) {
	c, err := k.Driver.Open(name)
	if err != nil {
		return nil, err
	}
	whole, ok := c.(sqliteConn)
	if !ok {
		c.Close()
		return nil, driver.ErrSkip // the driver has changed: a test would have told
	}
	return &keepingConn{sqliteConn: whole, kept: map[string]keptStmt{}}, nil
}

// sqliteConn is what SQLite's driver can do, all of which must stay in sight of package sql.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type preparedStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// keptStmt is a statement that nobody uses now, and when it was last used: the greater the number, the later.
type keptStmt struct {
	preparedStmt
	used uint64
}

// keepingConn is one connection and its statements. A statement is in use by one caller at a time: it is taken out of kept
// while it runs and while its rows are read.
type keepingConn struct {
	sqliteConn

	mu     sync.Mutex
	kept   map[string]keptStmt // owned by mu
	uses   uint64              // owned by mu
	closed bool                // owned by mu
}

// take finds or compiles a statement. One with a ; in it may be several, which are never kept.
func (c *keepingConn) take(ctx context.Context, query string) (preparedStmt, error) {
	c.mu.Lock()
	k, found := c.kept[query]
	delete(c.kept, query)
	c.mu.Unlock()
	if found {
		return k.preparedStmt, nil
	}
	prepared, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s, ok := prepared.(preparedStmt)
	if !ok {
		prepared.Close()
		return nil, driver.ErrSkip
	}
	return s, nil
}

// give puts a statement back in place of the one that was not used for longest, or forgets it where the same one came
// back first.
func (c *keepingConn) give(query string, s preparedStmt) error {
	c.mu.Lock()
	forgotten := s
	if _, there := c.kept[query]; !there && !c.closed {
		forgotten = c.makeRoom()
		c.uses++
		c.kept[query] = keptStmt{s, c.uses}
	}
	c.mu.Unlock()
	if forgotten == nil {
		return nil
	}
	return forgotten.Close()
}

// makeRoom takes a statement out if there is no room for another. c.mu is held.
func (c *keepingConn) makeRoom() preparedStmt {
	if len(c.kept) < keptStatements {
		return nil
	}
	var oldest string
	least := c.uses + 1
	for query, k := range c.kept {
		if k.used < least {
			oldest, least = query, k.used
		}
	}
	forgotten := c.kept[oldest].preparedStmt
	delete(c.kept, oldest)
	return forgotten
}

// several tells whether the text may hold more than one statement.
func several(query string) bool {
	for i := range len(query) {
		if query[i] == ';' {
			return true
		}
	}
	return false
}

func (c *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if several(query) {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	result, err := s.ExecContext(ctx, args)
	if err != nil {
		s.Close() // after an error nobody knows its state; the error that counts is the first
		return nil, err
	}
	return result, c.give(query, s)
}

func (c *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if several(query) {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	s, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		s.Close()
		return nil, err
	}
	return &keptRows{Rows: rows, give: func() error { return c.give(query, s) }}, nil
}

// Close forgets the statements first, as SQLite wants it.
func (c *keepingConn) Close() error {
	c.mu.Lock()
	kept := c.kept
	c.kept, c.closed = nil, true
	c.mu.Unlock()
	for _, s := range kept {
		if err := s.Close(); err != nil {
			return err
		}
	}
	return c.sqliteConn.Close()
}

// keptRows give their statement back when they are closed, once.
type keptRows struct {
	driver.Rows
	give func() error
}

func (r *keptRows) Close() error {
	err := r.Rows.Close()
	if r.give == nil {
		return err
	}
	give := r.give
	r.give = nil
	if giveErr := give(); err == nil {
		err = giveErr
	}
	return err
}
