package keys_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// several is the schedule with every algorithm, the slow one among them.
func several() keys.Options {
	o := schedule
	o.Also = keys.Algs
	return o
}

func stepAll(t testing.TB, r *keys.Ring) {
	t.Helper()
	for _, alg := range keys.Algs {
		must[time.Time](t)(r.StepOf(ctx, alg))
	}
}

func jwks(r *keys.Ring) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r.ServeJWKS(w, httptest.NewRequest(http.MethodGet, "/oauth2/jwks", nil))
	return w
}

// The first key of each algorithm but the first is made by its job. Until it is there, no cache keeps the key set; and
// it signs when every node must have shown it.
func TestAFreshInstallationHasEveryAlgorithmSoon(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, several())
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		if got := r.Algs(); !slices.Equal(got, []keys.Alg{keys.ES256}) || len(published(t, r)) != 1 {
			t.Errorf("the start made keys of %v", got)
		}
		if got := jwks(r).Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("a key set that lacks keys is served as %q", got)
		}
		if _, err := r.SignerFor(ctx, keys.RS256); !fault.Is(err, fault.Unavailable) {
			t.Errorf("there is no RS256 key yet: %v", err)
		}
		stepAll(t, r)
		refresh(t, r)
		if got := jwks(r).Header().Get("Cache-Control"); len(published(t, r)) != 3 || got != "public, max-age=60" {
			t.Errorf("%d keys, served as %q", len(published(t, r)), got)
		}
		if _, err := r.SignerFor(ctx, keys.RS256); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a key signs that other nodes may not have shown: %v", err)
		}
		c.Advance(2 * time.Second)
		stepAll(t, r)
		refresh(t, r)
		for _, alg := range keys.Algs {
			s := must[keys.Signer](t)(r.SignerFor(ctx, alg))
			pub, ok := r.Key(s.Kid)
			if s.Alg != alg || !ok || pub.Alg != alg || !pub.Verify([]byte("x"), must[[]byte](t)(s.Sign([]byte("x")))) {
				t.Errorf("%s: signs with %s", alg, s.Alg)
			}
		}
		if signer(t, r).Alg != keys.ES256 || !slices.Equal(r.Algs(), []keys.Alg{keys.ES256, keys.EdDSA, keys.RS256}) {
			t.Errorf("%s signs what asks for none, of %v", signer(t, r).Alg, r.Algs())
		}
		before := len(list(t, d, r))
		stepAll(t, r)
		if len(list(t, d, r)) != before {
			t.Error("a step that was not due made a key")
		}
	})
}

// B6.117: an algorithm that comes to an installation of some age is published for the lead before it signs.
func TestB6_117_AFutureKeyIsPublishedAheadOfItsFirstSignature(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		if err := newRing(t, d, k, c, schedule).Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		c.Advance(10 * time.Minute)
		r := newRing(t, d, k, c, several())
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		stepAll(t, r)
		refresh(t, r)
		shown := c.Now()
		for range 6 {
			c.Advance(schedule.Lead / 5)
			stepAll(t, r)
			refresh(t, r)
			_, err := r.SignerFor(ctx, keys.RS256)
			if signs := err == nil; signs != (c.Now().Sub(shown) >= schedule.Lead) {
				t.Errorf("after %s in the key set, it signs: %v", c.Now().Sub(shown), signs)
			}
		}
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(jwks(r).Body.Bytes(), &set); err != nil {
			t.Fatal(err)
		}
		seen := map[any]bool{}
		for _, key := range set.Keys {
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
				if _, shown := key[private]; shown {
					t.Errorf("the key set shows %s", private)
				}
			}
			if seen[key["kid"]] || key["use"] != "sig" || key["alg"] == "" {
				t.Errorf("key %v", key)
			}
			seen[key["kid"]] = true
		}
		if len(seen) != 3 {
			t.Errorf("%d keys", len(seen))
		}
	})
}

