package registry_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func decode[T any](t *testing.T, a answer, want int) (v T) {
	t.Helper()
	if a.status != want {
		t.Fatalf("%d %s, want %d", a.status, a.body, want)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

const kioSecrets = kioClient + "/secrets"

// Several secrets are good beside those that rotate, each until it expires or is revoked.
func TestLabelledSecrets(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		a := w.app("kio")
		rotating := w.secret("kio", 1)
		for who, want := range map[string]int{"": 401, "joe": 403, "robot": 403, "customer": 403} {
			for _, method := range []string{"GET", "POST"} {
				body := ""
				if method == "POST" {
					body = `{"label":"x"}`
				}
				if got := call(h, who, method, kioSecrets, body); got.status != want {
					t.Errorf("%s by %q: %d %s", method, who, got.status, got.body)
				}
			}
		}
		first := decode[api.ClientSecret](t, call(h, "jane", "POST", kioSecrets, `{"label":"Frankfurt"}`), 200)
		w.clock.Advance(time.Second)
		second := decode[api.ClientSecret](t, call(h, "jane", "POST", kioSecrets, `{"label":"Dublin","expires":"2026-11-22T13:00:00Z"}`), 200)
		accepted := func(s string) bool { return w.accepted(a.ClientID, redact.New(s)) }
		if !accepted(first.Secret) || !accepted(second.Secret) || !w.accepted(a.ClientID, rotating) || accepted(first.Secret+"x") {
			t.Error("what is accepted")
		}
		// B7.127: no list and no reading shows a secret again.
		list := call(h, "jane", "GET", kioSecrets, "")
		if strings.Contains(list.body, "client_secret") || strings.Contains(list.body, first.Secret) || strings.Contains(call(h, "jane", "GET", kioClient, "").body, first.Secret) {
			t.Errorf("a secret is shown again: %s", list.body)
		}
		if err := w.r.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if items := decode[api.ClientSecrets](t, call(h, "jane", "GET", kioSecrets, ""), 200).Items; len(items) != 2 || items[0].LastUsed.IsZero() || items[0].Label != "Frankfurt" {
			t.Errorf("listed: %+v", items)
		}
		w.clock.Advance(time.Hour)
		if accepted(second.Secret) || !accepted(first.Secret) {
			t.Error("one secret has expired, the other has not")
		}
		if got := call(h, "joe", "DELETE", kioSecrets+"/"+first.ID, ""); got.status != 403 {
			t.Errorf("a stranger revokes: %d", got.status)
		}
		if got := call(h, "jane", "DELETE", kioSecrets+"/"+first.ID, ""); got.status != 204 {
			t.Fatalf("revoke: %d %s", got.status, got.body)
		}
		if accepted(first.Secret) || !w.accepted(a.ClientID, rotating) {
			t.Error("a revoked secret is accepted, or the rotating one is not")
		}
		if got := call(h, "jane", "DELETE", kioSecrets+"/"+first.ID, ""); got.status != 404 {
			t.Errorf("revoked twice: %d", got.status)
		}
		for name, body := range map[string]string{
			"no label": `{}`, "empty": `{"label":" "}`, "hidden": `{"label":"a\u202eb"}`, "past": `{"label":"x","expires":"2020-01-01T00:00:00Z"}`,
			"far": `{"label":"x","expires":"2099-01-01T00:00:00Z"}`, "own value": `{"label":"x","client_secret":"mine"}`,
		} {
			if got := call(h, "jane", "POST", kioSecrets, body); got.status != 400 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
		for i := range 10 {
			want := 200
			if i == 9 { // with the expired one there are ten
				want = 409
			}
			if got := call(h, "jane", "POST", kioSecrets, `{"label":"more"}`); got.status != want {
				t.Errorf("secret %d: %d %s", i, got.status, got.body)
			}
		}
	})
}

// Of an application that is set inactive nothing is accepted again, and a public one has no secrets.
func TestLabelledSecretsEndWithTheApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		a := w.app("kio")
		s := decode[api.ClientSecret](t, call(h, "jane", "POST", kioSecrets, `{"label":"x"}`), 200)
		for _, active := range []bool{false, true} {
			if _, err := w.put(jane, "kio", registry.Change{Active: ptr(active)}); err != nil {
				t.Fatal(err)
			}
			if w.accepted(a.ClientID, redact.New(s.Secret)) {
				t.Errorf("accepted, active %v", active)
			}
		}
		if _, err := w.put(jane, "kio", registry.Change{Confidential: ptr(false)}); err != nil {
			t.Fatal(err)
		}
		if got := call(h, "jane", "POST", kioSecrets, `{"label":"x"}`); got.status != 409 {
			t.Errorf("a secret for a public client: %d %s", got.status, got.body)
		}
	})
}

