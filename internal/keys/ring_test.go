package keys_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	admin = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
)

// schedule is short enough to read: a month is an hour.
var schedule = keys.Options{Period: time.Hour, Lead: 5 * time.Minute, Keep: 20 * time.Minute, MaxAge: time.Minute}

func onBoth(t *testing.T, f func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			f(t, d, sealtest.New(t, d), c)
		})
	}
}

func newRing(t testing.TB, d *db.DB, k *seal.Keyring, c clock.Clock, o keys.Options) *keys.Ring {
	t.Helper()
	o.Clock = c
	r, err := keys.NewRing(d, k, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func rotated(r *keys.Ring) error {
	_, err := r.Rotate(ctx, admin, "")
	return err
}

func refresh(t testing.TB, r *keys.Ring) {
	t.Helper()
	if err := r.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
}

func signer(t testing.TB, r *keys.Ring) keys.Signer {
	t.Helper()
	return must[keys.Signer](t)(r.Signer(ctx))
}

func list(t testing.TB, d *db.DB, r *keys.Ring) (all []keys.Info) {
	t.Helper()
	if err := d.Read(ctx, func(tx db.ReadTx) (err error) { all, err = r.List(ctx, tx, admin); return err }); err != nil {
		t.Fatal(err)
	}
	return all
}

func published(t testing.TB, r *keys.Ring) map[string]bool {
	t.Helper()
	document, _ := r.JWKS()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(document, &set); err != nil {
		t.Fatal(err)
	}
	kids := map[string]bool{}
	for _, k := range set.Keys {
		kids[k.KeyID] = true
	}
	return kids
}

func TestFirstKeyIsMadeOnce(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			c := clock.NewFake(start)
			first := dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, first)
			var wg sync.WaitGroup
			rings := make([]*keys.Ring, 4)
			for i := range rings {
				d := first
				if i%2 == 1 {
					d = dbtest.OpenURL(t, url, c)
				}
				rings[i] = newRing(t, d, k, c, schedule)
				wg.Go(func() {
					if err := rings[i].Ensure(ctx); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := len(list(t, first, rings[0])); n != 1 {
				t.Fatalf("%d keys were made, want 1", n)
			}
			want := signer(t, rings[0]).Kid
			for _, r := range rings {
				if got := signer(t, r).Kid; got != want {
					t.Errorf("a node signs with %s, another with %s", got, want)
				}
			}
		})
	}
}

func TestNoKeyIsUnavailable(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		if _, err := r.Signer(ctx); !fault.Is(err, fault.Unavailable) {
			t.Errorf("Signer without a key: %v", err)
		}
		if _, ok := r.Key("x"); ok {
			t.Error("an unknown key was found")
		}
	})
}

func TestKeySetShowsNothingPrivate(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		document, _ := r.JWKS()
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		if err := json.Unmarshal(document, &set); err != nil {
			t.Fatal(err)
		}
		allowed := map[string]bool{"kty": true, "crv": true, "x": true, "y": true, "kid": true, "use": true, "alg": true}
		for _, key := range set.Keys {
			for member := range key {
				if !allowed[member] {
					t.Errorf("the key set has member %q", member)
				}
			}
		}
	})
}

// The life of a key, instant by instant.
func TestSchedule(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		first := signer(t, r).Kid
		step := func(after, next time.Duration) {
			t.Helper()
			c.Set(start.Add(after))
			got := must[time.Time](t)(r.Step(ctx))
			if want := start.Add(next); !got.Equal(want) {
				t.Errorf("after %s the next step is after %s, want %s", after, got.Sub(start), next)
			}
			refresh(t, r)
		}
		step(29*time.Minute, 30*time.Minute)
		if len(published(t, r)) != 1 {
			t.Error("a key was prepared before half of the period")
		}
		step(30*time.Minute, 60*time.Minute)
		if len(published(t, r)) != 2 || signer(t, r).Kid != first {
			t.Error("at half of the period the next key is published and signs nothing")
		}
		step(59*time.Minute, 60*time.Minute)
		if signer(t, r).Kid != first {
			t.Error("the next key signs before its time")
		}
		step(60*time.Minute, 85*time.Minute) // retires 5 of lead and 20 of keep later
		second := signer(t, r).Kid
		if second == first || !published(t, r)[first] {
			t.Error("at the period's end the next key signs, and the old one is published")
		}
		step(84*time.Minute, 85*time.Minute)
		if !published(t, r)[first] {
			t.Error("the old key went before the last of its tokens could have expired")
		}
		step(85*time.Minute, 90*time.Minute)
		if published(t, r)[first] {
			t.Error("the old key is still published")
		}
		for _, info := range list(t, d, r) {
			if info.Kid == first && (info.State != lifecycle.Retired || info.Revoked) {
				t.Errorf("the old key is %+v", info)
			}
		}
		var box []byte
		if err := d.Read(ctx, func(tx db.ReadTx) error {
			return tx.QueryRow(ctx, `SELECT private_box FROM signing_keys WHERE kid = $1`, first).Scan(&box)
		}); err != nil || len(box) != 0 {
			t.Errorf("the retired key's private half was kept: %d bytes, %v", len(box), err)
		}
	})
}

