package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/mintmark/mintmark/bench/loadgen"
)

const (
	expiredPass = 15 * time.Second // how long one measurement beside the removal takes
	expiredWait = 20 * time.Minute // until all is removed, at most
	expiredLoad = 4                // connections: what is asked is whether anybody waits, not how much fits
)

// printExpired has so many rows of one table expire at once, and tells what those feel who refresh meanwhile: before,
// with all the rows there, and while they are removed.
func printExpired(ctx context.Context, o options, servers []*server) error {
	fmt.Printf("\n%d rows that have expired, %d connections that refresh\n\n", o.expired, expiredLoad)
	fmt.Println("| server | while | req/s | p50 / p99 ms | errors |")
	fmt.Println("|---|---|---|---|---|")
	for _, s := range servers {
		if s.engine == "" {
			continue
		}
		measured := func(name string) error {
			r, err := loadgen.Run(loadgen.Load{Connections: expiredLoad, Count: 1 << 30, Limit: expiredPass, Servers: s.pids, Script: refresh(s), Server: s.base})
			if err != nil {
				return err
			}
			fmt.Printf("| %s | %s | %.0f | %.2f / %.1f | %d %s |\n", s.name, name, r.Rate(), ms(r.P50), ms(r.P99), r.Errors, r.FirstError)
			return nil
		}
		if err := measured("before"); err != nil {
			return err
		}
		if err := s.expire(ctx, o.expired); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		before, err := s.removed(ctx)
		if err != nil {
			return err
		}
		for removed := before; removed == before; removed, err = s.removed(ctx) { // it begins within a minute
			if err != nil || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			time.Sleep(100 * time.Millisecond)
		}
		began := time.Now()
		if err := measured("they are removed"); err != nil {
			return err
		}
		for removed, err := s.removed(ctx); removed < before+float64(o.expired); removed, err = s.removed(ctx) {
			if err != nil || ctx.Err() != nil || time.Since(began) > expiredWait {
				return errors.Join(err, ctx.Err(), fmt.Errorf("%.0f of %d rows were removed", removed-before, o.expired))
			}
			time.Sleep(time.Second)
		}
		took := time.Since(began)
		if err := measured("they are gone"); err != nil {
			return err
		}
		fmt.Printf("| %s | all were removed in %s | | | |\n", s.name, took.Round(time.Second))
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// openDatabase opens the database of the server beside it.
func (s *server) openDatabase() (*sql.DB, error) {
	if s.engine == "postgres" {
		return sql.Open("pgx", s.url)
	}
	return sql.Open("sqlite", "file:"+filepath.Join(s.dir, s.name, "mintmark.db")+"?_pragma=busy_timeout(20000)")
}

// expire puts copies of a grant into the database, all of which are over.
func (s *server) expire(ctx context.Context, n int) error {
	code := `CAST('bench ' || n.x AS BLOB)`
	if s.engine == "postgres" {
		code = `convert_to('bench ' || n.x, 'UTF8')`
	}
	d, err := s.openDatabase()
	if err != nil {
		return err
	}
	defer d.Close()
	columns, err := s.columnsOf(ctx, d, "grants")
	if err != nil {
		return err
	}
	values := replaced(columns, "g", map[string]string{"id": `'bench ' || n.x`, "code_mac": code, "idle_until": "n.x"})
	// A little at a time, so that the server can write meanwhile.
	const batch = 10_000
	statement := `WITH RECURSIVE n(x) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT x + 1 FROM n WHERE x + 1 < $2)
		INSERT INTO grants (` + strings.Join(columns, ", ") + `) SELECT ` + values + ` FROM n, (SELECT * FROM grants ORDER BY created DESC LIMIT 1) AS g`
	for from := 0; from < n; from += batch {
		if _, err := d.ExecContext(ctx, statement, from, min(from+batch, n)); err != nil {
			return err
		}
	}
	if s.engine == "postgres" {
		_, err = d.ExecContext(ctx, `ANALYZE grants`) // as it would have done by itself by then
	}
	return err
}

// removed is how many rows the server says it has removed.
func (s *server) removed(ctx context.Context) (total float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.ready, "/readyz")+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := (&http.Client{Timeout: passLimit}).Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(res.Body, 1<<20))
	for lines.Scan() {
		if rest, found := strings.CutPrefix(lines.Text(), `mintmark_expired_rows_removed_total{table="grants"} `); found {
			total, err = strconv.ParseFloat(rest, 64)
		}
	}
	return total, errors.Join(err, lines.Err())
}