// B11.202: two nodes rotate each algorithm twice within a second. One next key each comes of it.
func TestB11_202_TwoNodesRotateEachAlgorithmOnce(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			c := clock.NewFake(start)
			d := dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, d)
			nodes := []*keys.Ring{newRing(t, d, k, c, several()), newRing(t, dbtest.OpenURL(t, url, c), k, c, several())}
			var wg sync.WaitGroup
			for _, r := range nodes {
				wg.Go(func() {
					if err := r.Ensure(ctx); err != nil {
						t.Error(err)
					}
					for _, alg := range keys.Algs {
						if _, err := r.StepOf(ctx, alg); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			c.Advance(2 * time.Second)
			stepAll(t, nodes[0])
			if n := len(list(t, d, nodes[0])); n != 3 {
				t.Fatalf("there are %d keys", n)
			}
			for range 2 {
				for _, r := range nodes {
					for _, alg := range keys.Algs {
						wg.Go(func() {
							if _, err := r.Rotate(ctx, admin, alg); err != nil {
								t.Error(err)
							}
						})
					}
				}
			}
			wg.Wait()
			active, prepared := map[keys.Alg]int{}, map[keys.Alg]int{}
			for _, key := range list(t, d, nodes[0]) {
				switch key.State {
				case lifecycle.Active:
					active[key.Alg]++
				case lifecycle.Prepared:
					prepared[key.Alg]++
				}
			}
			for _, alg := range keys.Algs {
				if active[alg] != 1 || prepared[alg] != 1 {
					t.Errorf("%s: %d active and %d prepared keys", alg, active[alg], prepared[alg])
				}
			}
			for _, r := range nodes {
				refresh(t, r)
			}
			for i, r := range nodes {
				for _, alg := range keys.Algs {
					if s := must[keys.Signer](t)(r.SignerFor(ctx, alg)); !published(t, nodes[1-i])[s.Kid] {
						t.Errorf("node %d signs with a key of %s that the other does not show", i, alg)
					}
				}
			}
		})
	}
}

// What the ring promises for its first algorithm it promises for each: a token is verified by whoever kept a copy of the
// key set for MaxAge.
func TestEveryTokenOfEveryAlgorithmIsVerifiable(t *testing.T) {
	const life = 15 * time.Minute
	o := schedule
	o.Also = []keys.Alg{keys.EdDSA}
	rapid.Check(t, func(rt *rapid.T) {
		c := clock.NewFake(start)
		d := dbtest.Open(t, db.SQLite, c)
		k := sealtest.New(t, d)
		r := newRing(t, d, k, c, o)
		if err := r.Ensure(ctx); err != nil {
			rt.Fatal(err)
		}
		// ask is a verifier that takes the key set, and asks again the next time if it may not keep it.
		ask := func() (map[string]bool, time.Time) {
			if jwks(r).Header().Get("Cache-Control") == "no-store" {
				return published(t, r), time.Time{}
			}
			return published(t, r), c.Now()
		}
		held, taken := ask()
		tokens := map[string]time.Time{}
		for range rapid.IntRange(10, 40).Draw(rt, "steps") {
			c.Advance(time.Duration(rapid.IntRange(1, 200).Draw(rt, "seconds")) * time.Second)
			for _, alg := range []keys.Alg{keys.ES256, keys.EdDSA} {
				if rapid.Bool().Draw(rt, "job") {
					if _, err := r.StepOf(ctx, alg); err != nil {
						rt.Fatal(err)
					}
				}
				if rapid.IntRange(0, 9).Draw(rt, "asked") == 0 {
					if _, err := r.Rotate(ctx, admin, alg); err != nil {
						rt.Fatal(err)
					}
				}
			}
			refresh(t, r)
			if c.Now().Sub(taken) >= schedule.MaxAge || rapid.Bool().Draw(rt, "verifier asks") {
				held, taken = ask()
			}
			for _, alg := range r.Algs() {
				s, err := r.SignerFor(ctx, alg)
				if err != nil || s.Alg != alg {
					rt.Fatalf("%s: %v", alg, err)
				}
				tokens[s.Kid] = c.Now().Add(life)
			}
			if s := signer(t, r); s.Alg != keys.ES256 {
				rt.Fatalf("%s signs what asks for no algorithm", s.Alg)
			}
			for kid, expires := range tokens {
				if c.Now().Before(expires) && !held[kid] {
					rt.Fatalf("a token under %s, good until %s, is refused at %s", kid, expires, c.Now())
				}
			}
		}
	})
}

