package oauth

import (
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

// What is good once is used by compare-and-set: whoever comes second, having read what the first one read, changes nothing.
func TestOneTimeThingsAreUsedOnce(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			now := clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
			d, ctx := dbtest.Open(t, engine, now), t.Context()
			at := db.Micros(now.Now())
			later := db.Micros(now.Now().Add(time.Minute))
			write := func(f func(tx db.WriteTx) error) {
				t.Helper()
				if err := d.Write(ctx, f); err != nil {
					t.Fatal(err)
				}
			}
			insert := func(query string, args ...any) {
				t.Helper()
				write(func(tx db.WriteTx) error { return db.One(tx.Exec(ctx, query, args...)) })
			}
			flow1 := func(handle string, pushed []byte) *flow { return &flow{mac: []byte(handle), pushed: pushed} }
			const flows = `INSERT INTO authorization_flows (handle, browser, request, pushed, chosen, created, expires, used) VALUES ($1, $1, '', $2, '', $3, $4, 0)`
			for handle, expires := range map[string]int64{"good": later, "over": at, "first of two": later, "second of two": later} {
				insert(flows, []byte(handle), []byte{}, at, expires)
			}
			const requests = `INSERT INTO pushed_requests (handle, client_id, request, created, expires, used) VALUES ($1, 'cli_1', '', $2, $3, 0)`
			insert(requests, []byte("pushed"), at, later)
			const devices = `INSERT INTO device_authorizations (device_mac, user_mac, client_id, scopes, resources, max_age, acr_values, ip, agent, created, expires, state, grant_id, pause, polled)
				VALUES ($1, $1, 'cli_1', '', '', -1, '', '', '', $2, $3, 'pending', '', 5, 0)`
			for mac, expires := range map[string]int64{"good": later, "over": at, "denied": later} {
				insert(devices, []byte(mac), at, expires)
			}
			for _, c := range []struct {
				what string
				use  func(tx db.WriteTx) (bool, error)
				want bool
			}{
				{"a flow", func(tx db.WriteTx) (bool, error) { return useFlow(ctx, tx, flow1("good", nil)) }, true},
				{"a flow again", func(tx db.WriteTx) (bool, error) { return useFlow(ctx, tx, flow1("good", nil)) }, false},
				{"a flow that is over", func(tx db.WriteTx) (bool, error) { return useFlow(ctx, tx, flow1("over", nil)) }, false},
				{"a flow that there is not", func(tx db.WriteTx) (bool, error) { return useFlow(ctx, tx, flow1("none", nil)) }, false},
				{"an account chosen for an answered flow", func(tx db.WriteTx) (bool, error) { return flow1("good", nil).choose(ctx, tx, "ses_1") }, false},
				{"the first flow of a pushed request", func(tx db.WriteTx) (bool, error) { return useFlow(ctx, tx, flow1("first of two", []byte("pushed"))) }, true},
				{"its second flow", func(tx db.WriteTx) (bool, error) { return useFlow(ctx, tx, flow1("second of two", []byte("pushed"))) }, false},
				{"the pushed request itself", func(tx db.WriteTx) (bool, error) { return usePushed(ctx, tx, []byte("pushed")) }, false},
				{"a pushed request that there is not", func(tx db.WriteTx) (bool, error) { return usePushed(ctx, tx, []byte("none")) }, false},
				{"a device", func(tx db.WriteTx) (bool, error) {
					return decideDevice(ctx, tx, []byte("good"), deviceAllowed, "grt_1")
				}, true},
				{"a device again", func(tx db.WriteTx) (bool, error) { return decideDevice(ctx, tx, []byte("good"), deviceDenied, "") }, false},
				{"a device that is over", func(tx db.WriteTx) (bool, error) {
					return decideDevice(ctx, tx, []byte("over"), deviceAllowed, "grt_1")
				}, false},
				{"a device that is denied", func(tx db.WriteTx) (bool, error) { return decideDevice(ctx, tx, []byte("denied"), deviceDenied, "") }, true},
				{"and then allowed", func(tx db.WriteTx) (bool, error) {
					return decideDevice(ctx, tx, []byte("denied"), deviceAllowed, "grt_1")
				}, false},
			} {
				var ok bool
				write(func(tx db.WriteTx) (err error) { ok, err = c.use(tx); return err })
				if ok != c.want {
					t.Errorf("%s: %v, want %v", c.what, ok, c.want)
				}
			}
			// The tokens of a device are fetched once.
			fetch := func() error {
				return d.Write(ctx, func(tx db.WriteTx) error { return leave(ctx, tx, &device{mac: []byte("good")}, deviceUsed) })
			}
			if first, second := fetch(), fetch(); first != nil || second == nil {
				t.Errorf("fetched: %v, again: %v", first, second)
			}
		})
	}
}

// An assertion that expired so long ago that its use may have been forgotten is refused, whatever this node's clock says.
func TestUseOfAnOldAssertionIsNoFirstUse(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			now := clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
			g := newReplayGuard(dbtest.Open(t, engine, now))
			for what, c := range map[string]struct {
				age  time.Duration
				want bool
			}{"just over": {time.Minute, true}, "long over": {usedKeep, false}, "still good": {-time.Minute, true}} {
				for _, want := range []bool{c.want, false} {
					if first, err := g.first(t.Context(), "client", "cli_1", what, now.Now().Add(-c.age)); err != nil || first != want {
						t.Errorf("%s: %v %v, want %v", what, first, err, want)
					}
				}
			}
			// The same id of another signer, or of another kind of signer, is another one.
			for _, other := range [][2]string{{"client", "cli_2"}, {"issuer", "cli_1"}} {
				if first, err := g.first(t.Context(), other[0], other[1], "still good", now.Now().Add(time.Minute)); err != nil || !first {
					t.Errorf("%v: %v %v", other, first, err)
				}
			}
		})
	}
}
