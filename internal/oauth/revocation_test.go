package oauth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/seal"
)

func (w *world) valid(token string) bool {
	w.t.Helper()
	_, err := w.server.Verifier().Verify(w.t.Context(), token, oauth.VerifyOptions{})
	if err != nil && !errors.Is(err, oauth.ErrToken) {
		w.t.Fatal(err)
	}
	return err == nil
}

func count(t *testing.T, d *db.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := d.Read(t.Context(), func(tx db.ReadTx) error { return tx.QueryRow(t.Context(), query, args...).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRevoke(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token, other := w.token(), w.token()
		if !w.valid(token) || !w.valid(other) {
			t.Fatal("new tokens are not valid")
		}
		// Another client's token is not its own to revoke, and stays valid.
		w.expect(w.send("POST", "/oauth2/revoke", "token="+token, auth("other-client-id", "other-client-secret")), 400, "unauthorized_client")
		if !w.valid(token) {
			t.Error("another client revoked it")
		}
		for range 2 { // once, and once more
			if r := w.send("POST", "/oauth2/revoke", "token="+token+"&token_type_hint=refresh_token", us); r.status != 200 || r.body != "" {
				t.Errorf("revoke: %d %s", r.status, r.body)
			}
			if w.valid(token) {
				t.Error("a revoked token is valid")
			}
		}
		if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); r.status != 401 {
			t.Errorf("tokeninfo of a revoked token: %d", r.status)
		}
		if !w.valid(other) {
			t.Error("another token of the same user was revoked")
		}
		for _, unknown := range []string{"unknown", "a.b.c", token + "x"} {
			if r := w.send("POST", "/oauth2/revoke", "token="+unknown, us); r.status != 200 {
				t.Errorf("unknown token: %d %s", r.status, r.body)
			}
		}
		if n := count(t, w.db, `SELECT COUNT(*) FROM audit_events WHERE action = 'token.revoke' AND outcome = 'success' AND actor_id = 'my-client-id'`); n != 1 {
			t.Errorf("%d audit events, want 1", n)
		}
		w.expect(w.send("POST", "/oauth2/revoke", "", us), 400, "invalid_request")
		w.expect(w.send("POST", "/oauth2/revoke", "token="+other), 401, "invalid_client")
	})
}

// A revocation that could not be stored is never acknowledged.
func TestRevokeWithoutStorage(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token := w.token()
		if err := w.db.Write(t.Context(), func(tx db.WriteTx) error {
			_, err := tx.Exec(t.Context(), `DROP TABLE revoked_tokens`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		r := w.send("POST", "/oauth2/revoke", "token="+token, us)
		w.expect(r, 503, "temporarily_unavailable")
		if r.header.Get("Retry-After") == "" || strings.Contains(r.body, "revoked_tokens") {
			t.Errorf("%v %s", r.header, r.body)
		}
		if !w.valid(token) {
			t.Error("not stored, and yet refused")
		}
	})
}

// neighbour is another node on the same database.
func (w *world) neighbour(url string, keyring *seal.Keyring) (*oauth.Server, *db.DB) {
	w.t.Helper()
	d := dbtest.OpenURL(w.t, url, w.clock)
	ring, err := keys.NewRing(d, keyring, keys.Options{Clock: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := oauth.New(oauth.Options{DB: d, Clients: w.clients, Users: w.users, Keys: ring, Clock: w.clock, Issuer: issuer})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := ring.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return s, d
}

func TestRevocationReachesOtherNodesAndRestarts(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newWorld(t, engine)
			url, keyring := w.url, w.keyring
			token := w.token()
			running, d := w.neighbour(url, keyring)
			stop, err := d.StartFeed(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			if err := running.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			valid := func(s *oauth.Server) bool {
				_, err := s.Verifier().Verify(t.Context(), token, oauth.VerifyOptions{})
				return err == nil
			}
			if !valid(running) {
				t.Fatal("the neighbour does not know the token")
			}
			if r := w.send("POST", "/oauth2/revoke", "token="+token, us); r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			deadline := time.Now().Add(10 * time.Second) // a second is promised; a slow machine gets more
			for valid(running) {
				if time.Now().After(deadline) {
					t.Fatal("the running neighbour never heard of the revocation")
				}
				time.Sleep(10 * time.Millisecond)
			}
			restarted, _ := w.neighbour(url, keyring)
			if err := restarted.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if valid(restarted) {
				t.Error("a node that starts does not know the revocation")
			}
		})
	}
}

func TestIntrospection(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token := w.token()
		claims := payloadOf(t, token)
		want := map[string]any{
			"active": true, "aud": issuer, "client_id": "my-client-id", "exp": claims["exp"], "iat": claims["iat"], "iss": issuer,
			"jti": claims["jti"], "realm": "services", "scope": "uid sales_order.read_all", "sub": "my-username", "token_type": "Bearer", "username": "my-username",
		}
		for range 2 {
			r := w.send("POST", "/oauth2/introspect", "token="+token, auth("other-client-id", "other-client-secret"))
			if diff := cmp.Diff(want, r.json); r.status != 200 || diff != "" {
				t.Errorf("%d, -want +got:\n%s", r.status, diff)
			}
		}
		// A token that is meant for one service says nothing to another.
		narrow := w.forge(goodHeader, goodClaims("aud", `"https://elsewhere"`))
		if r := w.send("POST", "/oauth2/introspect", "token="+narrow, auth("other-client-id", "other-client-secret")); r.body != `{"active":false}` {
			t.Errorf("not for it: %s", r.body)
		}
		if r := w.send("POST", "/oauth2/introspect", "token="+narrow, us); r.json["active"] != true {
			t.Errorf("its own: %s", r.body)
		}
		forOther := w.forge(goodHeader, goodClaims("aud", `["x","other-client-id"]`))
		if r := w.send("POST", "/oauth2/introspect", "token="+forOther, auth("other-client-id", "other-client-secret")); r.json["active"] != true {
			t.Errorf("in aud: %s", r.body)
		}
		w.expect(w.send("POST", "/oauth2/introspect", "token="+token), 401, "invalid_client")
		w.expect(w.send("POST", "/oauth2/introspect", "token="+token, bearer(token)), 401, "invalid_client")
		w.expect(w.send("POST", "/oauth2/introspect", "token=", us), 400, "invalid_request")
		w.changeClient("other-client-id", func(c *oauth.Client) { c.Confidential = false })
		w.expect(w.send("POST", "/oauth2/introspect", "token="+token+"&client_id=other-client-id"), 401, "invalid_client")
	})
}

