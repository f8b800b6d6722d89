package conformance_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/api"
)

const (
	callback = "https://app.example.org/cb"
	goodbye  = "https://app.example.org/out"
	password = "correct horse battery staple"
)

// must is for calls whose failure ends the test.
func must[T any](t *testing.T, what string) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

// eventually tries until f is content.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %s: %v", what, patience, err)
		}
		time.Sleep(25 * time.Millisecond)
	}
}

// answer is what an endpoint answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// text is a member of an answer that is a JSON object.
func (a answer) text(name string) string {
	var members map[string]any
	if json.Unmarshal(a.body, &members) != nil {
		return ""
	}
	s, _ := members[name].(string)
	return s
}

// refused checks that an endpoint of OAuth refused, with this status and this code.
func (a answer) refused(t *testing.T, what string, status int, code string) {
	t.Helper()
	if a.status != status || a.text("error") != code {
		t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, code)
	}
	if a.text("access_token") != "" {
		t.Errorf("%s: there is a token all the same", what)
	}
	if status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("%s: 401 without WWW-Authenticate", what)
	}
}

// send sends a request as it is, without following redirects.
func send(t *testing.T, method, address string, header http.Header, body string) answer {
	t.Helper()
	r := must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body)))
	if header != nil {
		r.Header = header
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	res := must[*http.Response](t, address)(http.DefaultTransport.RoundTrip(r))
	defer res.Body.Close()
	b := must[[]byte](t, "body")(io.ReadAll(res.Body))
	return answer{res.StatusCode, res.Header, b}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// manage sends a management request as the administrator, and reads the answer into out unless that is nil.
func manage(t *testing.T, method, path string, in, out any) {
	t.Helper()
	var body []byte
	if in != nil {
		body = must[[]byte](t, "encode")(json.Marshal(in))
	}
	h := bearer(shared.adminKey)
	h.Set("Content-Type", "application/json")
	a := send(t, method, shared.issuer+path, h, string(body))
	if a.status/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if out != nil {
		if err := json.NewDecoder(bytes.NewReader(a.body)).Decode(out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// party is a client that signs people in.
type party struct {
	api.Client
	verifier string
}

// newParty registers a client of its own for the test: confidential, and free to do without PKCE as the suite's clients
// are, unless change says otherwise.
func newParty(t *testing.T, change func(*api.PostClient)) *party {
	t.Helper()
	in := api.PostClient{Confidential: true}
	in.Name = "Party " + rand.Text()[:8]
	in.RedirectURIs, in.PostLogoutRedirectURIs = []string{callback}, []string{goodbye}
	in.GrantTypes = []string{"authorization_code"}
	in.PKCEOptional = true
	if change != nil {
		change(&in)
	}
	p := &party{verifier: oauth2.GenerateVerifier()}
	manage(t, http.MethodPost, "/api/clients", in, &p.Client)
	return p
}

// public makes a client public, which then has to use PKCE.
func public(in *api.PostClient) { in.Confidential, in.PKCEOptional = false, false }

// newPerson makes a person known.
func newPerson(t *testing.T) *api.User {
	t.Helper()
	name := "p" + strings.ToLower(rand.Text()[:12])
	return must[*api.User](t, "person")(shared.admin.CreateUser(t.Context(), api.CreateUser{
		Realm: "customers", Username: name, DisplayName: "Person " + name, Email: name + "@example.org", Phone: "+41 31 555 01 01",
		Address: "Main Street 1\n3000 Bern", Password: password,
	}))
}

// change is a parameter of a request that is not as usual; "" takes it out.
type change map[string]string

// ask is the address of an authorization request.
func (p *party) ask(changes ...change) string {
	q := url.Values{"client_id": {p.ClientID}, "redirect_uri": {p.RedirectURIs[0]}, "response_type": {"code"}, "scope": {"openid"}, "state": {"st-" + rand.Text()}, "nonce": {"no-" + rand.Text()}}
	if !p.PKCEOptional {
		q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(p.verifier))
		q.Set("code_challenge_method", "S256")
	}
	for _, c := range changes {
		for name, value := range c {
			if q.Set(name, value); value == "" {
				q.Del(name)
			}
		}
	}
	return shared.issuer + "/oauth2/authorize?" + q.Encode()
}

// tokens are an answer of the token endpoint.
type tokens struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	Scope        string `json:"scope"`
}

// post sends a form to an endpoint of a node as this client.
func (p *party) post(t *testing.T, node, endpoint string, form url.Values) answer {
	t.Helper()
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if p.Confidential {
		r := http.Request{Header: h}
		r.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(p.Secret))
	} else {
		form.Set("client_id", p.ClientID)
	}
	return send(t, http.MethodPost, node+endpoint, h, form.Encode())
}

func (p *party) codeForm(code string) url.Values {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {p.RedirectURIs[0]}}
	if !p.PKCEOptional {
		form.Set("code_verifier", p.verifier)
	}
	return form
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// redeem changes a code for tokens, which must work.
func (p *party) redeem(t *testing.T, code string) tokens {
	t.Helper()
	return granted(t, "code", p.post(t, shared.issuer, "/oauth2/token", p.codeForm(code)))
}

func granted(t *testing.T, what string, a answer) (tok tokens) {
	t.Helper()
	if err := json.Unmarshal(a.body, &tok); a.status != http.StatusOK || err != nil || tok.AccessToken == "" || !strings.EqualFold(tok.TokenType, "Bearer") || tok.ExpiresIn <= 0 {
		t.Fatalf("%s: no tokens: %d %s", what, a.status, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: Cache-Control is %q", what, a.header.Get("Cache-Control"))
	}
	return tok
}

// active asks a node whether a token is good.
func (p *party) active(t *testing.T, node, token string) bool {
	t.Helper()
	a := p.post(t, node, "/oauth2/introspect", url.Values{"token": {token}})
	var said struct {
		Active *bool `json:"active"`
	}
	if err := json.Unmarshal(a.body, &said); err != nil || a.status != http.StatusOK || said.Active == nil {
		t.Fatalf("introspection: %d %s", a.status, a.body)
	}
	return *said.Active
}

// dead waits until both nodes refuse a token. They must within a second or so; patience is for a slow machine.
func (p *party) dead(t *testing.T, token string) {
	t.Helper()
	for _, node := range nodes() {
		eventually(t, "the token is refused at "+node, func() error {
			if p.active(t, node, token) {
				return fmt.Errorf("it is active")
			}
			return nil
		})
	}
}

// userinfo asks who a token is for.
func userinfo(t *testing.T, token string) map[string]any {
	t.Helper()
	a := send(t, http.MethodGet, shared.issuer+"/oauth2/userinfo", bearer(token), "")
	return object(t, a)
}

func object(t *testing.T, a answer) map[string]any {
	t.Helper()
	var claims map[string]any
	if err := json.Unmarshal(a.body, &claims); err != nil || a.status != http.StatusOK {
		t.Fatalf("no object: %d %s", a.status, a.body)
	}
	return claims
}

// identity has go-oidc verify an ID token with what discovery says.
func (p *party) identity(t *testing.T, raw string) (*oidc.IDToken, map[string]any) {
	t.Helper()
	provider := must[*oidc.Provider](t, "discovery")(oidc.NewProvider(t.Context(), shared.issuer))
	token := must[*oidc.IDToken](t, "ID token")(provider.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(t.Context(), raw))
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	return token, claims
}

// metadata is what discovery says.
func metadata(t *testing.T) map[string]any {
	t.Helper()
	return object(t, send(t, http.MethodGet, shared.issuer+"/.well-known/openid-configuration", nil, ""))
}

// offered tells whether a list of the discovery document has a member.
func offered(t *testing.T, list, member string) bool {
	t.Helper()
	values, _ := metadata(t)[list].([]any)
	return slices.Contains(values, any(member))
}