// A late job catches up, and still publishes first.
func TestLateJobStillPublishesFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		first := signer(t, r).Kid
		c.Advance(100 * time.Hour)
		next := must[time.Time](t)(r.Step(ctx))
		if want := c.Now().Add(schedule.Lead); !next.Equal(want) {
			t.Errorf("next step in %s, want the lead", next.Sub(c.Now()))
		}
		refresh(t, r)
		if signer(t, r).Kid != first {
			t.Error("a key signs that was published just now")
		}
	})
}

func TestTwoNodesRotateOnce(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			c := clock.NewFake(start)
			d := dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, d)
			a, b := newRing(t, d, k, c, schedule), newRing(t, dbtest.OpenURL(t, url, c), k, c, schedule)
			if err := a.Ensure(ctx); err != nil {
				t.Fatal(err)
			}
			for _, at := range []time.Duration{30 * time.Minute, 60 * time.Minute} {
				c.Set(start.Add(at))
				var wg sync.WaitGroup
				for _, r := range []*keys.Ring{a, b, a, b} {
					wg.Go(func() {
						if _, err := r.Step(ctx); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if n := len(list(t, d, a)); n != 2 {
					t.Fatalf("after %s there are %d keys, want 2", at, n)
				}
			}
		})
	}
}

func TestRotateOnRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		rotate := func(caller access.Caller) (keys.Info, error) { return r.Rotate(ctx, caller, "") }
		if _, err := rotate(access.Caller{Kind: access.Person, Realm: "employees", Teams: []string{"shop"}}); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a stranger may rotate keys: %v", err)
		}
		first := must[keys.Info](t)(rotate(admin))
		again := must[keys.Info](t)(rotate(admin))
		if first.Kid != again.Kid || len(list(t, d, r)) != 2 {
			t.Error("asking twice made two keys")
		}
		if want := start.Add(schedule.Lead); !first.ActivateAt.Equal(want) {
			t.Errorf("active in %s, want the lead", first.ActivateAt.Sub(start))
		}
		c.Set(first.ActivateAt)
		must[time.Time](t)(r.Step(ctx))
		refresh(t, r)
		// The node learnt of the key late; it goes on with the old one for as long as it has not shown the new one.
		if signer(t, r).Kid == first.Kid {
			t.Error("the node signs with a key that its own key set has shown for no time at all")
		}
		c.Advance(schedule.Lead)
		if signer(t, r).Kid != first.Kid {
			t.Error("the new key does not sign though it has been shown for the lead")
		}
	})
}

// A key that was prepared on schedule is brought forward, but never before it was published for the lead.
func TestRotateBringsForward(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		c.Set(start.Add(30 * time.Minute))
		must[time.Time](t)(r.Step(ctx))
		c.Advance(time.Minute)
		info := must[keys.Info](t)(r.Rotate(ctx, admin, ""))
		if want := start.Add(35 * time.Minute); !info.ActivateAt.Equal(want) {
			t.Errorf("active after %s, want 35m", info.ActivateAt.Sub(start))
		}
		if len(list(t, d, r)) != 2 {
			t.Error("another key was made")
		}
	})
}

