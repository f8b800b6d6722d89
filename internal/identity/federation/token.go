package federation

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/outbound"
	"github.com/mintmark/mintmark/internal/redact"
)

// The bounds of an ID token.
const (
	longestIDToken = 25 * time.Hour   // from now to exp
	oldestIDToken  = 10 * time.Minute // since iat: it comes straight from the provider
	skew           = time.Minute      // by which its clock may be apart from ours
	assertionLife  = time.Minute
	maxSubject     = 255 // OpenID Connect Core 1.0, section 2
)

// tokens is what the provider gave for the code.
type tokens struct {
	access  redact.Secret
	idToken redact.Secret
}

// exchange turns the code into tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
func (s *Service) exchange(ctx context.Context, p Provider, src *source, m metadata, code, verifier redact.Secret) (tokens, error) {
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code.Reveal()}, "redirect_uri": {s.RedirectURI(p.ID)}, "code_verifier": {verifier.Reveal()},
	}
	r := outbound.Request{Purpose: "provider_token", Method: http.MethodPost, URL: m.Token, ContentType: "application/x-www-form-urlencoded", Accept: "application/json"}
	if err := s.authenticate(ctx, p, m, form, &r); err != nil {
		return tokens{}, err
	}
	r.Body = []byte(form.Encode())
	a, err := src.call(ctx, r)
	if err != nil {
		return tokens{}, fmt.Errorf("exchange the code: %w", err)
	}
	if a.Status != http.StatusOK {
		var refused struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(a.Body, &refused) // what cannot be read says nothing
		return tokens{}, upstream("exchange the code: status %d, error %q", a.Status, word(refused.Error))
	}
	var given struct {
		AccessToken string `json:"access_token"`
		IDToken     string `json:"id_token"`
	}
	if err := json.Unmarshal(a.Body, &given); err != nil || given.IDToken == "" {
		return tokens{}, upstream("exchange the code: there is no ID token in the answer") // the cause could quote a token
	}
	return tokens{redact.New(given.AccessToken), redact.New(given.IDToken)}, nil
}

// word keeps what others call their errors short and harmless.
func word(text string) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), 60)]
}

// authenticate tells the provider who we are.
func (s *Service) authenticate(ctx context.Context, p Provider, m metadata, form url.Values, r *outbound.Request) error {
	switch p.ClientAuth {
	case authBasic, authPost:
		secret, err := s.secret(p)
		if err != nil {
			return err
		}
		if p.ClientAuth == authPost {
			form.Set("client_id", p.ClientID)
			form.Set("client_secret", secret.Reveal())
			return nil
		}
		// Both halves are form-encoded first (RFC 6749 section 2.3.1).
		both := url.QueryEscape(p.ClientID) + ":" + url.QueryEscape(secret.Reveal())
		r.Authorization = redact.New("Basic " + base64.StdEncoding.EncodeToString([]byte(both)))
	case authKey:
		assertion, err := s.assertion(ctx, p, m)
		if err != nil {
			return err
		}
		form.Set("client_id", p.ClientID)
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion.Reveal())
	default:
		form.Set("client_id", p.ClientID)
	}
	return nil
}

// signerFor picks a key that the provider takes.
func (s *Service) signerFor(ctx context.Context, m metadata) (keys.Signer, error) {
	if len(m.AuthAlgs) == 0 {
		return s.o.Signers.Signer(ctx)
	}
	for _, alg := range s.o.Signers.Algs() {
		if slices.Contains(m.AuthAlgs, string(alg)) {
			return s.o.Signers.SignerFor(ctx, alg)
		}
	}
	return keys.Signer{}, upstream("it takes none of our algorithms")
}

