package conformance_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
)

// supported checks what discovery says of a way to sign out, at both nodes.
func supported(t *testing.T, flags []string, endpoints ...string) {
	t.Helper()
	for _, node := range nodes() {
		m := object(t, send(t, http.MethodGet, node+"/.well-known/openid-configuration", nil, ""))
		for _, name := range flags {
			if m[name] != true {
				t.Errorf("%s: %s is %v", node, name, m[name])
			}
		}
		for _, name := range endpoints {
			if text, _ := m[name].(string); !strings.HasPrefix(text, shared.issuer+"/") {
				t.Errorf("%s: %s is %v", node, name, m[name])
			}
		}
	}
}

var (
	frameSource = regexp.MustCompile(`<iframe src="([^"]*)"`)
	refreshesTo = regexp.MustCompile(`<meta http-equiv="refresh" content="\d+;url=([^"]*)"`)
)

// frames are the addresses that a page after signing out has the browser load, and where it goes on to.
func (p page) frames() (loads []string, next string) {
	for _, m := range frameSource.FindAllStringSubmatch(p.body, -1) {
		loads = append(loads, html.UnescapeString(m[1]))
	}
	if m := refreshesTo.FindStringSubmatch(p.body); m != nil {
		next = html.UnescapeString(m[1])
	}
	return loads, next
}

// The plan oidcc-frontchannel-rp-initiated-logout-certification-test-plan. The person signs in at one node and leaves by
// the other one.
func TestFrontchannelLogoutPlan(t *testing.T) {
	t.Run("oidcc-frontchannel-logout-discovery-endpoint-verification", func(t *testing.T) {
		supported(t, []string{"frontchannel_logout_supported", "frontchannel_logout_session_supported"}, "end_session_endpoint")
	})
	hears := func(uri string) func(*api.PostClient) {
		return func(in *api.PostClient) { in.FrontchannelLogoutURI, in.FrontchannelSessionRequired = uri, true }
	}
	p := newParty(t, hears("https://app.example.org/frontchannel_logout?x=y"))
	second := newParty(t, hears("https://app.example.org/second"))
	silent := newParty(t, nil)
	stranger := newParty(t, hears("https://app.example.org/stranger"))
	for name, end := range map[string]func(t *testing.T, b *browser, hint string) (page, string){
		"oidcc-frontchannel-rp-initiated-logout": func(t *testing.T, b *browser, hint string) (page, string) {
			parameters := change{"id_token_hint": hint, "post_logout_redirect_uri": goodbye, "state": "the state"}
			return b.open(t, strings.Replace(leave(parameters), shared.issuer, shared.second.url, 1)), goodbye + "?state=the+state"
		},
		"oidcc-frontchannel-rp-initiated-logout, after the person was asked": func(t *testing.T, b *browser, _ string) (page, string) {
			asked := b.open(t, strings.Replace(leave(change{"client_id": p.ClientID, "post_logout_redirect_uri": goodbye}), shared.issuer, shared.second.url, 1))
			if loads, _ := asked.frames(); len(loads) > 0 || !p.stays(t, b) {
				t.Errorf("signed out without being asked, %v", loads)
			}
			return b.submit(t, asked, nil), goodbye
		},
		"signed out here": func(t *testing.T, b *browser, _ string) (page, string) {
			return b.submit(t, b.open(t, shared.second.url+"/logout"), nil), ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, other := newPersonsBrowser(t), newPersonsBrowser(t)
			tok := p.redeem(t, b.code(t, p.ask()))
			seconds := second.redeem(t, b.code(t, second.ask()))
			silent.redeem(t, b.code(t, silent.ask()))
			stranger.redeem(t, other.code(t, stranger.ask()))
			_, claims := p.identity(t, tok.IDToken)
			_, others := second.identity(t, seconds.IDToken)
			left, want := end(t, b, tok.IDToken)
			loads, next := left.frames()
			if left.status != http.StatusOK || len(loads) != 2 || next != want {
				t.Fatalf("%d at %s: loads %v and goes on to %q\n%s", left.status, left.at, loads, next, left.body)
			}
			for _, address := range loads {
				u := must[*url.URL](t, "frame")(url.Parse(address))
				of := map[string]map[string]any{"/frontchannel_logout": claims, "/second": others}[u.Path]
				if q := u.Query(); of == nil || of["sid"] == nil || q.Get("sid") != of["sid"] || q.Get("iss") != shared.issuer || u.Path == "/frontchannel_logout" && q.Get("x") != "y" {
					t.Errorf("%s, and the ID token says %v", address, of["sid"])
				}
				if !strings.Contains(left.header.Get("Content-Security-Policy"), "frame-src https://app.example.org") {
					t.Errorf("the browser will not load it: %s", left.header.Get("Content-Security-Policy"))
				}
			}
			for _, node := range nodes() {
				ask := strings.Replace(p.ask(change{"prompt": "none"}), shared.issuer, node, 1)
				b.open(t, ask).refusedBack(t, ask, "login_required")
			}
			p.dead(t, tok.AccessToken)
			if !stranger.stays(t, other) {
				t.Error("another browser was signed out")
			}
			if again := b.open(t, leave(change{"id_token_hint": tok.IDToken, "post_logout_redirect_uri": goodbye})); again.at != goodbye {
				t.Errorf("leaving twice: %d %s", again.status, again.at)
			}
		})
	}
}