// B2.57: what one node revokes, the others refuse within a second.
func TestB2_57_RevokedSecretIsRefusedEverywhere(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			c := clock.NewFake(start)
			d := dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, d)
			a, b := newWorld(t, d, k, c), newNode(t, dbtest.OpenURL(t, url, c), k, c)
			for _, w := range []*world{a, b} {
				stop, err := w.d.StartFeed(ctx)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
			}
			app, h := a.app("kio"), a.serve()
			s := decode[api.ClientSecret](t, call(h, "jane", "POST", kioSecrets, `{"label":"x"}`), 200)
			secret := redact.New(s.Secret)
			if !b.accepted(app.ClientID, secret) {
				t.Fatal("made on one node, refused on the other")
			}
			if got := call(h, "jane", "DELETE", kioSecrets+"/"+s.ID, ""); got.status != 204 {
				t.Fatal(got.body)
			}
			wait, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			for b.accepted(app.ClientID, secret) {
				select {
				case <-wait.Done():
					t.Fatal("still accepted on the other node")
				case <-time.After(20 * time.Millisecond):
				}
			}
			if a.accepted(app.ClientID, secret) {
				t.Error("accepted where it was revoked")
			}
		})
	}
}

// Only a client that signs with its secret has it in a form from which it comes back, and only while it does.
func TestSecretsToSignWith(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		a := w.app("kio")
		keys := func() []redact.Secret {
			t.Helper()
			list, err := w.r.Clients().HMACSecrets(ctx, a.ClientID)
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		before := decode[api.ClientSecret](t, call(h, "jane", "POST", kioSecrets, `{"label":"before"}`), 200)
		put := func(body string) {
			t.Helper()
			if got := call(h, "jane", "PUT", kioClient, body); got.status != 200 {
				t.Fatal(got.body)
			}
		}
		put(`{"token_endpoint_auth_method":"client_secret_jwt"}`)
		if list := keys(); len(list) != 0 {
			t.Errorf("a secret from before came back: %d, %s", len(list), before.ID)
		}
		s := decode[api.ClientSecret](t, call(h, "jane", "POST", kioSecrets, `{"label":"signs","expires":"2026-11-22T13:00:00Z"}`), 200)
		if list := keys(); len(list) != 1 || list[0].Reveal() != s.Secret {
			t.Errorf("to sign with: %d secrets", len(list))
		}
		w.clock.Advance(time.Hour)
		if list := keys(); len(list) != 0 {
			t.Error("an expired secret signs")
		}
		decode[api.ClientSecret](t, call(h, "jane", "POST", kioSecrets, `{"label":"signs"}`), 200)
		put(`{}`)
		put(`{"token_endpoint_auth_method":"client_secret_jwt"}`)
		if list := keys(); len(list) != 0 {
			t.Error("a secret survived the change of the method")
		}
	})
}

func testKeys(t *testing.T) map[string]string {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	larger, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	largerPoint, err := larger.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"EC":    fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q,"use":"sig","alg":"ES256","kid":"one"}`, b64(point[1:33]), b64(point[33:])),
		"P-384": fmt.Sprintf(`{"kty":"EC","crv":"P-384","x":%q,"y":%q,"alg":"ES384"}`, b64(largerPoint[1:49]), b64(largerPoint[49:])),
		"OKP":   fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, b64(ed)),
		"RSA":   fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB","use":"enc","key_ops":["wrapKey"],"x5c":["ignored"]}`, b64(pair.N.Bytes())),
	}
}

func TestClientKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		a := w.app("kio")
		const path = kioClient + "/keys"
		post := func(who, jwk string) answer { return call(h, who, "POST", path, `{"label":"laptop","jwk":`+jwk+`}`) }
		good := testKeys(t)
		for who, want := range map[string]int{"": 401, "joe": 403, "robot": 403} {
			if got := post(who, good["EC"]); got.status != want {
				t.Errorf("%q: %d %s", who, got.status, got.body)
			}
		}
		var ids []string
		for kind, jwk := range good {
			k := decode[api.ClientKey](t, post("jane", jwk), 200)
			if k.Kid == "" || kind == "EC" && k.Kid != "one" || strings.Contains(string(k.JWK), "x5c") {
				t.Errorf("%s: %+v", kind, k)
			}
			ids = append(ids, k.ID)
		}
		if got := post("jane", good["EC"]); got.status != 409 {
			t.Errorf("the same kid again: %d %s", got.status, got.body)
		}
		c, err := w.r.Clients().Client(ctx, a.ClientID)
		if err != nil || len(c.Keys) != 4 {
			t.Fatalf("%d keys in memory, %v", len(c.Keys), err)
		}
		w.r.Clients().NoteUse(ids[0])
		if err := w.r.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		used := 0
		for _, k := range decode[api.ClientKeys](t, call(h, "jane", "GET", path, ""), 200).Items {
			if !k.LastUsed.IsZero() {
				used++
			}
		}
		if used != 1 {
			t.Errorf("%d keys were used", used)
		}
		if got := call(h, "jane", "DELETE", path+"/"+ids[0], ""); got.status != 204 {
			t.Errorf("remove: %d %s", got.status, got.body)
		}
		expiring := strings.Replace(good["OKP"], `"kty"`, `"kid":"soon","kty"`, 1)
		decode[api.ClientKey](t, call(h, "jane", "POST", path, `{"label":"x","expires":"2026-11-22T12:30:00Z","jwk":`+expiring+`}`), 200)
		count := func() int {
			c, err := w.r.Clients().Client(ctx, a.ClientID)
			if err != nil {
				t.Fatal(err)
			}
			return len(c.Keys)
		}
		if n := count(); n != 4 {
			t.Errorf("%d keys", n)
		}
		w.clock.Advance(30 * time.Minute)
		if n := count(); n != 3 {
			t.Errorf("%d keys after one expired", n)
		}
	})
}

// What is no public key of the kinds that we take is refused, and what was private is said to be.
func TestBadClientKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.app("kio")
		good := testKeys(t)
		small, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		even := new(big.Int).Lsh(big.NewInt(1), 2047)
		with := func(kind, members string) string { return strings.TrimSuffix(good[kind], "}") + "," + members + "}" }
		for name, jwk := range map[string]string{
			"nothing":            `{}`,
			"a text":             `"{}"`,
			"null":               `null`,
			"a list":             `[]`,
			"private EC":         with("EC", `"d":"AAAA"`),
			"private RSA":        with("RSA", `"p":"AAAA"`),
			"symmetric":          `{"kty":"oct","k":"AAAA"}`,
			"k beside a key":     with("EC", `"k":"AAAA"`),
			"kty":                `{"kty":"AKP"}`,
			"P-384 with P-256":   strings.Replace(good["EC"], "P-256", "P-384", 1),
			"point off curve":    `{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 32)) + `","y":"` + b64(make([]byte, 32)) + `"}`,
			"short point":        `{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}`,
			"small order":        `{"kty":"OKP","crv":"Ed25519","x":"` + b64(append([]byte{1}, make([]byte, 31)...)) + `"}`,
			"X25519":             strings.Replace(good["OKP"], "Ed25519", "X25519", 1),
			"RSA 1024":           fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, b64(small.N.Bytes())),
			"RSA even":           fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"}`, b64(even.Bytes())),
			"RSA e 3":            strings.Replace(good["RSA"], "AQAB", "Aw", 1),
			"RSA e 1":            strings.Replace(good["RSA"], "AQAB", "AQ", 1),
			"RSA leading zero":   strings.Replace(good["RSA"], "AQAB", "AAEAAQ", 1),
			"padding":            strings.Replace(good["RSA"], "AQAB", "AQAB==", 1),
			"use":                with("OKP", `"use":"tls"`),
			"Ed25519 encrypts":   with("OKP", `"use":"enc"`),
			"alg of another":     with("OKP", `"alg":"ES256"`),
			"alg none":           with("OKP", `"alg":"none"`),
			"alg HS256":          with("OKP", `"alg":"HS256"`),
			"alg against use":    with("RSA", `"alg":"RS256"`),
			"key_ops sign":       with("OKP", `"key_ops":["sign"]`),
			"key_ops and use":    with("EC", `"key_ops":["encrypt"]`),
			"key_ops not a list": with("OKP", `"key_ops":"verify"`),
			"kid with a space":   with("OKP", `"kid":"a b"`),
			"kid too long":       with("OKP", `"kid":"`+strings.Repeat("a", 201)+`"`),
			"kid a number":       with("OKP", `"kid":7`),
			"twice":              with("OKP", `"x":"AAAA"`),
			"too large":          with("OKP", `"x5c":"`+strings.Repeat("a", jose.MaxKey)+`"`),
		} {
			if got := call(h, "jane", "POST", kioClient+"/keys", `{"label":"x","jwk":`+jwk+`}`); got.status != 400 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	})
}
