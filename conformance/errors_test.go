package conformance_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

var (
	formHeader = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	// What a description may hold (RFC 6749 section 5.2).
	describes = regexp.MustCompile(`^[\x20-\x21\x23-\x5B\x5D-\x7E]+$`)
)

// refusal is a request and the error that it must get.
type refusal struct {
	send   func(t *testing.T) answer
	status int
	code   string
}

// try sends them, and checks the form of RFC 6749 section 5.2.
func try(t *testing.T, cases map[string]refusal) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			a := c.send(t)
			a.refused(t, name, c.status, c.code)
			var members map[string]any
			if err := json.Unmarshal(a.body, &members); err != nil {
				t.Fatalf("no JSON object: %s", a.body)
			}
			for member := range members {
				if member != "error" && member != "error_description" && member != "error_uri" {
					t.Errorf("the refusal says %s: %s", member, a.body)
				}
			}
			if d := a.text("error_description"); d != "" && !describes.MatchString(d) {
				t.Errorf("the description holds what it may not: %q", d)
			}
			if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
				t.Errorf("Content-Type is %q", kind)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" {
				t.Errorf("Cache-Control %q, Pragma %q", a.header.Get("Cache-Control"), a.header.Get("Pragma"))
			}
		})
	}
}

// by sends a form to an endpoint of the second node as the client; raw sends it as it is.
func (p *party) by(path string, form url.Values) func(t *testing.T) answer {
	return func(t *testing.T) answer { t.Helper(); return p.post(t, shared.second.url, path, form) }
}

func raw(method, path string, h http.Header, body string) func(t *testing.T) answer {
	return func(t *testing.T) answer { t.Helper(); return send(t, method, shared.second.url+path, h.Clone(), body) }
}

// broken are requests that each endpoint at which clients authenticate refuses in the same way.
func broken(t *testing.T, path string, p *party, form url.Values) map[string]refusal {
	t.Helper()
	wrong := *p
	wrong.Secret += "x"
	nobody := *p
	nobody.ClientID = "cli_nobody"
	inForm := func(more url.Values) string {
		all := url.Values{}
		for name, values := range form {
			all[name] = values
		}
		for name, values := range more {
			all[name] = values
		}
		return all.Encode()
	}
	basic := func(id, secret string) http.Header {
		r := http.Request{Header: formHeader.Clone()}
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		return r.Header
	}
	json := basic(p.ClientID, p.Secret)
	json.Set("Content-Type", "application/json")
	const no = http.StatusUnauthorized
	return map[string]refusal{
		"a wrong secret":             {raw(http.MethodPost, path, basic(wrong.ClientID, wrong.Secret), inForm(nil)), no, "invalid_client"},
		"an unknown client":          {raw(http.MethodPost, path, basic(nobody.ClientID, nobody.Secret), inForm(nil)), no, "invalid_client"},
		"no authentication":          {raw(http.MethodPost, path, formHeader, inForm(nil)), no, "invalid_client"},
		"a name alone":               {raw(http.MethodPost, path, formHeader, inForm(url.Values{"client_id": {p.ClientID}})), no, "invalid_client"},
		"a wrong secret in the form": {raw(http.MethodPost, path, formHeader, inForm(url.Values{"client_id": {p.ClientID}, "client_secret": {"x"}})), no, "invalid_client"},
		"malformed Basic":            {raw(http.MethodPost, path, http.Header{"Content-Type": formHeader["Content-Type"], "Authorization": {"Basic !"}}, inForm(nil)), no, "invalid_client"},
		"two ways at once":           {raw(http.MethodPost, path, basic(p.ClientID, p.Secret), inForm(url.Values{"client_id": {p.ClientID}, "client_secret": {p.Secret}})), http.StatusBadRequest, "invalid_request"},
		"another name in the form":   {raw(http.MethodPost, path, basic(p.ClientID, p.Secret), inForm(url.Values{"client_id": {"cli_other"}})), http.StatusBadRequest, "invalid_request"},
		"a parameter twice":          {raw(http.MethodPost, path, basic(p.ClientID, p.Secret), inForm(nil)+"&"+inForm(nil)), http.StatusBadRequest, "invalid_request"},
		"JSON":                       {raw(http.MethodPost, path, json, "{}"), http.StatusUnsupportedMediaType, "invalid_request"},
	}
}