// sessionAnswer is what the frame at check_session_iframe answers the client's page in this browser: its script in other
// words (Session Management section 3.2). The browser's own tests run the script itself.
func (b *browser) sessionAnswer(t *testing.T, p *party, state string) string {
	t.Helper()
	var cookie string
	for _, c := range b.http.Jar.Cookies(must[*url.URL](t, "issuer")(url.Parse(shared.issuer))) {
		if c.Name == "mintmark-state" {
			cookie = c.Value
		}
	}
	hash, salt, ok := strings.Cut(state, ".")
	if !ok || hash == "" || salt == "" {
		return "error"
	}
	sum := sha256.Sum256([]byte(p.ClientID + " https://app.example.org " + cookie + " " + salt))
	if cookie == "" || hash != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return "changed"
	}
	return "unchanged"
}

// The plan oidcc-session-management-certification-test-plan.
func TestSessionManagementPlan(t *testing.T) {
	t.Run("oidcc-session-management-discovery-endpoint-verification", func(t *testing.T) {
		supported(t, nil, "check_session_iframe", "end_session_endpoint")
		var one string
		for _, node := range nodes() {
			a := send(t, http.MethodGet, node+"/oauth2/session", nil, "")
			if a.status != http.StatusOK || !strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors *") || a.header.Get("X-Frame-Options") != "" ||
				!strings.Contains(string(a.body), `"mintmark-state="`) {
				t.Errorf("%s: %d %v\n%s", node, a.status, a.header, a.body)
			}
			if one += string(a.body); one != strings.Repeat(string(a.body), len(one)/len(a.body)) {
				t.Error("the nodes have frames that differ")
			}
		}
	})
	t.Run("oidcc-session-management-rp-initiated-logout", func(t *testing.T) {
		p, b := newParty(t, nil), newPersonsBrowser(t)
		at := func(node string, changes ...change) url.Values {
			t.Helper()
			ask := strings.Replace(p.ask(changes...), shared.issuer, node, 1)
			return b.walk(t, ask).answered(t, ask)
		}
		said := at(shared.first.url)
		state, hint := said.Get("session_state"), p.redeem(t, said.Get("code")).IDToken
		if strings.Contains(state, " ") {
			t.Errorf("session_state is %q", state)
		}
		unchanged := func(what, state, want string) {
			t.Helper()
			if got := b.sessionAnswer(t, p, state); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		unchanged("signed in", state, "unchanged")
		elsewhere := at(shared.second.url, change{"prompt": "none"}).Get("session_state")
		unchanged("what the other node says", elsewhere, "unchanged")
		unchanged("after the other node answered", state, "unchanged")
		if left := b.open(t, strings.Replace(leave(change{"id_token_hint": hint, "post_logout_redirect_uri": goodbye, "state": "s"}), shared.issuer, shared.second.url, 1)); left.at != goodbye || left.query.Get("state") != "s" || len(left.query) != 1 {
			t.Fatalf("at %d %s %v", left.status, left.at, left.query)
		}
		unchanged("signed out", state, "changed")
		unchanged("signed out", elsewhere, "changed")
		said = at(shared.second.url)
		unchanged("signed in again", said.Get("session_state"), "unchanged")
		unchanged("the state of before", state, "changed")
	})
}
