package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite"
)

// turn is one refresh token that comes and the one that takes its place.
type turn struct {
	old, next [sha256.Size]byte
	done      chan error
}

// seeds are the refresh tokens that are there from the start.
const seeds = 64

// table is where they lie: one row a token, as the cheapest server would have it.
const table = `CREATE TABLE floor_tokens (hash %s PRIMARY KEY, family TEXT, subject TEXT, client TEXT, scope TEXT, expires BIGINT, used BIGINT)`

const insertSeed = `INSERT INTO floor_tokens (hash, family, subject, client, scope, expires, used) VALUES ($1, $2, 'user-1', 'client-1', 'openid offline_access', 2000000000, 0)`

func seed(i int) [sha256.Size]byte { return sha256.Sum256([]byte("seed-" + strconv.Itoa(i))) }

// collect hands everything that waits to write, which makes it durable at once.
func collect(write func([]*turn)) chan<- *turn {
	in := make(chan *turn, 1024)
	go func() {
		for first := range in {
			batch := []*turn{first}
			for len(batch) < 100 && len(in) > 0 {
				batch = append(batch, <-in)
			}
			write(batch)
		}
	}()
	return in
}

// onSQLite keeps the tokens in a file, which must not be there yet.
func onSQLite(file string) (chan<- *turn, error) {
	d, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	d.SetMaxOpenConns(1)
	if _, err := d.Exec(fmt.Sprintf(table, "BLOB")); err != nil {
		return nil, err
	}
	for i := range seeds {
		hash := seed(i)
		if _, err := d.Exec(insertSeed, hash[:], strconv.Itoa(i)); err != nil {
			return nil, err
		}
	}
	use, err := d.Prepare(`UPDATE floor_tokens SET used = 1 WHERE hash = $1 AND used = 0 RETURNING family, subject, client, scope, expires`)
	if err != nil {
		return nil, err
	}
	add, err := d.Prepare(`INSERT INTO floor_tokens (hash, family, subject, client, scope, expires, used) VALUES ($1, $2, $3, $4, $5, $6, 0)`)
	if err != nil {
		return nil, err
	}
	return collect(func(batch []*turn) {
		outcome := make([]error, len(batch))
		tx, err := d.Begin()
		if err == nil {
			u, a := tx.Stmt(use), tx.Stmt(add)
			for i, t := range batch {
				var family, subject, client, scope string
				var expires int64
				if outcome[i] = u.QueryRow(t.old[:]).Scan(&family, &subject, &client, &scope, &expires); outcome[i] == nil {
					_, outcome[i] = a.Exec(t.next[:], family, subject, client, scope, expires)
				}
			}
			err = tx.Commit()
		}
		for i, t := range batch {
			if err != nil {
				outcome[i] = err
			}
			t.done <- outcome[i]
		}
	}), nil
}

// onPostgres keeps them in a database of its own.
func onPostgres(url string) (chan<- *turn, error) {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	// The statement is planned while the table is nearly empty, and would read all of it for ever: the floor finds its
	// rows by their key, however many there are. And it waits for its commits, whatever the server is set to.
	for _, name := range []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"} {
		config.ConnConfig.RuntimeParams[name] = "off"
	}
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, fmt.Sprintf(table, "BYTEA")); err != nil {
		return nil, err
	}
	for i := range seeds {
		hash := seed(i)
		if _, err := pool.Exec(ctx, insertSeed, hash[:], strconv.Itoa(i)); err != nil {
			return nil, err
		}
	}
	const rotate = `WITH turns AS (SELECT * FROM unnest($1::bytea[], $2::bytea[]) AS t(old, next)),
		used AS (UPDATE floor_tokens SET used = 1 FROM turns WHERE hash = old AND used = 0 RETURNING old, next, family, subject, client, scope, expires),
		added AS (INSERT INTO floor_tokens (hash, family, subject, client, scope, expires, used) SELECT next, family, subject, client, scope, expires, 0 FROM used)
		SELECT old FROM used`
	return collect(func(batch []*turn) {
		old, next := make([][]byte, len(batch)), make([][]byte, len(batch))
		for i, t := range batch {
			old[i], next[i] = t.old[:], t.next[:]
		}
		rotated := map[[sha256.Size]byte]bool{}
		rows, err := pool.Query(ctx, rotate, old, next)
		if err == nil {
			for rows.Next() {
				var hash []byte
				if err = rows.Scan(&hash); err == nil {
					rotated[[sha256.Size]byte(hash)] = true
				}
			}
			rows.Close()
			if err == nil {
				err = rows.Err()
			}
		}
		for _, t := range batch {
			switch {
			case err != nil:
				t.done <- err
			case !rotated[t.old]:
				t.done <- errToken
			default:
				t.done <- nil
			}
		}
	}), nil
}

// refresh gives a token and the next refresh token, after that one is durable.
func (f *floor) refresh(store chan<- *turn) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !authenticated(r) || r.ParseForm() != nil || r.PostForm.Get("grant_type") != "refresh_token" {
			refuse(w)
			return
		}
		var secret [32]byte
		rand.Read(secret[:])
		next := b64.EncodeToString(secret[:])
		t := &turn{sha256.Sum256([]byte(r.PostForm.Get("refresh_token"))), sha256.Sum256([]byte(next)), make(chan error, 1)}
		store <- t
		if <-t.done != nil {
			refuse(w)
			return
		}
		token, err := f.issue("user-1", []string{"openid", "offline_access"})
		if err != nil {
			refuse(w)
			return
		}
		answer(w, http.StatusOK, struct {
			AccessToken  string `json:"access_token"`
			TokenType    string `json:"token_type"`
			ExpiresIn    int    `json:"expires_in"`
			RefreshToken string `json:"refresh_token"`
		}{token, "Bearer", 600, next})
	}
}
