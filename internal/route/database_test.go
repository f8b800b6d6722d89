package route_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

// The changes table is the database's own and always there; its rows stand for anything a handler might write.
func rows(t *testing.T, d *db.DB) (n int) {
	t.Helper()
	if err := d.Read(context.Background(), func(tx db.ReadTx) error {
		return tx.QueryRow(context.Background(), `SELECT COUNT(*) FROM changes WHERE topic = 'test'`).Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

type itemInput struct {
	ID string `path:"id"`
}

type countOutput struct {
	Body struct {
		Count int `json:"count"`
	}
}

func newDatabaseWorld(t *testing.T, d *db.DB, atDenial func()) *world {
	w := newWorld(t, func(o *route.Options) {
		o.DB = d
		denied := o.Denied
		o.Denied = func(ctx context.Context, c access.Caller, op string, err error) {
			atDenial()
			denied(ctx, c, op, err)
		}
	})
	insert := func(ctx context.Context, tx db.WriteTx, id string) error {
		_, err := tx.Exec(ctx, `INSERT INTO changes (id, at, topic, item) VALUES ($1, $2, 'test', $1)`, id, db.Micros(tx.Now()))
		return err
	}
	route.Write(w.Mux, route.Op{Method: "PUT", Path: "/api/items/{id}", ID: "item.put", Action: access.WriteTeam},
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *itemInput) (*struct{}, error) {
			if err := insert(ctx, tx, in.ID); err != nil {
				return nil, err
			}
			switch in.ID {
			case "forbidden":
				return nil, fault.New(fault.Forbidden, "forbidden", "You may not.")
			case "broken":
				return nil, errors.New("broken")
			case "panic":
				panic("in a transaction")
			}
			return nil, nil
		})
	route.Read(w.Mux, route.Op{Method: "GET", Path: "/api/items", ID: "item.count", Action: access.ReadRegistry},
		func(ctx context.Context, tx db.ReadTx, c access.Caller, _ *struct{}) (*countOutput, error) {
			out := &countOutput{}
			return out, tx.QueryRow(ctx, `SELECT COUNT(*) FROM changes WHERE topic = 'test'`).Scan(&out.Body.Count)
		})
	return w
}

func TestHandlerErrorUndoesTheTransaction(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		atDenial := -1
		w := newDatabaseWorld(t, d, func() { atDenial = rows(t, d) })
		if rec := w.do("PUT", "/api/items/good", ""); rec.Code != 204 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		if rec := w.do("PUT", "/api/items/good", ""); rec.Code != 409 {
			t.Errorf("a key that exists: %d %s", rec.Code, rec.Body)
		}
		if rec := w.do("PUT", "/api/items/broken", ""); rec.Code != 500 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		if rec := w.do("PUT", "/api/items/panic", ""); rec.Code != 500 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		if rec := w.do("PUT", "/api/items/forbidden", ""); rec.Code != 403 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		if atDenial != 1 {
			t.Errorf("when the denial was reported there were %d rows: it must come after the rollback", atDenial)
		}
		if n := rows(t, d); n != 1 {
			t.Errorf("%d rows, want the good one only", n)
		}
		if rec := w.do("GET", "/api/items", ""); !strings.Contains(rec.Body.String(), `"count":1`) {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	})
}
