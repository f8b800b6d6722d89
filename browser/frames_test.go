package browser_test

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

func awaiting(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// What a browser does with the frames of other sites depends on where the application is, and on whether the person lets
// sites see their cookies there.
var places = map[string]struct {
	scheme, host string
	blocked      bool // cookies of sites that are framed by others are
	frame        string
	cookies      []string // of the application, that come along when the server's page frames it
	storage      bool     // what the framed page stores is what the application's own pages see
}{
	"another origin of the site":             {"http", "localhost", false, "unchanged", []string{"lax"}, true},
	"another site":                           {"https", "127.0.0.1", false, "unchanged", []string{"none"}, false},
	"another site, and cookies are withheld": {"https", "127.0.0.1", true, "changed", nil, false},
}

// cookiesInFrames is the choice that the browser's settings give to people: without a profile that says so it withholds
// cookies from sites that are framed by others.
func cookiesInFrames(t *testing.T, allowed bool) chromedp.ExecAllocatorOption {
	t.Helper()
	dir, mode := t.TempDir(), `{"profile":{"cookie_controls_mode":1}}`
	if allowed {
		mode = `{"profile":{"cookie_controls_mode":0}}`
	}
	must(t)(nil, os.MkdirAll(filepath.Join(dir, "Default"), 0o700))
	must(t)(nil, os.WriteFile(filepath.Join(dir, "Default", "Preferences"), []byte(mode), 0o600))
	return chromedp.UserDataDir(dir)
}

func inPlaces(t *testing.T, f func(t *testing.T, w *world, p *party, b *tab, place string)) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			var settings map[string]string
			if place.scheme == "https" {
				settings = certificate(t)
			}
			w := startAt(t, place.scheme, settings)
			b := open(t, "en", chromedp.IgnoreCertErrors, cookiesInFrames(t, !place.blocked))
			f(t, w, newParty(t, w, place.host), b, name)
		})
	}
}

// The module oidcc-session-management-rp-initiated-logout in a browser: the script of the frame itself answers.
func TestSessionFrameInABrowser(t *testing.T) {
	inPlaces(t, func(t *testing.T, w *world, p *party, b *tab, place string) {
		state, _, _ := p.signIn(b)
		say := func(what, text, want string) {
			t.Helper()
			if got := p.ask(b, text); got != w.issuer+" "+want {
				t.Errorf("%s: %q, want %s", what, got, want)
			}
		}
		id := p.client.ClientID
		say("signed in", id+" "+state, places[place].frame)
		say("another client", "somebody "+state, "changed")
		for _, nonsense := range []string{"", id, id + " ", id + " " + state + " more", id + " nodot", " " + state, strings.Repeat("x", 3000)} {
			say("nonsense "+nonsense[:min(30, len(nonsense))], nonsense, "error")
		}
		// The same words from another origin are no application's.
		other := newParty(t, w, places[place].host)
		if got := other.ask(b, id+" "+state); got != w.issuer+" changed" {
			t.Errorf("another origin: %q", got)
		}
		b.visit(w.issuer + "/logout")
		b.run("sign out", chromedp.Click("#logout-confirm", chromedp.NodeVisible), chromedp.WaitVisible("#signed-out"))
		if place == "another origin of the site" {
			b.look("goodbye")
		}
		say("signed out", id+" "+state, "changed")
		again, _, _ := p.signInAgain(b)
		say("signed in again", id+" "+again, places[place].frame)
		say("the state of before", id+" "+state, "changed")
	})
}

// signInAgain is signIn when everything was allowed before.
func (p *party) signInAgain(b *tab) (state, idToken, sid string) {
	b.t.Helper()
	b.visit(p.w.issuer + "/oauth2/authorize?" + url.Values{"response_type": {"code"}, "client_id": {p.client.ClientID}, "redirect_uri": {p.origin + "/callback"}, "scope": {"openid"},
		"code_challenge_method": {"S256"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}}.Encode())
	b.signIn("alice", "#callback")
	var at string
	b.run("address", chromedp.Location(&at))
	u, err := url.Parse(at)
	must(b.t)(u, err)
	return u.Query().Get("session_state"), "", ""
}

