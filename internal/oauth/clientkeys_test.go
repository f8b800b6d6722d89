package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/keyset"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/outbound"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/testport"
)

// keyHouse is where a client keeps its keys.
type keyHouse struct {
	url   string
	mu    sync.Mutex
	set   string // owned by mu; "": it answers with an error
	asked int    // owned by mu
}

func newKeyHouse(t testing.TB) *keyHouse {
	k := &keyHouse{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.asked++; k.set == "" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Write([]byte(k.set))
	}))
	s.Listener = testport.Listen(t)
	s.Start()
	t.Cleanup(s.Close)
	k.url = s.URL + "/jwks"
	return k
}

func (k *keyHouse) shows(jwks ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.set = ""; len(jwks) > 0 {
		k.set = `{"keys":[` + strings.Join(jwks, ",") + `]}`
	}
}

func (k *keyHouse) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}

func keySets(c clock.Clock) *keyset.Clients {
	return keyset.NewClients(keyset.Options{Clock: c, Outbound: outbound.New(outbound.Options{HTTP: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})})
}

// newSignerElsewhere is newSigner in which signs-key keeps its keys in the house.
func newSignerElsewhere(t testing.TB, engine db.Engine) (*signer, *keyHouse) {
	t.Helper()
	k := newKeyHouse(t)
	s := &signer{secrets: &fakeSecrets{}}
	s.world = newWorld(t, engine, func(w *world, o *oauth.Options) { o.KeySets, o.Secrets = keySets(o.Clock), s.secrets })
	s.addClient("signs-key", "sales-orders", "its-old-secret")
	s.changeClient("signs-key", func(c *oauth.Client) {
		c.Metadata.AuthMethod, c.Metadata.JWKSURI = registry.AuthPrivateKeyJWT, k.url
	})
	k.shows(jwkOf(t, signingPair(), "k1"))
	return s, k
}

// A client that keeps its keys elsewhere proves itself by them, on each node, and changes them without a word to us.
func TestPrivateKeysElsewhere(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			s, k := newSignerElsewhere(t, engine)
			other := s.another(func(o *oauth.Options) { o.KeySets = keySets(s.clock) })
			next := party{t, anotherPair(), jose.ES256, "k2"}
			works := func(what string, node *signer, p party, asked int) {
				t.Helper()
				if r := node.try(p.sign(s.claims("signs-key"), nil)); r.status != 200 || k.count() != asked {
					t.Errorf("%s: %d %s after %d calls, want %d", what, r.status, r.body, k.count(), asked)
				}
			}
			if k.count() != 0 {
				t.Error("fetched before anybody needs it")
			}
			works("the first", s, s.pair(), 1)
			works("from memory", s, s.pair(), 1)
			works("the other node", other, s.pair(), 2)
			k.shows(jwkOf(t, signingPair(), "k1"), jwkOf(t, anotherPair(), "k2"))
			s.clock.Advance(keyset.Pause)
			works("a new key", s, next, 3)
			works("at the other node", other, next, 4)
			works("the old key beside it", s, s.pair(), 4)
			k.shows(jwkOf(t, anotherPair(), "k2"))
			s.clock.Advance(keyset.Fresh)
			s.expect(s.try(s.pair().sign(s.claims("signs-key"), nil)), 401, "invalid_client")
			works("the old key is gone", s, next, 5)
			// Under the same kid, and under none.
			s.clock.Advance(keyset.Pause)
			k.shows(jwkOf(t, signingPair(), "k2"))
			works("another key of the same name", s, party{t, signingPair(), jose.ES256, "k2"}, 6)
			s.clock.Advance(keyset.Pause)
			k.shows(jwkOf(t, anotherPair(), ""))
			works("a key without a name", s, party{t, anotherPair(), jose.ES256, ""}, 7)
			// Replay is refused like that of other assertions.
			once := party{t, anotherPair(), jose.ES256, ""}.sign(s.claims("signs-key"), nil)
			if r := s.try(once); r.status != 200 {
				t.Errorf("%d %s", r.status, r.body)
			}
			s.expect(s.try(once), 401, "invalid_client")
			// What cannot be fetched is not refused as wrong, and the last good copy counts for an hour.
			k.shows()
			s.clock.Advance(keyset.Fresh)
			works("the house is closed", s, party{t, anotherPair(), jose.ES256, ""}, 8)
			s.clock.Advance(keyset.Kept)
			s.expect(s.try(party{t, anotherPair(), jose.ES256, ""}.sign(s.claims("signs-key"), nil)), 503, "temporarily_unavailable")
			// And a disabled client has nothing fetched.
			s.changeClient("signs-key", func(c *oauth.Client) { c.Enabled = false })
			s.clock.Advance(keyset.Kept)
			asked := k.count()
			s.expect(s.try(party{t, anotherPair(), jose.ES256, ""}.sign(s.claims("signs-key"), nil)), 401, "invalid_client")
			if k.count() != asked {
				t.Error("keys were fetched for a disabled client")
			}
		})
	}
}

