package browser_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html/template"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/testport"
)

// party is an application on an origin of its own, which asks the frame of the server whether somebody is signed in, and
// hears through the browser when she has left.
type party struct {
	w      *world
	origin string
	client *api.Client

	mu    sync.Mutex
	heard []heard // owned by mu
	evil  bool    // the page that is loaded to hear of a logout tries to lead the browser away
}

// heard is one load of the address at which the application hears of a logout.
type heard struct {
	iss, sid string
	cookies  []string // names of the application's own cookies that came along
	referer  string
}

// newParty starts the application at a host, which says whether it is of the server's site: localhost is, 127.0.0.1 is not.
func newParty(t *testing.T, w *world, host string) *party {
	t.Helper()
	addr := testport.Addr(t)
	l, err := net.Listen("tcp", addr)
	must(t)(l, err)
	scheme, _, _ := strings.Cut(w.issuer, ":")
	p := &party{w: w, origin: scheme + "://" + strings.Replace(addr, "127.0.0.1", host, 1)}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(p.serve)}} //nolint:gosec // our own
	if scheme == "https" {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	in := api.PostClient{}
	in.Name = "Party at " + host
	in.RedirectURIs, in.PostLogoutRedirectURIs = []string{p.origin + "/callback"}, []string{p.origin + "/bye"}
	in.GrantTypes = []string{"authorization_code"}
	in.FrontchannelLogoutURI, in.FrontchannelSessionRequired = p.origin+"/out?x=y", true
	p.client, err = w.admin.CreateClient(t.Context(), in)
	must(t)(p.client, err)
	return p
}

var partyPage = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Party</title><link rel="icon" href="data:,">
<h1 id="{{.ID}}">{{.ID}}</h1>{{if .Frame}}<iframe id="frame" src="{{.Frame}}"></iframe>
<script>
var frame = document.getElementById("frame"), loaded = new Promise(function (done) { frame.addEventListener("load", done); });
function ask(text) {
  return loaded.then(function () { return new Promise(function (done) {
    addEventListener("message", function (e) { if (e.source === frame.contentWindow) done(e.origin + " " + e.data); }, { once: true });
    frame.contentWindow.postMessage(text, "*");
  }); });
}
</script>{{end}}{{if .Out}}<script>
localStorage.setItem("out", "yes");
{{if .Evil}}try { top.location = "{{.Evil}}"; } catch (err) {}
open("{{.Evil}}");{{end}}
</script>{{end}}`))

type partyView struct {
	ID, Frame string
	Out       bool
	Evil      string
}

func (p *party) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v := partyView{ID: strings.Trim(r.URL.Path, "/")}
	switch r.URL.Path {
	case "/callback":
		for name, same := range map[string]http.SameSite{"lax": http.SameSiteLaxMode, "none": http.SameSiteNoneMode} {
			http.SetCookie(w, &http.Cookie{Name: name, Value: "1", Path: "/", SameSite: same, Secure: r.TLS != nil, HttpOnly: true})
		}
	case "/watch":
		v.Frame = p.w.issuer + "/oauth2/session"
	case "/show":
		v.Frame = r.URL.Query().Get("page")
	case "/out":
		q := r.URL.Query()
		h := heard{iss: q.Get("iss"), sid: q.Get("sid"), referer: r.Referer()}
		for _, c := range r.Cookies() { // those of the server come along as well: cookies know no ports
			if c.Name == "lax" || c.Name == "none" {
				h.cookies = append(h.cookies, c.Name)
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.heard = append(p.heard, h)
		v.Out = true
		if p.evil {
			v.Evil = p.origin + "/evil"
		}
	}
	_ = partyPage.Execute(w, v) // the browser is gone if it fails
}

// await waits until the application has heard of a logout.
func (p *party) await(t *testing.T) heard {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		p.mu.Lock()
		list := p.heard
		p.mu.Unlock()
		if len(list) > 0 {
			return list[0]
		}
	}
	t.Fatal("the browser does not load the address that the application gave")
	return heard{}
}

// signIn signs alice in for the application; it answers session_state and an ID token with its claim sid.
func (p *party) signIn(b *tab) (state, idToken, sid string) {
	b.t.Helper()
	ask := url.Values{"response_type": {"code"}, "client_id": {p.client.ClientID}, "redirect_uri": {p.origin + "/callback"}, "scope": {"openid"}, "state": {"s"},
		"code_challenge_method": {"S256"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}}
	b.visit(p.w.issuer + "/oauth2/authorize?" + ask.Encode())
	b.signIn("alice", "#consent-allow")
	b.click("#consent-allow", "#callback")
	var at string
	b.run("address", chromedp.Location(&at))
	u, err := url.Parse(at)
	must(b.t)(u, err)
	res, err := trusting.PostForm(p.w.issuer+"/oauth2/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {p.client.ClientID}, "code": {u.Query().Get("code")},
		"redirect_uri": {p.origin + "/callback"}, "code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}})
	must(b.t)(res, err)
	defer res.Body.Close()
	var tokens struct {
		IDToken string `json:"id_token"`
	}
	decode(b.t, res.Body, &tokens)
	parts := strings.Split(tokens.IDToken, ".")
	if len(parts) != 3 {
		b.t.Fatalf("no ID token: %d at %s", res.StatusCode, at)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(b.t)(payload, err)
	var claims struct {
		SID string `json:"sid"`
	}
	must(b.t)(nil, json.Unmarshal(payload, &claims))
	return u.Query().Get("session_state"), tokens.IDToken, claims.SID
}

// ask asks the frame from a page of the application, and answers what it says and from which origin.
func (p *party) ask(b *tab, text string) (answer string) {
	b.t.Helper()
	b.visit(p.origin + "/watch")
	b.run("ask the frame", chromedp.Evaluate(fmt.Sprintf("ask(%q)", text), &answer, awaiting))
	return answer
}

// certificate makes one for this machine that nobody signed.
func certificate(t *testing.T) (settings map[string]string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t)(key, err)
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	must(t)(der, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t)(private, err)
	dir := t.TempDir()
	settings = map[string]string{"tls.cert_file": filepath.Join(dir, "cert.pem"), "tls.key_file": filepath.Join(dir, "key.pem")}
	must(t)(nil, os.WriteFile(settings["tls.cert_file"], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t)(nil, os.WriteFile(settings["tls.key_file"], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	_, err = tls.LoadX509KeyPair(settings["tls.cert_file"], settings["tls.key_file"])
	must(t)(nil, err)
	return settings
}