// assertion proves who we are by a signature (RFC 7523 section 2.2). Its audience is the issuer alone: no other provider,
// whatever it publishes as its token endpoint, can use it there.
func (s *Service) assertion(ctx context.Context, p Provider, m metadata) (redact.Secret, error) {
	signer, err := s.signerFor(ctx, m)
	if err != nil {
		return redact.Secret{}, err
	}
	now := s.o.Clock.Now()
	header, err1 := json.Marshal(map[string]string{"alg": string(signer.Alg), "kid": signer.Kid, "typ": "JWT"})
	names, err2 := json.Marshal(map[string]string{"iss": p.ClientID, "sub": p.ClientID, "aud": p.Issuer, "jti": rand.Text()})
	if err := errors.Join(err1, err2); err != nil {
		return redact.Secret{}, fmt.Errorf("write an assertion: %w", err)
	}
	claims := strings.TrimSuffix(string(names), "}") + `,"iat":` + strconv.FormatInt(now.Unix(), 10) + `,"exp":` + strconv.FormatInt(now.Add(assertionLife).Unix(), 10) + "}"
	input := encode(header) + "." + encode([]byte(claims))
	signature, err := signer.Sign([]byte(input))
	if err != nil {
		return redact.Secret{}, fmt.Errorf("sign an assertion: %w", err)
	}
	return redact.New(input + "." + encode(signature)), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// validate believes an ID token after all that OpenID Connect Core 1.0 section 3.1.3.7 asks for.
func (s *Service) validate(ctx context.Context, p Provider, src *source, t tokens, nonce string) (jose.Claims, error) {
	token, err := jose.Parse(t.idToken.Reveal())
	if err != nil {
		return jose.Claims{}, upstream("read the ID token: %w", err)
	}
	if !token.Is("", "JWT") {
		return jose.Claims{}, upstream("what came as ID token is another kind of token")
	}
	c, err := src.verify(ctx, token)
	if errors.Is(err, jose.ErrToken) {
		return jose.Claims{}, upstream("check the ID token: %w", err)
	}
	if err != nil {
		return jose.Claims{}, err
	}
	if err := s.checkClaims(p, c); err != nil {
		return jose.Claims{}, err
	}
	if got, ok := c.Text("nonce"); !ok || subtle.ConstantTimeCompare([]byte(got), []byte(nonce)) != 1 {
		return jose.Claims{}, upstream("the ID token is that of another login: its nonce differs")
	}
	if c.Has("at_hash") {
		if got, ok := c.Text("at_hash"); !ok || got != leftHalf(token.Alg, t.access.Bytes()) {
			return jose.Claims{}, upstream("the ID token belongs to another access token")
		}
	}
	return c, nil
}

// checkClaims is what all tokens of a provider must say.
func (s *Service) checkClaims(p Provider, c jose.Claims) error {
	if c.Issuer != p.Issuer {
		return upstream("the token is of another issuer")
	}
	// Exactly one audience: we trust none besides ourselves.
	if err := c.MeantFor(p.ClientID); err != nil {
		return upstream("%w", err)
	}
	if azp, ok := c.Text("azp"); c.Has("azp") && (!ok || azp != p.ClientID) {
		return upstream("the token was issued to another client")
	}
	if err := c.Current(s.o.Clock.Now(), longestIDToken); err != nil {
		return upstream("%w", err)
	}
	if c.IssuedAt.IsZero() || s.since(c.IssuedAt) > oldestIDToken {
		return upstream("the token was not issued just now")
	}
	return nil
}

// leftHalf is at_hash (section 3.1.3.6): the left half of the hash that belongs to the algorithm.
func leftHalf(alg jose.Alg, token []byte) string {
	switch alg {
	case jose.ES384:
		sum := sha512.Sum384(token)
		return encode(sum[:24])
	case jose.EdDSA: // Ed25519 hashes with SHA-512
		sum := sha512.Sum512(token)
		return encode(sum[:32])
	}
	sum := sha256.Sum256(token)
	return encode(sum[:16])
}

// userinfo asks for more claims (section 5.3). They are of the person of the ID token, or not taken.
func (s *Service) userinfo(ctx context.Context, src *source, m metadata, t tokens, subject string) (map[string]json.RawMessage, error) {
	if m.Userinfo == "" || t.access.Empty() {
		return nil, upstream("it has no userinfo endpoint, or gave no access token")
	}
	a, err := src.call(ctx, outbound.Request{Purpose: "provider_userinfo", Method: http.MethodGet, URL: m.Userinfo, Accept: "application/json", Authorization: redact.New("Bearer " + t.access.Reveal())})
	if err != nil {
		return nil, fmt.Errorf("ask for claims: %w", err)
	}
	var claims map[string]json.RawMessage
	if a.Status != http.StatusOK || json.Unmarshal(a.Body, &claims) != nil {
		return nil, upstream("ask for claims: status %d, or no JSON object", a.Status)
	}
	var sub string
	if json.Unmarshal(claims["sub"], &sub) != nil || sub != subject {
		return nil, upstream("the claims are those of somebody else")
	}
	return claims, nil
}
