// Package web serves the pages for people.
//
// What it guards:
//   - Pages are made by html/template alone, load nothing from anywhere else, run no script but two files of ours (one
//     talks to the authenticator, one copies, prints and shows what was typed; no page needs the latter), and carry the
//     same strict headers whether they answer 200 or 404. A form may lead only to this server, and, where the answer to it goes on
//     to a client, to that client's own address.
//   - One page frames others: that after signing out, the clients that hear of it, by their origins (logout.go).
//   - The front page is public, so it tells what runs where and nothing about applications, people or credentials.
//   - Every form that changes something carries a token of package session. After a login one is led only to pages of
//     this server.
//   - A refused login says the same, in the same form, whatever was wrong (login.go). One of which the password was right
//     and the rest is to come is no session, and its cookie opens nothing but the next step (step.go).
//   - A login with a provider of others begins at a page of ours, and its answer counts in the browser that was sent there
//     (upstream.go, package federation).
//   - What people sign in with is changed only by somebody who has just proved to be it, by all that the account has
//     (security.go).
package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/identity/transfer"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/route"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed static/style.css
var stylesheet []byte

//go:embed static/icon.svg
var icon []byte

//go:embed static/passkey.js
var passkeyScript []byte

//go:embed static/comfort.js
var comfortScript []byte

// Info is what the front page tells.
type Info struct {
	Version    string
	Node       string
	Engine     string // such as "SQLite, embedded"
	Issuer     string
	S3         string // address of the embedded S3 endpoint, or ""
	Operations string // address of the operations listener
	Started    time.Time
	Clock      clock.Clock
	// Ready answers nil, or why the server is not ready.
	Ready func() error

	Looks      *look.Set // nil: all pages look like the product's
	Directory  *identity.Directory
	DB         *db.DB
	Sessions   *session.Manager
	Factors    *mfa.Service
	Accounts   *account.Service    // nil: nobody registers or resets a password by itself
	Attributes *attributes.Service // nil: no realm keeps anything besides
	Transfer   *transfer.Service   // nil: people get nothing of what is kept of them, and erase nothing
	Outbox     *mail.Outbox        // nil: there is no mailbox page
	Upstream   *federation.Service // nil: there are no providers of others
	// Clients knows the clients that people use, and what they let them do. nil: there are none.
	Clients Clients
	// Destination tells, for an address of the authorization endpoint, which client a login leads to. It answers false
	// unless the client and its redirect URI are good. nil: it is never known.
	Destination func(ctx context.Context, address string) (Destination, bool)
	// LogoutFrames are the addresses of clients that hear through the browser that a session has ended. nil: none do.
	LogoutFrames func(ctx context.Context, sessionID string) ([]string, error)
}

// Destination is the client that a person signs in for.
type Destination struct {
	ClientName  string
	RedirectURI string // as registered: the form's answer may end there
	Realm       string // whose people alone can go on there, or ""
}

// Pages holds the parsed templates and the address of the stylesheet, which changes with its content.
type Pages struct {
	info      Info
	templates map[string]*template.Template // by the file's name without its ending
	stylePath string
	iconPath  string
	passkeys  string // address of the script
	comforts  string // address of the other one
	languages languages
}

// New parses the pages; a template that does not parse is a bug found at start.
func New(info Info) (*Pages, error) {
	p := &Pages{info: info, stylePath: "/static/style-" + digest(stylesheet) + ".css", iconPath: "/static/icon-" + digest(icon) + ".svg",
		passkeys: "/static/passkey-" + digest(passkeyScript) + ".js", comforts: "/static/comfort-" + digest(comfortScript) + ".js"}
	var err error
	if p.languages, err = readLanguages(); err != nil {
		return nil, err
	}
	p.templates = map[string]*template.Template{}
	for _, name := range []string{"home", "login", "logout", "goodbye", "account", "consent", "select", "device", "error", "verify", "enrol", "codes", "security", "app", "password", "sessions",
		"upstream", "reset", "register", "invitation", "confirm", "mailbox", "activity", "not_me", "approvals", "withdraw", "profile", "email", "data", "erase"} {
		t, err := template.ParseFS(pageFiles, "pages/layout.html", "pages/seed.html", "pages/parts.html", "pages/attributes.html", "pages/who.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parse the page %s: %w", name, err)
		}
		p.templates[name] = t
	}
	return p, nil
}

