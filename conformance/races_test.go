package conformance_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
)

// Attacks on what both processes must agree on, by the numbers of docs/attacks.md.

// atOnce does the same on both nodes in turn, n times, all at the same moment.
func atOnce(n int, do func(node string) answer) []answer {
	answers := make([]answer, n)
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-begin
			answers[i] = do(nodes()[i%2])
		})
	}
	close(begin)
	all.Wait()
	return answers
}

func refreshing(in *api.PostClient) { in.RefreshTokens = "always" }

// An assertion is good once: at the node that took it, at the other, and at one that has started since.
func TestB2_49_AssertionReplayedElsewhere(t *testing.T) {
	p := newParty(t, func(in *api.PostClient) {
		in.AuthMethod, in.GrantTypes = "private_key_jwt", []string{"client_credentials"}
	})
	key := newKey(t, p)
	ask := func(node, assertion string) answer {
		form := url.Values{
			"grant_type": {"client_credentials"}, "client_assertion": {assertion},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
		return send(t, http.MethodPost, node+"/oauth2/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Encode())
	}
	assertion := func() string {
		now := time.Now()
		return key.sign(t, map[string]any{"iss": p.ClientID, "sub": p.ClientID, "aud": shared.issuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(4 * time.Minute).Unix()})
	}
	used := assertion()
	granted(t, "the first use", ask(shared.first.url, used))
	for _, node := range nodes() {
		ask(node, used).refused(t, "again at "+node, http.StatusUnauthorized, "invalid_client")
	}
	shared.second.stop()
	if err := shared.second.start(shared.binary); err != nil {
		t.Fatal(err)
	}
	ask(shared.second.url, used).refused(t, "after a restart", http.StatusUnauthorized, "invalid_client")

	once, good := assertion(), 0
	for _, a := range atOnce(20, func(node string) answer { return ask(node, once) }) {
		if a.status == http.StatusOK {
			good++
		} else {
			a.refused(t, "at once", http.StatusUnauthorized, "invalid_client")
		}
	}
	if good != 1 {
		t.Errorf("one assertion was good %d times", good)
	}
}

func TestB2_57_SecretRevokedAtTheOtherNode(t *testing.T) {
	p := newParty(t, func(in *api.PostClient) { in.GrantTypes = []string{"client_credentials"} })
	var extra api.ClientSecret
	manage(t, http.MethodPost, "/api/clients/"+p.ClientID+"/secrets", api.PostClientSecret{Label: "test"}, &extra)
	form := func() url.Values { return url.Values{"grant_type": {"client_credentials"}} }
	other := *p
	other.Secret = extra.Secret
	granted(t, "at once at the other node", other.post(t, shared.second.url, "/oauth2/token", form()))
	manage(t, http.MethodDelete, "/api/clients/"+p.ClientID+"/secrets/"+extra.ID, nil, nil)
	for _, node := range nodes() {
		eventually(t, "the secret is refused at "+node, func() error {
			if a := other.post(t, node, "/oauth2/token", form()); a.status != http.StatusUnauthorized {
				return fmt.Errorf("%d", a.status)
			}
			return nil
		})
	}
	granted(t, "the other secret", p.post(t, shared.second.url, "/oauth2/token", form()))
}

// One answer of fifty, and since the code was used again, what it gave is not good any more.
func TestB3_62_CodeAtOnceAtBothNodes(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	code := b.code(t, p.ask())
	var tok tokens
	good := 0
	for _, a := range atOnce(50, func(node string) answer { return p.post(t, node, "/oauth2/token", p.codeForm(code)) }) {
		if a.status == http.StatusOK {
			good++
			tok = granted(t, "the one use", a)
		} else {
			a.refused(t, "at once", http.StatusBadRequest, "invalid_grant")
		}
	}
	if good != 1 {
		t.Fatalf("%d of 50 uses gave tokens", good)
	}
	p.dead(t, tok.AccessToken)
	p.post(t, shared.second.url, "/oauth2/token", refreshForm(tok.RefreshToken)).refused(t, "refresh", http.StatusBadRequest, "invalid_grant")
}

// What is wrong with the first use burns the code, at all nodes.
func TestB3_63_64_66_CodeBurntAtTheOtherNode(t *testing.T) {
	b := newPersonsBrowser(t)
	p, thief := newParty(t, nil), newParty(t, nil)
	for name, wrong := range map[string]func(code string) answer{
		"B3.63 another client": func(code string) answer {
			return thief.post(t, shared.first.url, "/oauth2/token", thief.codeForm(code))
		},
		"B3.64 no redirect_uri": func(code string) answer {
			form := p.codeForm(code)
			form.Del("redirect_uri")
			return p.post(t, shared.first.url, "/oauth2/token", form)
		},
		"B3.64 another redirect_uri": func(code string) answer {
			form := p.codeForm(code)
			form.Set("redirect_uri", callback+"/")
			return p.post(t, shared.first.url, "/oauth2/token", form)
		},
		"B3.66 a verifier without a challenge": func(code string) answer {
			form := p.codeForm(code)
			form.Set("code_verifier", p.verifier)
			return p.post(t, shared.first.url, "/oauth2/token", form)
		},
	} {
		t.Run(name, func(t *testing.T) {
			code := b.code(t, p.ask())
			wrong(code).refused(t, "wrong use", http.StatusBadRequest, "invalid_grant")
			p.post(t, shared.second.url, "/oauth2/token", p.codeForm(code)).refused(t, "right use afterwards", http.StatusBadRequest, "invalid_grant")
		})
	}
}

// Other secrets of ours in place of a code, and codes that are not whole.
func TestB3_68_WhatIsNoCode(t *testing.T) {
	p, b := newParty(t, func(in *api.PostClient) {
		refreshing(in)
		in.GrantTypes = append(in.GrantTypes, "urn:ietf:params:oauth:grant-type:device_code")
	}), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	pushed := p.post(t, shared.issuer, "/oauth2/par", url.Values{"response_type": {"code"}, "redirect_uri": {callback}, "scope": {"openid"}})
	device := p.post(t, shared.issuer, "/oauth2/device_authorization", url.Values{"scope": {"openid"}})
	waiting := newBrowser(t, b.person).open(t, p.ask())
	flow := must[*url.URL](t, "return")(url.Parse(waiting.query.Get("return_to"))).Query().Get("flow")
	code := b.code(t, p.ask())
	others := map[string]string{
		"a pushed request": pushed.text("request_uri"), "a device code": device.text("device_code"), "a refresh token": tok.RefreshToken,
		"an access token": tok.AccessToken, "an ID token": tok.IDToken, "a flow": flow, "a user code": device.text("user_code"), "a secret": p.Secret,
		"truncated": code[:len(code)-1], "extended": code + "A", "with a space": code + " ", "lower case": strings.ToLower(code),
		"flipped": code[:len(code)-2] + string(code[len(code)-2]^1) + code[len(code)-1:],
	}
	for name, text := range others {
		if text == "" {
			t.Fatalf("there is no %s", name)
		}
		p.post(t, shared.second.url, "/oauth2/token", p.codeForm(text)).refused(t, name, http.StatusBadRequest, "invalid_grant")
	}
	p.redeem(t, code) // none of these burnt it
}

// What ends between the answer and the exchange, ended at one node and tried at the other.
func TestB3_69_EndedBeforeTheExchange(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, p *party, b *browser){
		"user disabled": func(t *testing.T, _ *party, b *browser) {
			must[*api.User](t, "disable")(shared.admin.DisableUser(t.Context(), b.person.ID))
		},
		"signed out": func(t *testing.T, _ *party, b *browser) { b.submit(t, b.open(t, shared.issuer+"/logout"), nil) },
		"consent withdrawn": func(t *testing.T, p *party, b *browser) {
			if err := shared.admin.WithdrawApproval(t.Context(), b.person.ID, p.ClientID); err != nil {
				t.Fatal(err)
			}
		},
		"another password": func(t *testing.T, _ *party, b *browser) {
			if err := shared.admin.SetUserPassword(t.Context(), b.person.ID, api.SetPassword{Password: password + "!"}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, b := newParty(t, nil), newPersonsBrowser(t)
			code := b.code(t, p.ask())
			end(t, p, b)
			p.post(t, shared.second.url, "/oauth2/token", p.codeForm(code)).refused(t, "exchange", http.StatusBadRequest, "invalid_grant")
		})
	}
}

// A refresh token that comes back when its successor may have arrived long ago ends the family at all nodes.
func TestB4_72_RefreshTokenUsedAgain(t *testing.T) {
	t.Parallel()
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	next := granted(t, "refresh", p.post(t, shared.first.url, "/oauth2/token", refreshForm(tok.RefreshToken)))
	time.Sleep(11 * time.Second) // longer than a client may try again because the answer got lost
	p.post(t, shared.second.url, "/oauth2/token", refreshForm(tok.RefreshToken)).refused(t, "used again", http.StatusBadRequest, "invalid_grant")
	p.post(t, shared.first.url, "/oauth2/token", refreshForm(next.RefreshToken)).refused(t, "its successor", http.StatusBadRequest, "invalid_grant")
	p.dead(t, next.AccessToken)
	p.dead(t, tok.AccessToken)
}

func TestB4_73_RefreshAtOnceAtBothNodes(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	var successor string
	good := 0
	for _, a := range atOnce(20, func(node string) answer { return p.post(t, node, "/oauth2/token", refreshForm(tok.RefreshToken)) }) {
		if a.status != http.StatusOK {
			a.refused(t, "at once", http.StatusBadRequest, "invalid_grant")
			continue
		}
		good++
		next := granted(t, "refresh", a)
		if successor == "" {
			successor = next.RefreshToken
		}
		if next.RefreshToken != successor || successor == tok.RefreshToken {
			t.Error("there are two live branches")
		}
	}
	if good == 0 {
		t.Fatal("nobody got anything")
	}
	granted(t, "the successor", p.post(t, shared.second.url, "/oauth2/token", refreshForm(successor)))
}

// Many generations within a second: a counter tells them apart, not a time.
func TestB4_74_OldGenerationWithinASecond(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	first := p.redeem(t, b.code(t, p.ask()))
	tok := first
	for i := range 4 {
		tok = granted(t, "refresh", p.post(t, nodes()[i%2], "/oauth2/token", refreshForm(tok.RefreshToken)))
	}
	p.post(t, shared.second.url, "/oauth2/token", refreshForm(first.RefreshToken)).refused(t, "the first one", http.StatusBadRequest, "invalid_grant")
	p.post(t, shared.first.url, "/oauth2/token", refreshForm(tok.RefreshToken)).refused(t, "the last one", http.StatusBadRequest, "invalid_grant")
	p.dead(t, tok.AccessToken)
}

func TestB4_76_77_RefreshByOthersAndForMore(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	thief := newParty(t, refreshing)
	tok := p.redeem(t, b.code(t, p.ask(change{"scope": "openid profile"})))
	thief.post(t, shared.second.url, "/oauth2/token", refreshForm(tok.RefreshToken)).refused(t, "B4.76 another client", http.StatusBadRequest, "invalid_grant")
	scoped := func(token, scope string) url.Values {
		form := refreshForm(token)
		form.Set("scope", scope)
		return form
	}
	p.post(t, shared.second.url, "/oauth2/token", scoped(tok.RefreshToken, "openid profile email")).refused(t, "B4.77 wider", http.StatusBadRequest, "invalid_scope")
	narrow := granted(t, "B4.77 narrower", p.post(t, shared.first.url, "/oauth2/token", scoped(tok.RefreshToken, "openid")))
	if claims := userinfo(t, narrow.AccessToken); claims["name"] != nil {
		t.Errorf("B4.77 the narrower token tells %v", claims)
	}
	wide := granted(t, "B4.77 as before", p.post(t, shared.second.url, "/oauth2/token", refreshForm(narrow.RefreshToken)))
	if claims := userinfo(t, wide.AccessToken); claims["name"] == nil {
		t.Errorf("B4.77 the original scopes are lost: %v", claims)
	}
}

// Whatever ends the right of the client or the person ends the refresh token at the other node as well.
func TestB4_78_RefreshAfterTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(t *testing.T, p *party, b *browser)
		status int
		code   string
	}{
		"user disabled": {func(t *testing.T, _ *party, b *browser) {
			must[*api.User](t, "disable")(shared.admin.DisableUser(t.Context(), b.person.ID))
		}, http.StatusBadRequest, "invalid_grant"},
		"consent withdrawn": {func(t *testing.T, p *party, b *browser) {
			if err := shared.admin.WithdrawApproval(t.Context(), b.person.ID, p.ClientID); err != nil {
				t.Fatal(err)
			}
		}, http.StatusBadRequest, "invalid_grant"},
		"client disabled": {func(t *testing.T, p *party, _ *browser) { setEnabled(t, p, false) }, http.StatusUnauthorized, "invalid_client"},
		"no refresh tokens for the client any more": {func(t *testing.T, p *party, _ *browser) {
			replaceClient(t, p, func(in *api.PutClient) { in.RefreshTokens = "never" })
		}, http.StatusBadRequest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, b := newParty(t, refreshing), newPersonsBrowser(t)
			tok := p.redeem(t, b.code(t, p.ask()))
			c.end(t, p, b)
			for _, node := range nodes() {
				eventually(t, "the refresh token is refused at "+node, func() error {
					a := p.post(t, node, "/oauth2/token", refreshForm(tok.RefreshToken))
					if a.status == http.StatusOK {
						tok = granted(t, "refresh", a)
						return fmt.Errorf("it is good")
					}
					if a.status != c.status || c.code != "" && a.text("error") != c.code {
						t.Errorf("%d %s", a.status, a.body)
					}
					return nil
				})
			}
		})
	}
}