func TestEmergencyRotation(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, several())
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		stepAll(t, r)
		c.Advance(2 * time.Second)
		stepAll(t, r)
		must[keys.Info](t)(r.Rotate(ctx, admin, keys.RS256)) // the prepared one may be known as well
		refresh(t, r)
		before := published(t, r)
		calm := signer(t, r).Kid
		stranger := access.Caller{Kind: access.Person, Realm: "employees", Teams: []string{"shop"}}
		if _, err := r.Replace(ctx, stranger, keys.RS256); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a stranger: %v", err)
		}
		if _, err := r.Replace(ctx, admin, "HS256"); !fault.Is(err, fault.Invalid) {
			t.Errorf("an algorithm that is not in use: %v", err)
		}
		next := must[keys.Info](t)(r.Replace(ctx, admin, keys.RS256))
		refresh(t, r)
		s := must[keys.Signer](t)(r.SignerFor(ctx, keys.RS256))
		if s.Kid != next.Kid || before[next.Kid] || next.State != lifecycle.Active {
			t.Errorf("it signs with %s, want the new %s", s.Kid, next.Kid)
		}
		for _, key := range list(t, d, r) {
			if old := key.Alg == keys.RS256 && key.Kid != next.Kid; old != key.Revoked || old == published(t, r)[key.Kid] {
				t.Errorf("%s of %s: revoked %v", key.Kid, key.Alg, key.Revoked)
			}
		}
		if signer(t, r).Kid != calm {
			t.Error("keys of other algorithms changed")
		}
	})
}

// A key that is taken away is replaced under its own algorithm, although keys of others could sign.
func TestRevokedKeysAreReplacedUnderTheirAlgorithm(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		r := newRing(t, d, k, c, several())
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		stepAll(t, r)
		c.Advance(10 * time.Minute)
		stepAll(t, r)
		refresh(t, r)
		for _, alg := range keys.Algs {
			old := must[keys.Signer](t)(r.SignerFor(ctx, alg)).Kid
			if err := r.Revoke(ctx, admin, old); err != nil {
				t.Fatal(err)
			}
			refresh(t, r)
			if s := must[keys.Signer](t)(r.SignerFor(ctx, alg)); s.Kid == old || s.Alg != alg {
				t.Errorf("%s: still the old one: %v, %s", alg, s.Kid == old, s.Alg)
			}
			if s := signer(t, r); s.Alg != keys.ES256 {
				t.Errorf("%s signs what asks for none", s.Alg)
			}
		}
	})
}

// An algorithm that the configuration no longer names runs out, one that it names does not.
func TestAlgorithmsThatAreNotNamedRunOut(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		o := schedule
		o.Also = []keys.Alg{keys.EdDSA}
		r := newRing(t, d, k, c, o)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			next := must[time.Time](t)(r.StepOf(ctx, keys.EdDSA))
			must[time.Time](t)(r.StepOf(ctx, keys.ES256))
			c.Set(next)
		}
		refresh(t, r)
		if len(r.Algs()) != 2 {
			t.Fatalf("in use: %v", r.Algs())
		}
		bare := newRing(t, d, k, c, schedule)
		for range 8 {
			c.Set(must[time.Time](t)(bare.Step(ctx)))
		}
		refresh(t, bare)
		for kid := range published(t, bare) {
			if pub, _ := bare.Key(kid); pub.Alg != keys.ES256 {
				t.Errorf("a key of %s is still published", pub.Alg)
			}
		}
		if _, err := bare.SignerFor(ctx, keys.EdDSA); err == nil {
			t.Error("it still signs")
		}
	})
}