// Refusals of the token endpoint: RFC 6749 section 5.2, RFC 7636 section 4.6, RFC 8628 section 3.5, RFC 8707 section 2.
func TestErrorsOfTheTokenEndpoint(t *testing.T) {
	const path, bad = "/oauth2/token", http.StatusBadRequest
	p := newParty(t, func(in *api.PostClient) {
		refreshing(in)
		in.GrantTypes = []string{"authorization_code", "client_credentials", deviceGrant}
		in.PKCEOptional = false
	})
	b := newPersonsBrowser(t)
	few := newParty(t, func(in *api.PostClient) { in.GrantTypes = []string{"authorization_code"} })
	open := newParty(t, func(in *api.PostClient) { public(in); in.GrantTypes = []string{"authorization_code"} })
	of := func(form url.Values, name, value string) url.Values {
		form.Set(name, value)
		return form
	}
	try(t, broken(t, path, p, url.Values{"grant_type": {"client_credentials"}}))
	begun := p.post(t, shared.issuer, "/oauth2/device_authorization", url.Values{"scope": {"openid"}}).text("device_code")
	poll := func(code string) url.Values { return url.Values{"grant_type": {deviceGrant}, "device_code": {code}} }
	try(t, map[string]refusal{
		"no grant_type":                  {p.by(path, url.Values{}), bad, "invalid_request"},
		"an unknown grant":               {p.by(path, url.Values{"grant_type": {"wish"}}), bad, "unsupported_grant_type"},
		"a grant that is not allowed":    {few.by(path, url.Values{"grant_type": {"client_credentials"}}), bad, "unauthorized_client"},
		"a public client for itself":     {open.by(path, url.Values{"grant_type": {"client_credentials"}}), bad, "unauthorized_client"},
		"a device grant not allowed":     {few.by(path, poll(begun)), bad, "unauthorized_client"},
		"a scope beyond":                 {p.by(path, url.Values{"grant_type": {"client_credentials"}, "scope": {"sales_order.read_all"}}), bad, "invalid_scope"},
		"a scope that is none":           {p.by(path, url.Values{"grant_type": {"client_credentials"}, "scope": {`a"b`}}), bad, "invalid_scope"},
		"a resource that is not its own": {p.by(path, url.Values{"grant_type": {"client_credentials"}, "resource": {"https://evil.test"}}), bad, "invalid_target"},
		"no code":                        {p.by(path, url.Values{"grant_type": {"authorization_code"}}), bad, "invalid_request"},
		"an unknown code":                {p.by(path, p.codeForm("mma_nothing")), bad, "invalid_grant"},
		"another redirect_uri":           {p.by(path, of(p.codeForm(b.code(t, p.ask())), "redirect_uri", callback+"/x")), bad, "invalid_grant"},
		"another verifier":               {p.by(path, of(p.codeForm(b.code(t, p.ask())), "code_verifier", strings.Repeat("x", 43))), bad, "invalid_grant"},
		"a resource beyond the grant":    {p.by(path, of(p.codeForm(b.code(t, p.ask())), "resource", "https://evil.test")), bad, "invalid_target"},
		"no refresh token":               {p.by(path, url.Values{"grant_type": {"refresh_token"}}), bad, "invalid_request"},
		"an unknown refresh token":       {p.by(path, refreshForm("mmr_nothing")), bad, "invalid_grant"},
		"a refresh for more":             {p.by(path, of(refreshForm(p.redeem(t, b.code(t, p.ask())).RefreshToken), "scope", "openid email")), bad, "invalid_scope"},
		"no device_code":                 {p.by(path, url.Values{"grant_type": {deviceGrant}}), bad, "invalid_request"},
		"an unknown device code":         {p.by(path, poll("mmd_nothing")), bad, "invalid_grant"},
		"an assertion that is none":      {p.by(path, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"x.y.z"}}), bad, "invalid_grant"},
		"GET":                            {raw(http.MethodGet, path, nil, ""), http.StatusMethodNotAllowed, "not_allowed"},
	})
	// The order matters: at once, too soon, and after the person has said no.
	try(t, map[string]refusal{"not decided yet": {p.by(path, poll(begun)), bad, "authorization_pending"}})
	try(t, map[string]refusal{"too soon": {p.by(path, poll(begun)), bad, "slow_down"}})
	var second struct {
		Device string `json:"device_code"`
		User   string `json:"user_code"`
	}
	a := p.post(t, shared.issuer, "/oauth2/device_authorization", url.Values{"scope": {"openid"}})
	if err := json.Unmarshal(a.body, &second); err != nil || a.status != http.StatusOK || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	page := b.submit(t, b.walk(t, shared.issuer+"/device"), url.Values{"user_code": {second.User}})
	b.submit(t, page, url.Values{"decision": {"deny"}})
	try(t, map[string]refusal{"the person said no": {p.by(path, poll(second.Device)), bad, "access_denied"}})
}