// replaceClient changes some settings of a client.
func replaceClient(t *testing.T, p *party, change func(*api.PutClient)) {
	t.Helper()
	in := api.PutClient{ResourceOwnerScopes: p.ResourceOwnerScopes, ApplicationScopes: p.ApplicationScopes}
	in.Name, in.RedirectURIs, in.PostLogoutRedirectURIs = p.Name, p.RedirectURIs, p.PostLogoutRedirectURIs
	in.GrantTypes, in.RefreshTokens, in.ClientMetadata = p.GrantTypes, p.RefreshTokens, p.ClientMetadata
	change(&in)
	manage(t, http.MethodPut, "/api/clients/"+p.ClientID, in, nil)
}

func setEnabled(t *testing.T, p *party, enabled bool) {
	t.Helper()
	replaceClient(t, p, func(in *api.PutClient) { in.Enabled = &enabled })
}

// A refresh token opens nothing by itself.
func TestB4_82_RefreshTokenAsBearer(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	for _, path := range []string{"/oauth2/userinfo", "/oauth2/tokeninfo", "/api/clients", "/api/users", "/mithril/tokens/self/verify"} {
		if a := send(t, http.MethodGet, shared.second.url+path, bearer(tok.RefreshToken), ""); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	h := bearer(tok.RefreshToken)
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	send(t, http.MethodPost, shared.issuer+"/oauth2/introspect", h, url.Values{"token": {tok.AccessToken}}.Encode()).refused(t, "to introspect", http.StatusUnauthorized, "invalid_client")
}

// The device gets its tokens once, at whichever nodes it polls.
func TestB5_97_DeviceSucceedsOnce(t *testing.T) {
	const grant = "urn:ietf:params:oauth:grant-type:device_code"
	p := newParty(t, func(in *api.PostClient) { in.GrantTypes = append(in.GrantTypes, grant) })
	b := newPersonsBrowser(t)
	begun := p.post(t, shared.second.url, "/oauth2/device_authorization", url.Values{"scope": {"openid"}})
	var said struct {
		DeviceCode string `json:"device_code"`
		UserCode   string `json:"user_code"`
		URI        string `json:"verification_uri_complete"`
		Interval   int    `json:"interval"`
	}
	if err := json.Unmarshal(begun.body, &said); err != nil || begun.status != http.StatusOK {
		t.Fatalf("%d %s", begun.status, begun.body)
	}
	form := func() url.Values { return url.Values{"grant_type": {grant}, "device_code": {said.DeviceCode}} }
	p.post(t, shared.first.url, "/oauth2/token", form()).refused(t, "too early", http.StatusBadRequest, "authorization_pending")
	page := b.walk(t, said.URI)
	if page.at != "/device" || strings.Contains(page.body, `id="device-allow"`) {
		t.Fatalf("%d %s: want a page that asks for the code\n%s", page.status, page.at, page.body)
	}
	page = b.submit(t, page, url.Values{"user_code": {said.UserCode}})
	page = b.submit(t, page, url.Values{"decision": {"allow"}})
	if !strings.Contains(page.body, `id="device-done"`) {
		t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
	}
	time.Sleep(time.Duration(said.Interval) * time.Second)
	good := 0
	for _, a := range atOnce(20, func(node string) answer { return p.post(t, node, "/oauth2/token", form()) }) {
		if a.status == http.StatusOK {
			good++
		} else if code := a.text("error"); a.status != http.StatusBadRequest || code != "invalid_grant" && code != "slow_down" {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if good > 1 {
		t.Errorf("%d polls gave tokens", good)
	}
	if good == 0 { // all were too fast, as the limit has it; a poll at its time is not
		eventually(t, "the device gets its tokens", func() error {
			time.Sleep(time.Duration(said.Interval) * time.Second)
			if a := p.post(t, shared.first.url, "/oauth2/token", form()); a.status != http.StatusOK {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
	}
	p.post(t, shared.second.url, "/oauth2/token", form()).refused(t, "afterwards", http.StatusBadRequest, "invalid_grant")
}

// Where nobody is signed in to, everything that a client does is refused once it is disabled, at all nodes.
func TestB2_56_DisabledClientEverywhere(t *testing.T) {
	p, b := newParty(t, func(in *api.PostClient) {
		refreshing(in)
		in.GrantTypes = []string{"authorization_code", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code"}
	}), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	code := b.code(t, p.ask())
	device := p.post(t, shared.issuer, "/oauth2/device_authorization", url.Values{"scope": {"openid"}}).text("device_code")
	setEnabled(t, p, false)
	eventually(t, "the other node knows", func() error {
		if a := p.post(t, shared.second.url, "/oauth2/introspect", url.Values{"token": {tok.AccessToken}}); a.status != http.StatusUnauthorized {
			return fmt.Errorf("%d", a.status)
		}
		return nil
	})
	for what, c := range map[string]struct {
		path string
		form url.Values
	}{
		"code":        {"/oauth2/token", p.codeForm(code)},
		"refresh":     {"/oauth2/token", refreshForm(tok.RefreshToken)},
		"client":      {"/oauth2/token", url.Values{"grant_type": {"client_credentials"}}},
		"device poll": {"/oauth2/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {device}}},
		"device":      {"/oauth2/device_authorization", url.Values{"scope": {"openid"}}},
		"PAR":         {"/oauth2/par", url.Values{"response_type": {"code"}, "redirect_uri": {callback}}},
		"introspect":  {"/oauth2/introspect", url.Values{"token": {tok.AccessToken}}},
		"revoke":      {"/oauth2/revoke", url.Values{"token": {tok.AccessToken}}},
	} {
		p.post(t, shared.second.url, c.path, c.form).refused(t, what, http.StatusUnauthorized, "invalid_client")
	}
	b.open(t, p.ask()).refusedHere(t, "authorize")
	if a := send(t, http.MethodGet, shared.second.url+"/oauth2/userinfo", bearer(tok.AccessToken), ""); a.status != http.StatusUnauthorized {
		t.Errorf("its token is good: %d", a.status)
	}
}

// What we do not know is neither kept nor made an address of.
func TestB4_81_UnknownParameters(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	form := refreshForm(tok.RefreshToken)
	for _, name := range []string{"client_session_host", "issuer", "jwks_uri", "logout_uri"} {
		form.Set(name, shared.receiver.URL+"/unknown")
	}
	a := p.post(t, shared.issuer, "/oauth2/token", form)
	next := granted(t, "refresh", a)
	_, claims := p.identity(t, p.redeem(t, b.code(t, p.ask(change{"client_session_host": shared.receiver.URL + "/unknown"}))).IDToken)
	if strings.Contains(string(a.body), "/unknown") || strings.Contains(fmt.Sprint(claims, userinfo(t, next.AccessToken)), "/unknown") {
		t.Errorf("it came back: %s %v", a.body, claims)
	}
	b.submit(t, b.open(t, shared.issuer+"/logout"), nil)
	if len(shared.receiver.at("/unknown")) != 0 {
		t.Error("somebody called it")
	}
}

// The form with the password is answered by a redirect that the browser follows with a GET.
func TestB1_32_PasswordIsNotPostedOn(t *testing.T) {
	p, b := newParty(t, nil), newPersonsBrowser(t)
	page := b.open(t, p.ask())
	action, fields := page.form()
	fields["realm"], fields["username"], fields["password"] = []string{"customers"}, []string{b.person.Username}, []string{password}
	r := must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), http.MethodPost, shared.issuer+action, strings.NewReader(fields.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res := must[*http.Response](t, "login")(b.http.Do(r))
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther || strings.Contains(res.Header.Get("Location"), password) {
		t.Errorf("%d %s", res.StatusCode, res.Header.Get("Location"))
	}
}