func TestRevoke(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		revoke := func(caller access.Caller, kid string) error {
			return r.Revoke(ctx, caller, kid)
		}
		bad := signer(t, r).Kid
		if err := revoke(access.Caller{}, bad); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("nobody may revoke keys: %v", err)
		}
		if err := revoke(admin, "nonsense"); !fault.Is(err, fault.NotFound) {
			t.Errorf("an unknown key: %v", err)
		}
		if err := revoke(admin, bad); err != nil {
			t.Fatal(err)
		}
		refresh(t, r)
		if _, ok := r.Key(bad); ok || published(t, r)[bad] {
			t.Error("a revoked key is still accepted")
		}
		if s := signer(t, r); s.Kid == bad || !published(t, r)[s.Kid] {
			t.Errorf("%s signs after %s was revoked", s.Kid, bad)
		}
		if err := revoke(admin, bad); !fault.Is(err, fault.Conflict) {
			t.Errorf("revoked twice: %v", err)
		}
		// A key that is only prepared goes without one in its place: the schedule makes the next.
		c.Advance(30 * time.Minute)
		must[time.Time](t)(r.Step(ctx))
		var prepared string
		for _, info := range list(t, d, r) {
			if info.State == lifecycle.Prepared {
				prepared = info.Kid
			}
		}
		if err := revoke(admin, prepared); err != nil {
			t.Fatal(err)
		}
		must[time.Time](t)(r.Step(ctx))
		refresh(t, r)
		if published(t, r)[prepared] || len(published(t, r)) != 2 {
			t.Error("the prepared key was not replaced")
		}
	})
}

// The configuration names another algorithm: its first key is published before it signs, and those of the old one run out.
func TestAlgorithmChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		old := newRing(t, d, k, c, schedule)
		if err := old.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		c.Advance(30 * time.Minute)
		must[time.Time](t)(old.Step(ctx)) // the old algorithm has a prepared key too
		before := signer(t, old).Kid
		o := schedule
		o.Alg = keys.EdDSA
		r := newRing(t, d, k, c, o)
		for range 2 {
			if err := r.Ensure(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if len(published(t, r)) != 3 || signer(t, r).Kid != before {
			t.Errorf("%d keys are published, and it signs with one that no verifier knows: %v", len(published(t, r)), signer(t, r).Kid != before)
		}
		c.Set(must[time.Time](t)(r.Step(ctx)))
		must[time.Time](t)(r.Step(ctx))
		refresh(t, r)
		refresh(t, old)
		if s := signer(t, r); s.Alg != keys.EdDSA || c.Now().Sub(start) != 35*time.Minute {
			t.Errorf("after %s it signs with %s", c.Now().Sub(start), s.Alg)
		}
		if signer(t, old).Kid != before {
			t.Error("a node that has the old configuration still signs with the old key")
		}
		for range 10 {
			c.Set(must[time.Time](t)(r.Step(ctx)))
			refresh(t, r)
			if c.Now().Sub(start) < 90*time.Minute && !published(t, r)[before] {
				t.Fatalf("after %s the old key is gone, and its tokens with it", c.Now().Sub(start))
			}
		}
		for kid := range published(t, r) {
			if pub, _ := r.Key(kid); pub.Alg != keys.EdDSA {
				t.Errorf("a key of the old algorithm is still published")
			}
		}
		refresh(t, old)
		if signer(t, old).Alg != keys.EdDSA {
			t.Error("the node with the old configuration has nothing else to sign with")
		}
	})
}

// A thief of the database who moves private halves between rows gets an error, not signatures under the wrong name.
func TestSwappedRowsDoNotOpen(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		before := signer(t, r).Kid
		other := must[keys.Info](t)(r.Rotate(ctx, admin, ""))
		if err := d.Write(ctx, func(tx db.WriteTx) (err error) {
			_, err = tx.Exec(ctx, `UPDATE signing_keys SET private_box = (SELECT private_box FROM signing_keys WHERE kid = $1) WHERE kid = $2`, other.Kid, before)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := newRing(t, d, k, c, schedule).Refresh(ctx); err == nil {
			t.Error("a swapped private half was taken")
		}
		if err := r.Refresh(ctx); err == nil || signer(t, r).Kid != before {
			t.Errorf("the copy in memory must stay as it was: %v", err)
		}
	})
}

