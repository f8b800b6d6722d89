package oauth_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/registry"
)

const (
	cluster  = "https://cluster.example.org"
	workload = "system:serviceaccount:shop:orders"
)

// guest is a whole world whose administrator trusts a cluster: its workload speaks for application sales-orders.
type guest struct {
	*whole
	client pair
	n      int
}

func newGuest(t *testing.T, engine db.Engine) *guest {
	g := &guest{whole: newWhole(t, engine)}
	g.client = g.mint("sales-orders", 1)
	g.mint("other", 1)
	for _, app := range []string{"sales-orders", "other"} {
		g.write(func(ctx context.Context, tx db.WriteTx) error {
			_, _, err := g.registry.PutSettings(ctx, tx, system, app, registry.Settings{GrantTypes: []string{registry.GrantJWTBearer, "client_credentials"}}, anyRevision)
			return err
		})
	}
	return g
}

func guests(t *testing.T, f func(t *testing.T, g *guest)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, newGuest(t, engine)) })
	}
}

func (g *guest) jwks() string { return `{"keys":[` + jwkOf(g.t, signingPair(), "c1") + `]}` }

// trusts replaces what is said of the cluster.
func (g *guest) trusts(b api.PutTrustedIssuer) {
	g.t.Helper()
	if b.Issuer == "" {
		b.Issuer = cluster
	}
	if b.JWKS == "" {
		b.JWKS = g.jwks()
	}
	g.write(func(ctx context.Context, tx db.WriteTx) error {
		_, _, err := g.server.PutTrustedIssuer(ctx, tx, system, "cluster", b, anyRevision)
		return err
	})
}

func (g *guest) rule(change ...func(*api.TrustRule)) api.TrustRule {
	r := api.TrustRule{Subject: workload, Application: "sales-orders", Public: true}
	for _, f := range change {
		f(&r)
	}
	return r
}

