package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/route"
)

// Session management (OpenID Connect Session Management 1.0): a client's page learns from a frame of ours, without a
// request, whether the login that it knows of is still the browser's.
//
// What it guards: the frame is the one page here that others may frame, so there is nothing in it to click, and nothing
// that is anybody's: it is the same for all. Its script answers one question, and only who knows client, origin and
// browser state can ask it to any use. The browser state is a value for this alone, that a script can read and that
// proves nothing; the session's cookie stays out of reach of scripts.

// sessionState is what a client shows to the frame: the hash of who it is and of the browser state, with its salt
// (section 3). It is "" where the answer goes to no web page.
func (p *people) sessionState(w http.ResponseWriter, r *http.Request, q *authRequest, b *beginning) string {
	origin := originOf(q.redirect)
	if origin == "" || b.person.ID == "" || !slices.Contains(q.scopes, scopeOpenID) {
		return ""
	}
	var random [16]byte
	rand.Read(random[:]) // never fails since Go 1.24
	salt := base64.RawURLEncoding.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(q.client.ID + " " + origin + " " + p.Sessions.BrowserState(w, r, b.person) + " " + salt))
	return base64.RawURLEncoding.EncodeToString(sum[:]) + "." + salt
}

// originOf is the origin of an address as browsers write it, or "" if it is none of a web page.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	host := strings.ToLower(u.Host)
	if port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]; strings.HasSuffix(host, port) {
		host = strings.TrimSuffix(host, port)
	}
	return u.Scheme + "://" + host
}

// sessionFrame is the page of the frame, with the policy that knows its script.
type sessionFrame struct{ page, policy string }

// newSessionFrame makes the page for a cookie.
func newSessionFrame(cookie string) sessionFrame {
	script := strings.ReplaceAll(sessionScript, "COOKIE", cookie)
	sum := sha256.Sum256([]byte(script))
	return sessionFrame{
		page:   "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Session</title></head><body><script>" + script + "</script></body></html>\n",
		policy: "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'none'; base-uri 'none'; frame-ancestors *",
	}
}

// sessionScript answers "changed", "unchanged" or "error" to the page that asked, and to no other (section 3.2).
const sessionScript = `"use strict";
addEventListener("message", async function (e) {
  if (!e.source || e.source === window || e.origin === "null") return;
  var answer = function (word) { e.source.postMessage(word, e.origin); };
  var asked = typeof e.data === "string" && e.data.length < 2000 ? e.data.split(" ") : [];
  var state = asked.length === 2 ? asked[1].split(".") : [];
  if (!asked[0] || state.length !== 2 || !state[0] || !state[1] || !window.crypto || !crypto.subtle) return answer("error");
  var browser = "";
  document.cookie.split("; ").forEach(function (c) { if (c.indexOf("COOKIE=") === 0) browser = c.slice("COOKIE=".length); });
  try {
    var text = asked[0] + " " + e.origin + " " + browser + " " + state[1];
    var hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    var code = btoa(String.fromCharCode.apply(null, hash)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
    answer(browser !== "" && code === state[0] ? "unchanged" : "changed");
  } catch (err) { answer("error"); }
});
`

// sessionPage serves the frame. Any page may show it, since the server cannot know which client's it is; what other pages
// of ours say against being framed does not go for this one.
func (p *people) sessionPage(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.frame.policy)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "public, max-age=300")
	h.Del("X-Frame-Options")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return
	}
	if _, err := w.Write([]byte(p.frame.page)); err != nil {
		route.NoteError(r.Context(), serverError, err)
	}
}
