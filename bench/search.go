package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mintmark/mintmark/bench/loadgen"
)

const (
	searchCount = 200
	searchTime  = 50 * time.Millisecond // of 95 in 100 searches, at most
)

// spelled are letters that follow from x in SQL that both engines know.
func spelled(x string, factors ...int) string {
	letters := make([]string, len(factors))
	for i, f := range factors {
		letters[i] = fmt.Sprintf(`substr('aeionrstldmcukbpghfvwyzjqx', CAST(1 + ((%s * %d) %% 1009) * ((%s * %d) %% 1009) %% 26 AS INTEGER), 1)`, x, f, x, f+2)
	}
	return strings.Join(letters, " || ")
}

var (
	firstName = spelled("n.x", 3, 7, 13, 29)
	lastName  = spelled("n.x", 11, 17, 37, 53, 71)
)

// populate puts so many people into the realm of alice, as copies of her that can neither sign in nor be told apart but by
// their names: first.last.NUMBER, with an address and a name to show.
func (s *server) populate(ctx context.Context, n int) error {
	d, err := s.openDatabase()
	if err != nil {
		return err
	}
	defer d.Close()
	d.SetMaxOpenConns(1)
	if s.engine == "postgres" {
		if _, err := d.ExecContext(ctx, `SET session_replication_role = replica`); err != nil { // what is put in needs no check
			return err
		}
	}
	username := `(` + firstName + ` || '.' || ` + lastName + ` || '.' || n.x)`
	columns, err := s.columnsOf(ctx, d, "users")
	if err != nil {
		return err
	}
	values := replaced(columns, "u", map[string]string{"id": `'bench ' || n.x`, "username": username, "display_name": `(` + firstName + ` || ' ' || ` + lastName + `)`,
		"disabled": `CASE WHEN n.x % 1000 = 0 THEN 1 ELSE 0 END`})
	const batch = 20_000
	for from := 0; from < n; from += batch {
		tx, err := d.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for _, statement := range []string{
			`INSERT INTO users (` + strings.Join(columns, ", ") + `) SELECT ` + values + ` FROM n, (SELECT * FROM users WHERE username = 'alice') AS u`,
			`INSERT INTO people (user_id, realm, email, email_key, phone, address) SELECT 'bench ' || n.x, 'customers', ` + username + ` || '@example.org', ` + username + ` || '@example.org', '', '' FROM n`,
			`INSERT INTO person_keys (user_id, key, realm) SELECT 'bench ' || n.x, ` + username + `, 'customers' FROM n`,
			`INSERT INTO person_keys (user_id, key, realm) SELECT 'bench ' || n.x, ` + username + ` || '@example.org', 'customers' FROM n`,
			`INSERT INTO person_keys (user_id, key, realm) SELECT 'bench ' || n.x, ` + firstName + ` || ' ' || ` + lastName + `, 'customers' FROM n`,
			`INSERT INTO person_keys (user_id, key, realm) SELECT 'bench ' || n.x, ` + lastName + `, 'customers' FROM n`,
		} {
			if _, err := tx.ExecContext(ctx, `WITH RECURSIVE n(x) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT x + 1 FROM n WHERE x + 1 < $2) `+statement, from, min(from+batch, n)); err != nil {
				return errors.Join(fmt.Errorf("populate: %w", err), tx.Rollback())
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	if s.engine == "postgres" {
		_, err = d.ExecContext(ctx, `ANALYZE`) // as it would have done by itself by then
	}
	return err
}

func (s *server) columnsOf(ctx context.Context, d *sql.DB, table string) ([]string, error) {
	rows, err := d.QueryContext(ctx, `SELECT * FROM `+table+` LIMIT 0`)
	if err != nil {
		return nil, err
	}
	columns, err := rows.Columns()
	return columns, errors.Join(err, rows.Close())
}

// replaced are the values of a copy of a row: some are others.
func replaced(columns []string, of string, others map[string]string) string {
	values := make([]string, len(columns))
	for i, column := range columns {
		if values[i] = others[column]; values[i] == "" {
			values[i] = of + "." + column
		}
	}
	return strings.Join(values, ", ")
}

// printSearches tells how long it takes to find people among so many.
func printSearches(ctx context.Context, o options, servers []*server) (exceeded int, err error) {
	fmt.Printf("\nSearches among %d people, %d of each kind over one connection.\n\n", o.people, searchCount)
	fmt.Printf("| search | server | p50 / p95 / p99 ms, gate %d for p95 | CPU ms | of which database | errors |\n", searchTime.Milliseconds())
	fmt.Println("|---|---|---|---|---|---|")
	for _, s := range servers {
		if s.engine == "" {
			continue
		}
		if err := s.populate(ctx, o.people); err != nil {
			return exceeded, fmt.Errorf("%s: %w", s.name, err)
		}
		for _, kind := range []struct {
			name  string
			query func() url.Values
		}{
			{"one letter", func() url.Values { return url.Values{"search": {letters(1)}} }},
			{"two letters, one realm", func() url.Values { return url.Values{"search": {letters(2)}, "realm": {"customers"}} }},
			{"three letters", func() url.Values { return url.Values{"search": {letters(3)}} }},
			{"first name and a letter", func() url.Values { return url.Values{"search": {letters(4) + " " + letters(1)}} }},
			{"what nobody has", func() url.Values { return url.Values{"search": {"zzzzzz" + letters(5)}} }},
			{"three letters, refused people", func() url.Values { return url.Values{"search": {letters(3)}, "state": {"disabled"}} }},
			{"all refused people", func() url.Values { return url.Values{"state": {"disabled"}} }},
			{"the list, without a search", func() url.Values { return url.Values{"realm": {"customers"}} }},
		} {
			r, err := loadgen.Run(loadgen.Load{Server: s.base, Connections: 1, Count: searchCount, Limit: time.Minute, Servers: s.pids,
				Script: func(_ int, do func(loadgen.Request) (loadgen.Answer, error)) error {
					return expect(http.StatusOK)(do(loadgen.Request{Method: "GET", URL: s.base + "/api/users?" + kind.query().Encode(), Header: map[string]string{"Authorization": "Bearer " + s.admin}}))
				}})
			if err != nil {
				return exceeded, err
			}
			above := ""
			if r.P95 > searchTime || r.Errors > 0 {
				exceeded, above = exceeded+1, " **above**"
			}
			fmt.Printf("| %s | %s | %.2f / %.2f / %.2f%s | %.2f | %.2f | %d %s |\n", kind.name, s.name, ms(r.P50), ms(r.P95), ms(r.P99), above,
				r.PerThousand, r.CPU["database"]/float64(max(1, r.OK))*1000, r.Errors, r.FirstError)
		}
	}
	return exceeded, nil
}

func letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "aeionrstldmcukbpghfvwyzjqx"[rand.IntN(26)]
	}
	return string(b)
}