// Refusals of the endpoints around it: RFC 7009 section 2.2.1, RFC 7662 section 2.3, RFC 8628 section 3.1, RFC 9126
// section 2.3.
func TestErrorsOfEndpointsForClients(t *testing.T) {
	const bad = http.StatusBadRequest
	p := newParty(t, func(in *api.PostClient) { in.GrantTypes = append(in.GrantTypes, deviceGrant); in.PKCEOptional = false })
	few := newParty(t, nil)
	pushed := func(changes ...change) url.Values {
		u := must[*url.URL](t, "request")(url.Parse(p.ask(changes...)))
		form := u.Query()
		form.Del("client_id")
		return form
	}
	for path, form := range map[string]url.Values{
		"/oauth2/revoke": {"token": {"x"}}, "/oauth2/introspect": {"token": {"x"}}, "/oauth2/device_authorization": {"scope": {"openid"}}, "/oauth2/par": pushed(),
	} {
		t.Run(path, func(t *testing.T) {
			try(t, broken(t, path, p, form))
			try(t, map[string]refusal{"GET": {raw(http.MethodGet, path, nil, ""), http.StatusMethodNotAllowed, "not_allowed"}})
			if allow := raw(http.MethodGet, path, nil, "")(t).header.Get("Allow"); allow != "POST" {
				t.Errorf("Allow is %q", allow)
			}
		})
	}
	try(t, map[string]refusal{
		"revoke: no token":          {p.by("/oauth2/revoke", url.Values{}), bad, "invalid_request"},
		"introspect: no token":      {p.by("/oauth2/introspect", url.Values{}), bad, "invalid_request"},
		"device: not allowed":       {few.by("/oauth2/device_authorization", url.Values{"scope": {"openid"}}), bad, "unauthorized_client"},
		"device: a scope beyond":    {p.by("/oauth2/device_authorization", url.Values{"scope": {"sales_order.read_all"}}), bad, "invalid_scope"},
		"PAR: request_uri":          {p.by("/oauth2/par", pushed(change{"request_uri": "urn:x"})), bad, "invalid_request"},
		"PAR: redirect_uri":         {p.by("/oauth2/par", pushed(change{"redirect_uri": "https://evil.test/"})), bad, "invalid_request"},
		"PAR: no redirect_uri":      {p.by("/oauth2/par", pushed(change{"redirect_uri": ""})), bad, "invalid_request"},
		"PAR: response type":        {p.by("/oauth2/par", pushed(change{"response_type": "token"})), bad, "unsupported_response_type"},
		"PAR: a scope beyond":       {p.by("/oauth2/par", pushed(change{"scope": "openid sales_order.read_all"})), bad, "invalid_scope"},
		"PAR: without PKCE":         {p.by("/oauth2/par", pushed(change{"code_challenge": "", "code_challenge_method": ""})), bad, "invalid_request"},
		"PAR: a resource":           {p.by("/oauth2/par", pushed(change{"resource": "https://evil.test"})), bad, "invalid_target"},
		"PAR: request that is none": {p.by("/oauth2/par", pushed(change{"request": "x.y.z"})), bad, "invalid_request_object"},
	})
	a := p.post(t, shared.issuer, "/oauth2/par", pushed())
	if a.status != http.StatusCreated || !strings.HasPrefix(a.text("request_uri"), "urn:ietf:params:oauth:request_uri:") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a good one: %d %v %s", a.status, a.header, a.body)
	}
	// A hint that nobody knows changes nothing (RFC 7009 section 2.1), and a token that is none is no error.
	for _, hint := range []string{"", "access_token", "refresh_token", "id_token"} {
		if a := p.post(t, shared.issuer, "/oauth2/revoke", url.Values{"token": {"x"}, "token_type_hint": {hint}}); a.status != http.StatusOK || len(a.body) != 0 {
			t.Errorf("revoke with hint %q: %d %s", hint, a.status, a.body)
		}
		if a := p.post(t, shared.issuer, "/oauth2/introspect", url.Values{"token": {"x"}, "token_type_hint": {hint}}); a.status != http.StatusOK || strings.TrimSpace(string(a.body)) != `{"active":false}` {
			t.Errorf("introspect with hint %q: %d %s", hint, a.status, a.body)
		}
	}
}