// B6.106: however many kids somebody makes up, in however many names, the client's address is called once each half
// minute, and nothing grows.
func TestB6_106_RandomKidsOfAClient(t *testing.T) {
	s, k := newSignerElsewhere(t, dbtest.Engines(t)[0])
	if r := s.try(s.pair().sign(s.claims("signs-key"), nil)); r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	s.clock.Advance(keyset.Pause)
	for i := range 2000 {
		evil := party{t, anotherPair(), jose.ES256, fmt.Sprintf("made-up-%d", i)}
		// From many addresses, or the limit of wrong secrets would stop it.
		r := s.try(evil.sign(s.claims("signs-key"), nil), from(fmt.Sprintf("10.%d.%d.7:1", i/250, i%250)))
		s.expect(r, 401, "invalid_client")
	}
	if n := k.count(); n != 2 {
		t.Errorf("%d calls, want the first and one more", n)
	}
	if r := s.try(s.pair().sign(s.claims("signs-key"), nil)); r.status != 200 || k.count() != 2 {
		t.Errorf("the client itself: %d %s", r.status, r.body)
	}
}

// Signed requests are checked by keys that lie elsewhere.
func TestRequestsSignedByKeysElsewhere(t *testing.T) {
	k := newKeyHouse(t)
	w := newFolk(t, dbtest.Engines(t)[0], func(o *oauth.Options) { o.KeySets = keySets(o.Clock) })
	k.shows(jwkOf(t, signingPair(), "k1"))
	w.say(w.shop, func(c *oauth.Client) { c.Metadata.JWKSURI = k.url })
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	object := w.object(w.shop, asks(w.shop))
	if r := b.get(signedAt(w.shop, object)); !strings.Contains(r.header.Get("Location"), "code=") || k.count() != 1 {
		t.Errorf("%d to %s after %d calls", r.status, r.header.Get("Location"), k.count())
	}
	k.shows(jwkOf(t, anotherPair(), "k2"))
	w.clock.Advance(keyset.Fresh)
	w.refusedHere(b.get(signedAt(w.shop, w.object(w.shop, asks(w.shop)))), 400)
	k.shows()
	w.clock.Advance(keyset.Kept)
	w.refusedHere(b.get(signedAt(w.shop, w.object(w.shop, asks(w.shop)))), 503)
}

// ID tokens and userinfo are encrypted for a key that lies elsewhere. If it cannot be had, the code is not used up.
func TestEncryptedForAKeyElsewhere(t *testing.T) {
	k := newKeyHouse(t)
	w := newFolk(t, dbtest.Engines(t)[0], func(o *oauth.Options) { o.KeySets = keySets(o.Clock) })
	w.say(w.shop, func(c *oauth.Client) {
		c.Metadata.JWKSURI = k.url
		c.Metadata.IDTokenKeyAlg, c.Metadata.IDTokenEnc = "ECDH-ES", "A128GCM"
		c.Metadata.UserinfoKeyAlg, c.Metadata.UserinfoEnc = "ECDH-ES", "A128GCM"
	})
	for name, c := range map[string]struct {
		shown  []string
		status int
		code   string
	}{
		"the house is closed":   {nil, 503, "temporarily_unavailable"},
		"a key for signatures":  {[]string{jwkFor(t, signingPair(), "sig")}, 400, "invalid_request"},
		"a key of another kind": {[]string{jwkOf(t, rsaPair(), "r")}, 400, "invalid_request"},
	} {
		w.clock.Advance(keyset.Kept)
		code := w.browser().login(w.alice).allow(asks(w.shop))
		k.shows(c.shown...)
		w.expect(w.exchange(w.shop, code), c.status, c.code)
		k.shows(jwkFor(t, signingPair(), "enc"))
		w.clock.Advance(keyset.Pause) // a code lives for a minute
		if r := w.exchange(w.shop, code); r.status != 200 {
			t.Errorf("%s: the code is used up: %d %s", name, r.status, r.body)
		}
	}
	k.shows(jwkFor(t, signingPair(), "enc"))
	answer := w.signIn(w.shop)
	inner, _ := opened(t, answer.text("id_token"), "ECDH-ES", "A128GCM", signingPair())
	if claims := payloadOf(t, inner); claims["sub"] != w.alice.ID {
		t.Errorf("%v", claims)
	}
	about := w.send("GET", "/oauth2/userinfo", "", bearer(answer.text("access_token")))
	if inner, _ := opened(t, about.body, "ECDH-ES", "A128GCM", signingPair()); !strings.Contains(inner, w.alice.ID) {
		t.Errorf("%s", inner)
	}
}

// jwkFor is a key for one use.
func jwkFor(t testing.TB, key *ecdsa.PrivateKey, use string) string {
	t.Helper()
	return string(must(json.Marshal(jose.JSONWebKey{Key: crypto.PublicKey(key.Public()), KeyID: use, Use: use})))
}