// The module oidcc-frontchannel-rp-initiated-logout in a browser: it loads the application's page with issuer and session,
// and goes on by itself. Whether the application's own cookies come along depends on the place, which is why the address
// names the session.
func TestFrontchannelLogoutInABrowser(t *testing.T) {
	inPlaces(t, func(t *testing.T, w *world, p *party, b *tab, place string) {
		p.evil = place == "another site"
		_, idToken, sid := p.signIn(b)
		b.visit(w.issuer + "/oauth2/logout?" + url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {p.origin + "/bye"}, "state": {"the state"}}.Encode())
		b.run("the page after signing out", chromedp.WaitVisible("#signed-out"))
		h := p.await(t)
		if h.iss != w.issuer || h.sid != sid || sid == "" || h.referer != "" || !slices.Equal(h.cookies, places[place].cookies) {
			t.Errorf("the application heard %+v, want session %q and cookies %v", h, sid, places[place].cookies)
		}
		// What the evil one tries is in the browser's log perhaps, and comes to nothing.
		b.run("it goes on by itself", chromedp.WaitVisible("#bye"))
		var at string
		var stored bool
		b.run("where", chromedp.Location(&at), chromedp.Evaluate(`localStorage.getItem("out") === "yes"`, &stored))
		if at != p.origin+"/bye?state=the+state" {
			t.Errorf("went on to %s", at)
		}
		if stored != places[place].storage {
			t.Errorf("what the framed page stored is seen: %v", stored)
		}
		b.forgive("navigate", "sandbox")
		b.visit(w.issuer + "/account")
		b.run("signed out", chromedp.WaitVisible("#login-submit"))
	})
}

// B1.36: no page of ours can be framed by another, whatever a site shows over it; the frame for sessions alone can, and
// has nothing to click.
func TestB1_36_NoPageInAFrame(t *testing.T) {
	w, b := start(t), open(t, "en")
	p := newParty(t, w, "localhost")
	b.visit(w.issuer + "/login?realm=employees")
	b.signIn("alice", "#account-username")
	framed := func(path string) (refused bool) {
		t.Helper()
		b.visit(p.origin + "/show?page=" + url.QueryEscape(w.issuer+path))
		for deadline := time.Now().Add(3 * time.Second); !refused && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			refused = b.forgive("frame-ancestors", "X-Frame-Options")
		}
		return refused
	}
	asks, _ := strings.CutPrefix(w.authorize(), w.issuer)
	for _, path := range []string{"/", "/login", "/login?step=again&return_to=/account/security", "/logout", "/account", "/account/security", "/account/sessions", "/account/password",
		"/account/activity", "/account/approvals", "/invitation", "/consent", "/select", "/login/enrol", "/login/verify",
		"/device", asks, "/oauth2/logout", "/reset", "/register", "/verify", "/mailbox", "/nowhere", "/docs", "/.well-known/openid-configuration"} {
		if !framed(path) {
			t.Errorf("%s can be framed", path)
		}
	}
	if framed("/oauth2/session") {
		t.Error("the frame for sessions is refused")
	}
	var inside int
	b.run("what can be clicked", chromedp.Evaluate(`document.getElementById("frame").contentWindow.length`, &inside))
	if inside != 0 {
		t.Error("there is something in the frame")
	}
}

// What the policy forbids is noticed by these tests, or their silence would mean nothing.
func TestViolationsAreNoticed(t *testing.T) {
	w, b := start(t), open(t, "en")
	b.visit(w.issuer + "/login")
	b.run("a style and a script of somebody else", chromedp.Evaluate(`(() => { const s = document.createElement("style"); s.textContent = "p{}"; document.head.append(s);
		const i = document.createElement("img"); i.src = "https://evil.example.org/x.png"; document.body.append(i); })()`, nil))
	for deadline := time.Now().Add(patience); !b.forgive("style-src") || !b.forgive("img-src"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody noticed")
		}
	}
}
