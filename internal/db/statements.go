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

// keptStatements bounds how many a connection keeps. There are fewer texts than that on any path that is in a hurry.
const keptStatements = 128

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
	return &keepingConn{sqliteConn: whole, kept: map[string]preparedStmt{}}, nil
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

// keepingConn is one connection and its statements. A statement is in use by one caller at a time: it is taken out of kept
// while it runs and while its rows are read.
type keepingConn struct {
	sqliteConn

	mu     sync.Mutex
	kept   map[string]preparedStmt // owned by mu
	closed bool                    // owned by mu
}

// take finds or compiles a statement. One with a ; in it may be several, which are never kept.
func (c *keepingConn) take(ctx context.Context, query string) (preparedStmt, error) {
	c.mu.Lock()
	s, found := c.kept[query]
	delete(c.kept, query)
	c.mu.Unlock()
	if found {
		return s, nil
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

// give puts a statement back, or forgets it where there is no room or the same one came back first.
func (c *keepingConn) give(query string, s preparedStmt) error {
	c.mu.Lock()
	_, there := c.kept[query]
	keep := !there && !c.closed && len(c.kept) < keptStatements
	if keep {
		c.kept[query] = s
	}
	c.mu.Unlock()
	if keep {
		return nil
	}
	return s.Close()
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