func TestServeJWKS(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, schedule)
		get := func(match string) *httptest.ResponseRecorder {
			w, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/oauth2/jwks", nil)
			if match != "" {
				req.Header.Set("If-None-Match", match)
			}
			r.ServeJWKS(w, req)
			return w
		}
		if w := get(""); w.Code != http.StatusServiceUnavailable {
			t.Errorf("no keys loaded: %d, and a cache would keep it", w.Code)
		}
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		w := get("")
		if w.Code != 200 || w.Header().Get("Cache-Control") != "public, max-age=60" || w.Header().Get("ETag") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
		if again := get(w.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("unchanged set: %d with %d bytes", again.Code, again.Body.Len())
		}
		if err := rotated(r); err != nil {
			t.Fatal(err)
		}
		refresh(t, r)
		if changed := get(w.Header().Get("ETag")); changed.Code != 200 {
			t.Errorf("changed set: %d", changed.Code)
		}
	})
}

// The promise of the package as a property: whatever steps come when, each token that a node signs is verified by whoever
// keeps a copy of its key set for MaxAge, until the token expires. One node is cut off from the database now and then,
// for no longer than the lead; what it signs is verified by the other node's set too.
func TestEveryTokenIsVerifiable(t *testing.T) {
	const life = 15 * time.Minute // of a token; Keep has five minutes more
	const stride = 200 * time.Second
	type token struct {
		kid     string
		by      int
		expires time.Time
	}
	rapid.Check(t, func(rt *rapid.T) {
		c := clock.NewFake(start)
		d := dbtest.Open(t, db.SQLite, c)
		k := sealtest.New(t, d)
		nodes := []*keys.Ring{newRing(t, d, k, c, schedule), newRing(t, d, k, c, schedule)}
		for _, r := range nodes {
			if err := r.Ensure(ctx); err != nil {
				rt.Fatal(err)
			}
		}
		var tokens []token
		copies := make([]map[string]bool, len(nodes)) // a verifier's copy of each node's set
		taken := make([]time.Time, len(nodes))
		for i := range nodes {
			copies[i], taken[i] = published(t, nodes[i]), c.Now()
		}
		heard := c.Now() // by the second node
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			c.Advance(time.Duration(rapid.IntRange(1, int(stride/time.Second)).Draw(rt, "seconds")) * time.Second)
			if rapid.Bool().Draw(rt, "job") {
				if _, err := nodes[0].Step(ctx); err != nil {
					rt.Fatal(err)
				}
			}
			if rapid.IntRange(0, 9).Draw(rt, "asked") == 0 {
				if err := rotated(nodes[0]); err != nil {
					rt.Fatal(err)
				}
			}
			refresh(t, nodes[0])
			if c.Now().Add(stride).Sub(heard) > schedule.Lead || rapid.Bool().Draw(rt, "second node hears") {
				refresh(t, nodes[1])
				heard = c.Now()
			}
			for i, r := range nodes {
				if c.Now().Sub(taken[i]) >= schedule.MaxAge || rapid.Bool().Draw(rt, "verifier asks") {
					copies[i], taken[i] = published(t, r), c.Now()
				}
				tokens = append(tokens, token{signer(t, r).Kid, i, c.Now().Add(life)})
			}
			for _, tok := range tokens {
				for i := range copies {
					if i <= tok.by && c.Now().Before(tok.expires) && !copies[i][tok.kid] {
						rt.Fatalf("a token of node %d under %s, good until %s, is refused by a verifier of node %d at %s", tok.by, tok.kid, tok.expires, i, c.Now())
					}
				}
			}
		}
	})
}

// The job does it by itself, in a runner.
func TestRotationJobRuns(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		o := keys.Options{Period: 2 * time.Second, Lead: 1, Keep: time.Millisecond, MaxAge: time.Millisecond}
		r := newRing(t, d, sealtest.New(t, d), clock.System, o)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		first := signer(t, r).Kid
		runner := jobs.NewRunner(d, jobs.Options{Node: "nod_test"})
		runner.Handle(keys.JobKind, r.RotationJob)
		running, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := runner.Run(running); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := r.Run(running); err != nil {
				t.Error(err)
			}
		})
		defer wg.Wait()
		defer stop()
		for range 3000 {
			if _, still := r.Key(first); !still && signer(t, r).Kid != first {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error("the first key was never replaced and withdrawn")
	})
}