// assertion is what the cluster gives to its workload, with changes: a nil removes.
func (g *guest) assertion(change ...any) string {
	g.n++
	now := g.clock.Now()
	m := map[string]any{"iss": cluster, "sub": workload, "aud": []string{issuer}, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": fmt.Sprint(g.n)}
	for i := 0; i+1 < len(change); i += 2 {
		name, _ := change[i].(string)
		if change[i+1] == nil {
			delete(m, name)
		} else {
			m[name] = change[i+1]
		}
	}
	return party{g.t, signingPair(), jose.ES256, "c1"}.sign(m, nil)
}

func bring(assertion string, more ...string) string {
	v := url.Values{"grant_type": {registry.GrantJWTBearer}, "assertion": {assertion}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v.Encode()
}

func (g *guest) exchange(assertion string, options ...with) reply {
	g.t.Helper()
	return g.send("POST", "/oauth2/token", bring(assertion), options...)
}

func TestWorkloadGetsATokenOfItsApplication(t *testing.T) {
	guests(t, func(t *testing.T, g *guest) {
		g.trusts(api.PutTrustedIssuer{Rules: []api.TrustRule{g.rule()}})
		r := g.exchange(g.assertion())
		if r.status != 200 || r.text("realm") != "services" || r.json["refresh_token"] != nil {
			t.Fatalf("%d %s", r.status, r.body)
		}
		claims := payloadOf(t, r.text("access_token"))
		if claims["sub"] != g.client.Username || claims["client_id"] != g.client.ClientID || claims["gty"] != registry.GrantJWTBearer {
			t.Errorf("%v", claims)
		}
		// The token ends with what it was exchanged for, and not eight hours later.
		if r.json["expires_in"] != 3600.0 {
			t.Errorf("expires_in %v", r.json["expires_in"])
		}
		// The same token does again, unless the issuer's count once; and with the client, where that authenticates.
		again := g.assertion()
		for range 2 {
			if r := g.exchange(again); r.status != 200 {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		if r := g.exchange(again, auth(g.client.ClientID, g.client.Secret)); r.status != 200 {
			t.Errorf("with the client: %d %s", r.status, r.body)
		}
		if r := g.send("POST", "/oauth2/token", bring(g.assertion(), "scope", "sales_order.read_all")); r.text("scope") != "sales_order.read_all" {
			t.Errorf("%d %s", r.status, r.body)
		}
		g.expect(g.send("POST", "/oauth2/token", bring(g.assertion(), "scope", "something.else")), 400, "invalid_scope")
	})
}

func TestB5_89_AssertionsThatDoNotCount(t *testing.T) {
	guests(t, func(t *testing.T, g *guest) {
		g.trusts(api.PutTrustedIssuer{Rules: []api.TrustRule{g.rule(func(r *api.TrustRule) { r.Claims = map[string]string{"ref": "refs/heads/main"} })}})
		good := func(change ...any) string { return g.assertion(append([]any{"ref", "refs/heads/main"}, change...)...) }
		if r := g.exchange(good()); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		at := func(d time.Duration) int64 { return g.clock.Now().Add(d).Unix() }
		now := g.clock.Now().Unix()
		sign := func(key any, alg jose.SignatureAlgorithm, header map[string]any) string {
			return party{t, key, alg, "c1"}.sign(map[string]any{"iss": cluster, "sub": workload, "aud": issuer, "iat": now, "exp": now + 60, "ref": "refs/heads/main"}, header)
		}
		for name, assertion := range map[string]string{
			"not a JWT":             "x",
			"meant for too long":    good("iat", at(-2*time.Hour), "exp", at(30*time.Minute)),
			"unknown issuer":        good("iss", "https://evil.test"),
			"issuer with slash":     good("iss", cluster+"/"),
			"no issuer":             good("iss", nil),
			"our own issuer":        good("iss", issuer),
			"another subject":       good("sub", workload+"x"),
			"part of the subject":   good("sub", workload[:len(workload)-1]),
			"no subject":            good("sub", nil),
			"empty subject":         good("sub", ""),
			"subject in other case": good("sub", strings.ToUpper(workload)),
			"claim missing":         g.assertion(),
			"claim another":         good("ref", "refs/heads/other"),
			"claim a list":          good("ref", []string{"refs/heads/main"}),
			"aud another":           good("aud", "https://kubernetes.default.svc"),
			"aud two":               good("aud", []string{issuer, "https://vault.example.org"}),
			"no aud":                good("aud", nil),
			"no exp":                good("exp", nil),
			"exp past":              good("exp", at(-time.Second)),
			"no iat":                good("iat", nil),
			"iat ahead":             good("iat", at(2*time.Minute)),
			"nbf ahead":             good("nbf", at(2*time.Minute)),
			"lives too long":        good("exp", at(2*time.Hour)),
			"none":                  "eyJhbGciOiJub25lIn0." + strings.Split(good(), ".")[1] + ".eA",
			"HS256 over the JWK":    sign([]byte(jwkOf(t, signingPair(), "c1")), jose.HS256, nil),
			"another key":           sign(anotherPair(), jose.ES256, nil),
			"typ of a token":        sign(signingPair(), jose.ES256, map[string]any{"typ": "at+jwt"}),
			"jku":                   sign(signingPair(), jose.ES256, map[string]any{"jku": "https://evil.test"}),
		} {
			// From an address each, for the count of what does not count.
			g.n++
			r := g.exchange(assertion, from(fmt.Sprintf("192.0.2.%d:1", g.n%250)))
			if r.status != 400 || r.text("error") != "invalid_grant" || strings.Contains(r.body, "trusted") {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		g.expect(g.send("POST", "/oauth2/token", bring("")), 400, "invalid_request")
		g.expect(g.send("POST", "/oauth2/token?assertion=x", "grant_type="+url.QueryEscape(registry.GrantJWTBearer)), 400, "invalid_request")

		g.trusts(api.PutTrustedIssuer{Disabled: true, Rules: []api.TrustRule{g.rule()}})
		soon(t, "a disabled issuer counts", func() bool { return g.exchange(g.assertion()).text("error") == "invalid_grant" })
		g.trusts(api.PutTrustedIssuer{})
		soon(t, "an issuer without rules counts", func() bool { return g.exchange(good()).text("error") == "invalid_grant" })
	})
}

func TestB5_89_ClientsAndUsersOfTheRule(t *testing.T) {
	guests(t, func(t *testing.T, g *guest) {
		other := g.mint("other", 2)
		g.trusts(api.PutTrustedIssuer{Rules: []api.TrustRule{g.rule(func(r *api.TrustRule) { r.Public = false })}})
		g.expect(g.exchange(g.assertion()), 400, "invalid_grant") // no client, and the rule wants one
		g.expect(g.exchange(g.assertion(), auth(other.ClientID, other.Secret)), 400, "invalid_grant")
		g.expect(g.exchange(g.assertion(), auth(g.client.ClientID, "wrong")), 401, "invalid_client")
		g.expect(g.send("POST", "/oauth2/token", bring(g.assertion(), "client_id", g.client.ClientID)), 401, "invalid_client")
		if r := g.exchange(g.assertion(), auth(g.client.ClientID, g.client.Secret)); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
		// A rule narrows what the client may have.
		g.trusts(api.PutTrustedIssuer{Rules: []api.TrustRule{g.rule(func(r *api.TrustRule) { r.Scopes = []string{"uid"} })}})
		var r reply
		soon(t, "the new rule is not known", func() bool { r = g.exchange(g.assertion(), from("192.0.2.77:1")); return r.status == 200 })
		if r.text("scope") != "uid" {
			t.Errorf("scope %q", r.text("scope"))
		}
		g.expect(g.send("POST", "/oauth2/token", bring(g.assertion(), "scope", "sales_order.read_all")), 400, "invalid_scope")
		// The gate is passed: without the grant, and with an inactive application, there is nothing.
		g.write(func(ctx context.Context, tx db.WriteTx) error {
			_, _, err := g.registry.PutSettings(ctx, tx, system, "sales-orders", registry.Settings{GrantTypes: []string{"client_credentials"}}, anyRevision)
			return err
		})
		soon(t, "a client without the grant gets a token", func() bool { return g.exchange(g.assertion()).text("error") == "unauthorized_client" })
		off := false
		g.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := g.registry.PutApplication(ctx, tx, system, "sales-orders", registry.Change{Active: &off}, anyRevision)
			return err
		})
		soon(t, "an inactive application gets a token", func() bool { return g.exchange(g.assertion()).text("error") != "unauthorized_client" })
		if r := g.exchange(g.assertion()); r.status < 400 || r.json["access_token"] != nil {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

func TestB5_89_AssertionThatCountsOnce(t *testing.T) {
	guests(t, func(t *testing.T, g *guest) {
		g.trusts(api.PutTrustedIssuer{SingleUse: true, Rules: []api.TrustRule{g.rule()}})
		once := g.assertion()
		if r := g.exchange(once); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		g.expect(g.exchange(once), 400, "invalid_grant")
		g.expect(g.exchange(g.assertion("jti", nil)), 400, "invalid_grant")
		if r := g.exchange(g.assertion()); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

// A stranger who tries assertions is stopped at his address, and makes no rows.
func TestB5_89_StrangersAreCounted(t *testing.T) {
	g := newGuest(t, dbtest.Engines(t)[0])
	g.trusts(api.PutTrustedIssuer{Rules: []api.TrustRule{g.rule()}})
	for i := range 50 {
		g.expect(g.exchange(g.assertion("iss", fmt.Sprintf("https://%d.evil.test", i)), from("192.0.2.9:1")), 400, "invalid_grant")
	}
	g.expect(g.exchange(g.assertion(), from("192.0.2.9:1")), 429, "slow_down")
	if r := g.exchange(g.assertion(), from("192.0.2.10:1")); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestTrustedIssuersAreAnAdministratorsToSay(t *testing.T) {
	guests(t, func(t *testing.T, g *guest) {
		put := func(c access.Caller, id string, change func(*api.PutTrustedIssuer)) error {
			b := api.PutTrustedIssuer{Issuer: cluster, JWKS: g.jwks(), Rules: []api.TrustRule{g.rule()}}
			change(&b)
			return g.db.Write(t.Context(), func(tx db.WriteTx) error {
				_, _, err := g.server.PutTrustedIssuer(t.Context(), tx, c, id, b, anyRevision)
				return err
			})
		}
		asIs := func(*api.PutTrustedIssuer) {}
		for name, c := range map[string]access.Caller{
			"nobody":  {},
			"person":  {Kind: access.Person, Realm: "employees", ID: "u", Name: "u", Teams: []string{"shop"}},
			"service": {Kind: access.Service, Realm: "services", ID: "s", Name: "s", Application: "sales-orders", Scopes: []string{"application.write"}},
		} {
			if err := put(c, "cluster", asIs); !fault.Is(err, fault.Forbidden) && !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, change := range map[string]func(*api.PutTrustedIssuer){
			"our own issuer":          func(b *api.PutTrustedIssuer) { b.Issuer = issuer },
			"no URL":                  func(b *api.PutTrustedIssuer) { b.Issuer = "cluster" },
			"a line break":            func(b *api.PutTrustedIssuer) { b.Issuer += "\n" },
			"no keys":                 func(b *api.PutTrustedIssuer) { b.JWKS = `{"keys":[]}` },
			"a private key":           func(b *api.PutTrustedIssuer) { b.JWKS = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}]}` },
			"a shared key":            func(b *api.PutTrustedIssuer) { b.JWKS = `{"keys":[{"kty":"oct","k":"AA"}]}` },
			"a week":                  func(b *api.PutTrustedIssuer) { b.MaxLifetime = 7 * 24 * 3600 },
			"negative":                func(b *api.PutTrustedIssuer) { b.MaxLifetime = -1 },
			"no such application":     func(b *api.PutTrustedIssuer) { b.Rules[0].Application = "nobody" },
			"no such person":          func(b *api.PutTrustedIssuer) { b.Rules[0] = api.TrustRule{Subject: "a", Person: "usr_nobody"} },
			"neither":                 func(b *api.PutTrustedIssuer) { b.Rules[0].Application = "" },
			"both":                    func(b *api.PutTrustedIssuer) { b.Rules[0].Person = "usr_x" },
			"a person without client": func(b *api.PutTrustedIssuer) { b.Rules[0] = api.TrustRule{Subject: "a", Person: "usr_x", Public: true} },
			"no subject":              func(b *api.PutTrustedIssuer) { b.Rules[0].Subject = "" },
			"aud as a claim":          func(b *api.PutTrustedIssuer) { b.Rules[0].Claims = map[string]string{"aud": "x"} },
			"a scope that is none":    func(b *api.PutTrustedIssuer) { b.Rules[0].Scopes = []string{"a b"} },
		} {
			if err := put(system, "cluster", change); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := put(system, "Cluster!", asIs); !fault.Is(err, fault.Invalid) {
			t.Errorf("id: %v", err)
		}
		if err := put(system, "cluster", asIs); err != nil {
			t.Fatal(err)
		}
		if err := put(system, "twin", asIs); !fault.Is(err, fault.Conflict) {
			t.Errorf("a second record of one issuer: %v", err)
		}
		if err := put(system, "cluster", func(b *api.PutTrustedIssuer) { b.SingleUse = true }); err != nil {
			t.Fatal(err)
		}
		g.write(func(ctx context.Context, tx db.WriteTx) error {
			list, err := g.server.TrustedIssuers(ctx, tx, system)
			if err != nil || len(list) != 1 || !list[0].SingleUse || list[0].MaxLifetime != 3900 || len(list[0].Rules) != 1 {
				t.Errorf("%+v, %v", list, err)
			}
			_, revision, err := g.server.TrustedIssuer(ctx, tx, system, "cluster")
			if err != nil || revision != 2 {
				t.Errorf("revision %d, %v", revision, err)
			}
			return g.server.DeleteTrustedIssuer(ctx, tx, system, "cluster", anyRevision)
		})
		for _, action := range []string{"trusted_issuer.create", "trusted_issuer.change", "trusted_issuer.delete"} {
			if n := count(t, g.db, `SELECT count(*) FROM audit_events WHERE action = $1`, action); n != 1 {
				t.Errorf("%d events %s", n, action)
			}
		}
		soon(t, "an issuer that was deleted counts", func() bool { return g.exchange(g.assertion()).text("error") == "invalid_grant" })
	})
}