func TestJWKSIsCacheable(t *testing.T) {
	w := one(t)
	w.makeKeys()
	for _, path := range []string{"/oauth2/jwks", "/oauth2/connect/keys", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		r := w.send("GET", path, "")
		etag := r.header.Get("ETag")
		if r.status != 200 || etag == "" || !strings.Contains(r.header.Get("Cache-Control"), "max-age=300") {
			t.Errorf("%s: %d %v", path, r.status, r.header)
		}
		if r := w.send("GET", path, "", header("If-None-Match", etag)); r.status != http.StatusNotModified || r.body != "" {
			t.Errorf("%s: If-None-Match: %d %s", path, r.status, r.body)
		}
		if r := w.send("GET", path, "", header("If-None-Match", `"other"`)); r.status != 200 {
			t.Errorf("%s: another tag: %d", path, r.status)
		}
		if r := w.send("HEAD", path, ""); r.status != 200 || r.header.Get("ETag") != etag {
			t.Errorf("%s: HEAD: %d", path, r.status)
		}
		if r := w.send("POST", path, "x=y"); r.status != 405 || r.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: POST: %d %q", path, r.status, r.header.Get("Allow"))
		}
	}
}

func TestDiscoveryIgnoresTheHost(t *testing.T) {
	w := one(t)
	methods, algs := []any{"client_secret_basic", "client_secret_post", "private_key_jwt"}, []any{"ES256", "ES384", "EdDSA", "PS256", "RS256"}
	want := map[string]any{
		"issuer": issuer, "token_endpoint": issuer + "/oauth2/token", "jwks_uri": issuer + "/oauth2/jwks",
		"introspection_endpoint": issuer + "/oauth2/introspect", "revocation_endpoint": issuer + "/oauth2/revoke",
		"tokeninfo_endpoint":                            issuer + "/oauth2/tokeninfo",
		"grant_types_supported":                         []any{"client_credentials", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"response_types_supported":                      []any{},
		"subject_types_supported":                       []any{"public"},
		"token_endpoint_auth_methods_supported":         methods,
		"introspection_endpoint_auth_methods_supported": methods,
		"revocation_endpoint_auth_methods_supported":    methods,

		"token_endpoint_auth_signing_alg_values_supported":         algs,
		"introspection_endpoint_auth_signing_alg_values_supported": algs,
		"revocation_endpoint_auth_signing_alg_values_supported":    algs,
		"introspection_signing_alg_values_supported":               []any{"ES256"},
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		plain := w.send("GET", path, "")
		if diff := cmp.Diff(want, plain.json); diff != "" {
			t.Errorf("%s, -want +got:\n%s", path, diff)
		}
		evil := w.send("GET", path, "", host("evil.test"), header("X-Forwarded-Host", "evil.test"), header("X-Forwarded-Proto", "http"), header("Forwarded", "host=evil.test"))
		if evil.body != plain.body {
			t.Errorf("%s follows the Host: %s", path, evil.body)
		}
	}
}

func TestHealth(t *testing.T) {
	w := one(t)
	if r := w.send("GET", "/health", ""); r.status != 200 || r.body != "OK\ntest\n" {
		t.Errorf("%d %q", r.status, r.body)
	}
	bare := bareWorld(t, dbtest.Engines(t)[0])
	if r := bare.send("GET", "/health", ""); r.status != 503 || r.body != "No keys available\ntest\n" {
		t.Errorf("without keys: %d %q", r.status, r.body)
	}
	if r := bare.send("GET", "/oauth2/jwks", ""); r.status != 503 {
		t.Errorf("key set without keys: %d %s", r.status, r.body)
	}
	bare.expect(bare.send("POST", "/oauth2/token?realm=services", passwordForm, us), 503, "temporarily_unavailable")
}

// What happened is in the audit log, counted, once Run has had its turn; and a failure keeps the counts.
func TestJournal(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token := w.token()
		w.token()
		w.send("GET", "/oauth2/tokeninfo", "", bearer(token))
		w.send("POST", "/oauth2/token?realm=services", strings.Replace(passwordForm, "my-password", "wrong", 1), us)
		for range 3 {
			w.send("POST", "/oauth2/token?realm=services", passwordForm, auth("my-client-id", "wrong"), from("192.0.2.9:1"))
		}
		w.send("POST", "/oauth2/token?realm=services", passwordForm, auth("evil\nclient", "wrong"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.server.Run(ctx) }()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for want, query := range map[string]string{
			`"count":2`:                             `action = 'token.issue' AND outcome = 'success' AND client_id = 'my-client-id'`,
			`"count":1`:                             `action = 'token.verify' AND outcome = 'success' AND client_id = 'my-client-id'`,
			`"count":1,"grant":"password"`:          `action = 'token.issue' AND outcome = 'denied' AND reason = 'invalid_grant'`,
			`"count":3`:                             `action = 'client.authenticate' AND outcome = 'denied' AND client_id = 'my-client-id' AND ip = '192.0.2.9/32'`,
			`"count":1,"since":"2026-11-22T12:00:0`: `action = 'client.authenticate' AND client_id = '(malformed)'`,
		} {
			var details string
			if err := w.db.Read(t.Context(), func(tx db.ReadTx) error {
				return tx.QueryRow(t.Context(), `SELECT details FROM audit_events WHERE `+query).Scan(&details)
			}); err != nil || !strings.Contains(details, want) {
				t.Errorf("%s: %s, %v; want %s", query, details, err, want)
			}
		}
		if n := count(t, w.db, `SELECT COUNT(*) FROM audit_events WHERE action <> 'key.create'`); n < 5 {
			t.Errorf("%d events", n)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	w := one(t)
	good := oauth.Options{DB: w.db, Clients: w.clients, Users: w.users, Keys: w.ring, Issuer: issuer}
	for name, change := range map[string]func(*oauth.Options){
		"no database":      func(o *oauth.Options) { o.DB = nil },
		"no issuer":        func(o *oauth.Options) { o.Issuer = "" },
		"no scheme":        func(o *oauth.Options) { o.Issuer = "auth.example.com" },
		"another scheme":   func(o *oauth.Options) { o.Issuer = "ftp://auth.example.com" },
		"no host":          func(o *oauth.Options) { o.Issuer = "https://" },
		"slash at the end": func(o *oauth.Options) { o.Issuer += "/" },
		"query":            func(o *oauth.Options) { o.Issuer += "?x" },
		"fragment":         func(o *oauth.Options) { o.Issuer += "#x" },
		"bounds":           func(o *oauth.Options) { o.Lifetimes.Min, o.Lifetimes.Max = time.Hour, time.Minute },
	} {
		o := good
		change(&o)
		if _, err := oauth.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := oauth.New(good); err != nil {
		t.Error(err)
	}
}