// Refusals at registration: RFC 7591 section 3.2.2, RFC 7592 section 2, RFC 6750 section 3.
func TestErrorsOfRegistration(t *testing.T) {
	const path, bad, no = "/oauth2/register", http.StatusBadRequest, http.StatusUnauthorized
	r := newRegistrar(t)
	_, said := r.register(t, map[string]any{"client_name": "Tool"})
	_, other := r.register(t, map[string]any{"client_name": "Tool"})
	with := func(token string) http.Header {
		h := bearer(token)
		h.Set("Content-Type", "application/json")
		return h
	}
	own := with(said["registration_access_token"].(string))
	uri := must[*url.URL](t, "uri")(url.Parse(said["registration_client_uri"].(string)))
	members := func(more string) string { return `{"redirect_uris":["` + callback + `"]` + more + `}` }
	try(t, map[string]refusal{
		"a wrong token":           {raw(http.MethodPost, path, with("nonsense"), members("")), no, "invalid_token"},
		"another scheme":          {raw(http.MethodPost, path, http.Header{"Authorization": {"Basic eDp5"}, "Content-Type": {"application/json"}}, members("")), no, "invalid_token"},
		"a bad redirect_uri":      {raw(http.MethodPost, path, with(r.token), `{"redirect_uris":["http://app.example.org/cb"]}`), bad, "invalid_redirect_uri"},
		"a redirect_uri no text":  {raw(http.MethodPost, path, with(r.token), `{"redirect_uris":[1]}`), bad, "invalid_redirect_uri"},
		"bad metadata":            {raw(http.MethodPost, path, with(r.token), members(`,"token_endpoint_auth_method":"none of these"`)), bad, "invalid_client_metadata"},
		"a software statement":    {raw(http.MethodPost, path, with(r.token), members(`,"software_statement":"x.y.z"`)), bad, "invalid_software_statement"},
		"no JSON":                 {raw(http.MethodPost, path, with(r.token), `redirect_uris=x`), bad, "invalid_client_metadata"},
		"a member twice":          {raw(http.MethodPost, path, with(r.token), members(`,"redirect_uris":["`+callback+`/2"]`)), bad, "invalid_client_metadata"},
		"GET":                     {raw(http.MethodGet, path, nil, ""), http.StatusMethodNotAllowed, "not_allowed"},
		"read with another token": {raw(http.MethodGet, uri.Path, with(other["registration_access_token"].(string)), ""), no, "invalid_token"},
		"read by the first token": {raw(http.MethodGet, uri.Path, with(r.token), ""), no, "invalid_token"},
		"one that is not there":   {raw(http.MethodGet, path+"/cli_nobody", own, ""), no, "invalid_token"},
		"another client_id":       {raw(http.MethodPut, uri.Path, own, members(`,"client_id":"cli_other"`)), bad, "invalid_client_metadata"},
		"no client_id":            {raw(http.MethodPut, uri.Path, own, members("")), bad, "invalid_client_metadata"},
		"what the server says":    {raw(http.MethodPut, uri.Path, own, members(`,"client_id":"`+said["client_id"].(string)+`","registration_access_token":"x"`)), bad, "invalid_client_metadata"},
		"a secret of one's own":   {raw(http.MethodPut, uri.Path, own, members(`,"client_id":"`+said["client_id"].(string)+`","client_secret":"x"`)), bad, "invalid_client_metadata"},
	})
	// Who shows nothing is told only how to (RFC 6750 section 3.1).
	for method, at := range map[string]string{http.MethodPost: path, http.MethodGet: uri.Path, http.MethodDelete: uri.Path} {
		a := raw(method, at, http.Header{"Content-Type": {"application/json"}}, members(""))(t)
		if challenge := a.header.Get("WWW-Authenticate"); a.status != no || challenge != "Bearer" {
			t.Errorf("%s without a token: %d, WWW-Authenticate %q", method, a.status, challenge)
		}
	}
	if a := raw(http.MethodDelete, uri.Path, own, "")(t); a.status != http.StatusNoContent || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("delete: %d %v", a.status, a.header)
	}
	try(t, map[string]refusal{"after it was deleted": {raw(http.MethodGet, uri.Path, own, ""), no, "invalid_token"}})
}

