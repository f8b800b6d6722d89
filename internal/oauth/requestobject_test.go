package oauth_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// signs registers a key of the client, and more that is said of it.
func (w *folk) signs(client pair, more ...func(c *oauth.Client)) {
	w.t.Helper()
	jwk := jwkOf(w.t, signingPair(), "k1")
	w.say(client, func(c *oauth.Client) {
		c.Keys = []registry.ClientKey{{ID: "1", JWK: jwk}}
		for _, f := range more {
			f(c)
		}
	})
}

// object signs a request, with changes: a nil removes, any other value replaces.
func (w *folk) object(client pair, v url.Values, change ...any) string {
	w.t.Helper()
	now := w.clock.Now()
	m := map[string]any{"iss": client.ClientID, "aud": issuer, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	for name := range v {
		m[name] = v.Get(name)
	}
	header := map[string]any{"typ": "oauth-authz-req+jwt"}
	for i := 0; i+1 < len(change); i += 2 {
		name, _ := change[i].(string)
		switch {
		case name == "typ":
			header["typ"] = change[i+1]
		case change[i+1] == nil:
			delete(m, name)
		default:
			m[name] = change[i+1]
		}
	}
	return party{w.t, signingPair(), jose.ES256, "k1"}.sign(m, header)
}

func signedAt(client pair, object string, more ...string) string {
	v := url.Values{"client_id": {client.ClientID}, "request": {object}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return at(v)
}

func TestB1_31_SignedRequestAloneCounts(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.signs(w.shop)
		object := w.object(w.shop, asks(w.shop, "scope", "openid email"), "max_age", 3600)
		b := w.browser()
		r := b.get(signedAt(w.shop, object, "scope", "profile", "state", "other", "redirect_uri", "https://evil.test/", "response_type", "token", "prompt", "none", "code_challenge", "-"))
		resume, err := url.Parse(r.header.Get("Location"))
		if err != nil || resume.Path != "/login" {
			t.Fatalf("%d to %s", r.status, r.header.Get("Location"))
		}
		w.clock.Advance(7 * time.Minute) // what was signed is over; what waits for the person is not
		b.login(w.alice)
		r = b.get(resume.Query().Get("return_to"))
		b.get(r.header.Get("Location"))
		if v := w.pages.consent; v == nil || len(v.Scopes) != 2 || v.Scopes[1].Name != "email" {
			t.Fatalf("asked %+v", w.pages.consent)
		}
		answer := w.backTo(b.decide("allow"), shopBack)
		if answer.Get("state") != "s t&ate" {
			t.Errorf("the state beside the request counts: %v", answer)
		}
		if tokens := w.exchange(w.shop, answer.Get("code")); tokens.text("scope") != "email openid" {
			t.Errorf("%d %s", tokens.status, tokens.body)
		}
		// Pushed as well, and by POST.
		pushed := w.push(w.shop, url.Values{"request": {w.object(w.shop, asks(w.shop, "scope", "openid"))}, "scope": {"profile"}})
		if pushed.status != 201 {
			t.Fatalf("%d %s", pushed.status, pushed.body)
		}
		r = b.get("/oauth2/authorize?client_id=" + w.shop.ClientID + "&request_uri=" + url.QueryEscape(pushed.text("request_uri")))
		if code := w.backTo(r, shopBack).Get("code"); code == "" {
			t.Errorf("%s", r.header.Get("Location"))
		}
		r = b.post("/oauth2/authorize", url.Values{"client_id": {w.shop.ClientID}, "request": {w.object(w.shop, asks(w.shop), "typ", "JWT")}})
		if r.status != 303 {
			t.Errorf("by POST: %d %s", r.status, w.pages.code)
		}
	})
}

