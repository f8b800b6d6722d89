// Package federationtest is an OpenID provider for tests that can misbehave in every way that a provider of others might.
// It opens no port: it answers in place of package outbound.
package federationtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/outbound"
)

// Provider is one provider. Its fields may be set between calls.
type Provider struct {
	Issuer, ClientID, Secret string
	Clock                    clock.Clock

	Metadata  map[string]any                     // beside and in place of what is right
	Claims    map[string]any                     // beside and in place of what is right; nil takes a claim away
	Header    map[string]any                     // of tokens, likewise
	Key       *ecdsa.PrivateKey                  // that signs
	Published *ecdsa.PrivateKey                  // in the key set
	Kid       string                             // of both
	Userinfo  map[string]any                     // nil: there is no such endpoint
	Forge     func(header, claims []byte) string // makes the token; nil: as is right
	Down      error                              // of every call
	Hidden    bool                               // the key set is
	Calls     map[string]int                     // by path
	Stuck     chan struct{}                      // while it is open, no call is answered; nil: all are

	mu    sync.Mutex
	codes map[string]url.Values // what was asked for
}

// New makes a provider that does all right.
func New(issuer string, c clock.Clock) *Provider {
	key := NewKey()
	return &Provider{Issuer: issuer, ClientID: "mintmark", Secret: "secret of a client", Clock: c, Key: key, Published: key, Kid: "one", Calls: map[string]int{}, codes: map[string]url.Values{}}
}

// NewKey makes a key of P-256.
func NewKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // never fails since Go 1.24
	}
	return key
}

// Encode is base64url without padding.
func Encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// CheckURL takes all https addresses.
func (p *Provider) CheckURL(raw string) error {
	if u, err := url.Parse(raw); err != nil || u.Scheme != "https" || u.Host == "" {
		return outbound.ErrURL
	}
	return nil
}

// Do answers a call of this provider's.
func (p *Provider) Do(_ context.Context, r outbound.Request) (outbound.Answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	path, ok := strings.CutPrefix(r.URL, p.Issuer)
	if !ok {
		return outbound.Answer{}, outbound.ErrAddress
	}
	p.Calls[path]++
	if p.Stuck != nil {
		<-p.Stuck
	}
	if p.Down != nil {
		return outbound.Answer{}, p.Down
	}
	switch path {
	case "/.well-known/openid-configuration":
		m := map[string]any{
			"issuer": p.Issuer, "authorization_endpoint": p.Issuer + "/authorize", "token_endpoint": p.Issuer + "/token", "jwks_uri": p.Issuer + "/jwks",
			"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
		}
		if p.Userinfo != nil {
			m["userinfo_endpoint"] = p.Issuer + "/userinfo"
		}
		m["end_session_endpoint"] = p.Issuer + "/bye"
		maps.Copy(m, p.Metadata)
		return document(http.StatusOK, m)
	case "/jwks":
		if p.Hidden {
			return document(http.StatusServiceUnavailable, nil)
		}
		return p.jwks()
	case "/token":
		return p.token(r)
	case "/userinfo":
		if r.Authorization.Reveal() != "Bearer access" {
			return document(http.StatusUnauthorized, nil)
		}
		return document(http.StatusOK, p.Userinfo)
	}
	return document(http.StatusNotFound, nil)
}

func document(status int, v any) (outbound.Answer, error) {
	text, err := json.Marshal(v)
	return outbound.Answer{Status: status, ContentType: "application/json", Body: text}, err
}

func (p *Provider) jwks() (outbound.Answer, error) {
	point, err := p.Published.PublicKey.Bytes()
	if err != nil {
		return outbound.Answer{}, err
	}
	return document(http.StatusOK, map[string]any{"keys": []any{
		map[string]any{"kty": "EC", "crv": "P-256", "kid": p.Kid, "use": "sig", "alg": "ES256", "x": Encode(point[1:33]), "y": Encode(point[33:])},
		map[string]any{"kty": "RSA", "kid": "of a kind that nobody here reads", "e": "AQAB", "n": "AQAB"},
	}})
}

// Authorize is what the provider does with a browser that is sent there: it answers the query of the callback.
func (p *Provider) Authorize(location string) (url.Values, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := u.Query()
	if asked.Get("client_id") != p.ClientID || asked.Get("response_type") != "code" || asked.Get("code_challenge_method") != "S256" || asked.Get("state") == "" || asked.Get("nonce") == "" {
		return nil, errors.New("the request is not one of a careful client: " + location)
	}
	code := rand.Text()
	p.codes[code] = asked
	return url.Values{"code": {code}, "state": {asked.Get("state")}, "iss": {p.Issuer}}, nil
}

func (p *Provider) token(r outbound.Request) (outbound.Answer, error) {
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return outbound.Answer{}, err
	}
	asked, ok := p.codes[form.Get("code")]
	delete(p.codes, form.Get("code"))
	challenge := sha256.Sum256([]byte(form.Get("code_verifier")))
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(p.ClientID)+":"+url.QueryEscape(p.Secret)))
	post := form.Get("client_id") == p.ClientID && (form.Get("client_secret") == p.Secret || form.Get("client_assertion") != "")
	switch {
	case r.Authorization.Reveal() != basic && !post:
		return document(http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
	case !ok || asked.Get("redirect_uri") != form.Get("redirect_uri") || Encode(challenge[:]) != asked.Get("code_challenge"):
		return document(http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
	}
	token, err := p.IDToken(map[string]any{"nonce": asked.Get("nonce")})
	if err != nil {
		return outbound.Answer{}, err
	}
	return document(http.StatusOK, map[string]string{"access_token": "access", "token_type": "Bearer", "id_token": token})
}

// IDToken makes a token with these claims beside its usual ones.
func (p *Provider) IDToken(more map[string]any) (string, error) {
	now := p.Clock.Now()
	half := sha256.Sum256([]byte("access"))
	claims := map[string]any{
		"iss": p.Issuer, "aud": p.ClientID, "sub": "248289761001", "iat": now.Unix(), "exp": now.Unix() + 300, "auth_time": now.Unix(), "at_hash": Encode(half[:16]),
		"preferred_username": "jane", "name": "Jane Doe", "email": "jane@example.org", "email_verified": true,
	}
	for _, m := range []map[string]any{more, p.Claims} {
		for name, value := range m {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
	}
	header := map[string]any{"alg": "ES256", "kid": p.Kid}
	maps.Copy(header, p.Header)
	return p.sign(header, claims)
}

func (p *Provider) sign(header, claims map[string]any) (string, error) {
	head, err1 := json.Marshal(header)
	body, err2 := json.Marshal(claims)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	if p.Forge != nil {
		return p.Forge(head, body), nil
	}
	input := Encode(head) + "." + Encode(body)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, p.Key, sum[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return input + "." + Encode(signature), nil
}

// Several answers for several providers, each for its own addresses.
type Several []*Provider

// CheckURL takes all https addresses.
func (list Several) CheckURL(raw string) error { return (&Provider{}).CheckURL(raw) }

// Do has the provider answer whose address it is.
func (list Several) Do(ctx context.Context, r outbound.Request) (outbound.Answer, error) {
	for _, p := range list {
		if strings.HasPrefix(r.URL, p.Issuer+"/") {
			return p.Do(ctx, r)
		}
	}
	return outbound.Answer{}, outbound.ErrAddress
}