// digest is the part of an address that changes with the content.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:6])
}

// StylePath is the address of the stylesheet.
func (p *Pages) StylePath() string { return p.stylePath }

// IconPath is the address of the icon.
func (p *Pages) IconPath() string { return p.iconPath }

// Style serves the stylesheet.
func (p *Pages) Style(w http.ResponseWriter, r *http.Request) {
	serve(w, r, "text/css; charset=utf-8", stylesheet)
}

// PasskeyScript serves the script that talks to the authenticator.
func (p *Pages) PasskeyScript(w http.ResponseWriter, r *http.Request) {
	serve(w, r, "text/javascript; charset=utf-8", passkeyScript)
}

// ComfortScript serves the script for small comforts.
func (p *Pages) ComfortScript(w http.ResponseWriter, r *http.Request) {
	serve(w, r, "text/javascript; charset=utf-8", comfortScript)
}

// Icon serves the icon.
func (p *Pages) Icon(w http.ResponseWriter, r *http.Request) { serve(w, r, "image/svg+xml", icon) }

// serve sends what may be kept for ever, because its address changes with its content.
func serve(w http.ResponseWriter, r *http.Request, media string, content []byte, besides ...func(http.Header)) {
	setHeaders(w)
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	for _, set := range besides {
		set(w.Header())
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

type endpoint struct{ What, Method, Path, About string }

type group struct {
	Name      string
	Endpoints []endpoint
}

// directory lists what a person may want to open or call, in the order in which they meet it.
var directory = []group{
	{"Tokens", []endpoint{
		{"Get a token", "POST", "/oauth2/token", "RFC 6749, strict"},
		{"Get a token, as older clients ask", "POST", "/oauth2/access_token?realm=services", "form or JSON"},
		{"Check a token", "GET", "/oauth2/tokeninfo", "who, what, how long"},
		{"Introspect a token", "POST", "/oauth2/introspect", "RFC 7662"},
		{"Revoke a token", "POST", "/oauth2/revoke", "RFC 7009"},
	}},
	{"Discovery", []endpoint{
		{"Metadata", "GET", "/.well-known/openid-configuration", "what this server can do"},
		{"Verification keys", "GET", "/oauth2/jwks", "RFC 7517"},
	}},
	{"People", []endpoint{
		{"Your account", "GET", "/account", "sign in, sign out"},
		{"Connect a device", "GET", "/device", "type the code that it shows"},
	}},
	{"Management", []endpoint{
		{"The API, to read", "GET", "/api/docs", "every operation with its rights"},
		{"The API, for programs", "GET", "/api/openapi.json", "OpenAPI 3.1"},
	}},
}

// frame is what the layout needs of every page.
type frame struct {
	Title, Style, Script string
	Section              string       // the account's page that this one belongs to, by its address; "": it has none of its parts
	Refresh              template.URL // where the page leads after a while; "": it stays

	*reader
}

func (p *Pages) frame(title string) frame {
	return frame{Title: title, Style: p.stylePath, reader: &reader{pages: p}}
}

// of is the frame for a person, or a login, of a realm: the page looks like it.
func (f frame) of(realm string) frame {
	f.realm = realm
	return f
}

// section is frame for a page of the account, which its navigation leads to.
func (p *Pages) section(title, page string) frame {
	f := p.frame(title)
	f.Section = page
	return f
}

// scripted is frame for a page on which passkeys are used: the only ones that run a script.
func (p *Pages) scripted(title string) frame {
	f := p.frame(title)
	if p.info.Factors.OffersPasskeys() {
		f.Script = p.passkeys
	}
	return f
}

func (f frame) script() bool { return f.Script != "" }

// comforted are the pages on which there is something to copy, to print, or to type unseen.
var comforted = map[string]bool{"login": true, "password": true, "register": true, "reset": true, "invitation": true, "codes": true, "app": true, "enrol": true, "error": true}

type homeData struct {
	frame
	Info    Info
	Uptime  string
	Problem string
	Groups  []group
}

// Home is the page at /: what runs where.
func (p *Pages) Home(w http.ResponseWriter, r *http.Request) {
	d := homeData{frame: p.frame("mintmark"), Info: p.info, Groups: directory,
		Uptime: clock.Since(p.info.Clock, p.info.Started).Round(time.Second).String()}
	if err := p.info.Ready(); err != nil {
		d.Problem = err.Error()
	}
	p.show(w, r, http.StatusOK, "home", d)
}

// NotFound is the page for an address that leads nowhere.
func (p *Pages) NotFound(w http.ResponseWriter, r *http.Request) {
	p.Error(w, r, http.StatusNotFound, "no_such_path", "There is nothing at this address.")
}

// show renders into memory first, so that a failing template never sends half a page. to are the addresses besides our
// own where the answer to the page's form may lead (see formAction).
func (p *Pages) show(w http.ResponseWriter, r *http.Request, status int, name string, data any, to ...string) {
	if l, ok := data.(interface {
		meet(w http.ResponseWriter, r *http.Request, name string, status int)
	}); ok {
		l.meet(w, r, name, status)
	}
	var page bytes.Buffer
	if err := p.templates[name].ExecuteTemplate(&page, "layout.html", data); err != nil {
		route.NoteError(r.Context(), "internal", fmt.Errorf("make the page %s: %w", name, err))
		http.Error(w, "This page could not be made.", http.StatusInternalServerError)
		return
	}
	setHeaders(w, to...)
	h := w.Header()
	if f, ok := data.(interface{ script() bool }); ok && f.script() {
		h.Set("Content-Security-Policy", h.Get("Content-Security-Policy")+"; script-src 'self'; connect-src 'self'")
		h.Set("Permissions-Policy", route.PermissionsPolicy("publickey-credentials-get", "publickey-credentials-create", "clipboard-write"))
	} else if comforted[name] {
		h.Set("Content-Security-Policy", h.Get("Content-Security-Policy")+"; script-src 'self'")
		h.Set("Permissions-Policy", route.PermissionsPolicy("clipboard-write"))
	}
	if f, ok := data.(interface{ frameSources() string }); ok && f.frameSources() != "" {
		h.Set("Content-Security-Policy", h.Get("Content-Security-Policy")+"; frame-src "+f.frameSources())
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(page.Bytes()) // the browser went away: nobody is left to tell
	}
}

func setHeaders(w http.ResponseWriter, to ...string) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; object-src 'none'; form-action "+formAction(to)+"; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")
	route.PageHeaders(w.Header())
}

// formAction lists where a form may lead. Browsers hold the answer's redirects to it as well, so a client's address must
// stand there by its origin, or, if it has none that the policy's grammar can say, by its scheme.
func formAction(to []string) string {
	sources := "'self'"
	for _, address := range to {
		u, err := url.Parse(address)
		if err != nil || strings.Trim(u.Scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" || u.Scheme == "" {
			continue
		}
		switch {
		case (u.Scheme == "https" || u.Scheme == "http") && plainHost(u.Host):
			sources += " " + u.Scheme + "://" + u.Host
		case u.Scheme != "javascript" && u.Scheme != "data":
			sources += " " + u.Scheme + ":"
		}
	}
	return sources
}

func plainHost(host string) bool {
	return host != "" && strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-.:") == ""
}