func TestB1_14_SignedRequestsThatAreRefused(t *testing.T) {
	w := aWorldOfPeople(t)
	w.signs(w.shop)
	w.signs(w.other)
	b := w.browser().login(w.alice)
	at := func(d time.Duration) int64 { return w.clock.Now().Add(d).Unix() }
	good := func(change ...any) string { return w.object(w.shop, asks(w.shop), change...) }
	evil := party{t, anotherPair(), jose.ES256, "k1"}
	for name, object := range map[string]string{
		"not a JWT":             "x",
		"none":                  "eyJhbGciOiJub25lIn0." + strings.Split(good(), ".")[1] + ".",
		"another key":           evil.sign(map[string]any{"iss": w.shop.ClientID, "client_id": w.shop.ClientID, "aud": issuer, "exp": at(time.Minute)}, nil),
		"HS256 over the JWK":    party{t, []byte(jwkOf(t, signingPair(), "k1")), jose.HS256, "k1"}.sign(map[string]any{"iss": w.shop.ClientID}, nil),
		"client_id of another":  good("client_id", w.other.ClientID),
		"iss of another":        good("iss", w.other.ClientID),
		"both of another":       good("client_id", w.other.ClientID, "iss", w.other.ClientID),
		"no client_id":          good("client_id", nil),
		"no iss":                good("iss", nil),
		"an assertion":          good("sub", w.shop.ClientID),
		"aud another":           good("aud", "https://evil.test"),
		"aud two":               good("aud", []string{issuer, "https://evil.test"}),
		"no aud":                good("aud", nil),
		"no exp":                good("exp", nil),
		"exp past":              good("exp", at(-time.Second)),
		"exp far":               good("exp", at(2*time.Hour)),
		"nbf ahead":             good("nbf", at(2*time.Minute)),
		"request inside":        good("request", "x"),
		"request_uri inside":    good("request_uri", "https://evil.test/"),
		"typ of an assertion":   good("typ", "client-authentication+jwt"),
		"typ of a token":        good("typ", "at+jwt"),
		"scope a list":          good("scope", []string{"openid"}),
		"state a truth":         good("state", true),
		"resource a mixed list": good("resource", []any{"a", 1}),
		"longer than a request": good("state", strings.Repeat("+", 8000)),
	} {
		outside := asks(w.shop, "request", object)
		w.refusedBack(b.get("/oauth2/authorize?"+outside.Encode()), "invalid_request_object")
		w.refusedHere(b.get(signedAt(w.shop, object)), 400) // and nothing says where to tell of it
		if r := w.push(w.shop, url.Values{"request": {object}}); r.status != 400 || r.text("error") != "invalid_request_object" {
			t.Errorf("%s, pushed: %d %s", name, r.status, r.body)
		}
	}
	// An object of another client does not do for this one, nor the other way round.
	w.refusedHere(b.get(signedAt(w.other, good())), 400)
	// What is inside is checked like any request, and told to whoever it names.
	w.refusedHere(b.get(signedAt(w.shop, good("redirect_uri", "https://evil.test/"))), 400)
	w.refusedBack(b.get(signedAt(w.shop, good("code_challenge", nil))), "invalid_request")
	w.refusedBack(b.get(signedAt(w.shop, good("prompt", "none login"))), "invalid_request")
	// Twice is none.
	w.refusedBack(b.get("/oauth2/authorize?"+asks(w.shop, "request", good()).Encode()+"&request=x"), "invalid_request")
	w.refusedBack(b.get("/oauth2/authorize?"+asks(w.shop, "request", good(), "request_uri", "https://evil.test/").Encode()), "invalid_request")

	w.signs(w.shop, func(c *oauth.Client) { c.Metadata.RequestObjectAlg = "RS256" })
	w.refusedBack(b.get("/oauth2/authorize?"+asks(w.shop, "request", good()).Encode()), "invalid_request_object")
	w.signs(w.shop, func(c *oauth.Client) { c.Keys[0].Expires = w.clock.Now() })
	w.refusedBack(b.get("/oauth2/authorize?"+asks(w.shop, "request", good()).Encode()), "invalid_request_object")
}

func TestClientThatMustSignItsRequests(t *testing.T) {
	w := aWorldOfPeople(t)
	w.signs(w.shop, func(c *oauth.Client) { c.Metadata.RequireRequestObject = true })
	b := w.browser().login(w.alice)
	w.refusedBack(b.get(at(asks(w.shop))), "invalid_request")
	if r := w.push(w.shop, asks(w.shop)); r.status != 400 || r.text("error") != "invalid_request" {
		t.Errorf("pushed: %d %s", r.status, r.body)
	}
	if r := b.get(signedAt(w.shop, w.object(w.shop, asks(w.shop)))); !strings.HasPrefix(r.header.Get("Location"), "/consent?") {
		t.Errorf("signed: %d %s", r.status, r.header.Get("Location"))
	}
}

// Nothing is fetched, whatever address a request is said to lie at.
func TestB1_27_RequestsByReference(t *testing.T) {
	w := aWorldOfPeople(t)
	w.signs(w.shop, func(c *oauth.Client) { c.Metadata.RequireRequestObject = true })
	for _, uri := range []string{"http://169.254.169.254/latest", "http://127.0.0.1:5432", "file:///etc/passwd", "https://evil.test/r.jwt", ""} {
		w.refusedBack(w.browser().get(at(asks(w.shop, "request_uri", uri))), "request_uri_not_supported")
	}
}