// Refusals of what an access token opens: RFC 6750 sections 2 and 3.1.
func TestErrorsOfBearerTokens(t *testing.T) {
	p, b := newParty(t, func(in *api.PostClient) { in.GrantTypes = append(in.GrantTypes, "client_credentials") }), newPersonsBrowser(t)
	openid := p.redeem(t, b.code(t, p.ask())).AccessToken
	plain := p.redeem(t, b.code(t, p.ask(change{"scope": "uid", "nonce": ""}))).AccessToken
	twice := bearer(openid)
	twice.Add("Authorization", "Bearer "+openid)
	both := bearer(openid)
	both.Set("Content-Type", "application/x-www-form-urlencoded")
	const at = "/oauth2/userinfo"
	for name, c := range map[string]struct {
		send      func(t *testing.T) answer
		status    int
		challenge string
	}{
		"nothing":               {raw(http.MethodGet, at, nil, ""), http.StatusUnauthorized, `Bearer`},
		"another scheme":        {raw(http.MethodGet, at, http.Header{"Authorization": {"Basic eDp5"}}, ""), http.StatusUnauthorized, `Bearer`},
		"nonsense":              {raw(http.MethodGet, at, bearer("nonsense"), ""), http.StatusUnauthorized, `Bearer error="invalid_token"`},
		"without scope openid":  {raw(http.MethodGet, at, bearer(plain), ""), http.StatusForbidden, `Bearer error="insufficient_scope"`},
		"two headers":           {raw(http.MethodGet, at, twice, ""), http.StatusBadRequest, ""},
		"header and form":       {raw(http.MethodPost, at, both, "access_token="+openid), http.StatusBadRequest, ""},
		"in the address":        {raw(http.MethodGet, at+"?access_token="+openid, nil, ""), http.StatusUnauthorized, `Bearer`},
		"the form of something": {raw(http.MethodPost, at, http.Header{"Content-Type": {"application/json"}}, `{"access_token":"`+openid+`"}`), http.StatusUnauthorized, `Bearer`},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.send(t)
			if a.status != c.status || a.header.Get("WWW-Authenticate") != c.challenge {
				t.Errorf("%d, WWW-Authenticate %q: %s", a.status, a.header.Get("WWW-Authenticate"), a.body)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.text("sub") != "" {
				t.Errorf("%v %s", a.header, a.body)
			}
			if c.status == http.StatusBadRequest && a.text("error") != "invalid_request" {
				t.Errorf("%s", a.body)
			}
		})
	}
	if a := raw(http.MethodPost, at, formHeader, "access_token="+openid)(t); a.status != http.StatusOK {
		t.Errorf("in the form alone: %d %s", a.status, a.body)
	}
}
