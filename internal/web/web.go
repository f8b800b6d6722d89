// Package web serves the pages for people.
//
// What it guards: pages are made by html/template alone, load nothing from anywhere else, run no script, and carry the
// same strict headers whether they answer 200 or 404. The front page is public, so it tells what runs where and nothing
// about applications, people or credentials.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed static/style.css
var stylesheet []byte

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
}

// Pages holds the parsed templates and the address of the stylesheet, which changes with its content.
type Pages struct {
	info      Info
	home      *template.Template
	notFound  *template.Template
	stylePath string
}

// New parses the pages; a template that does not parse is a bug found at start.
func New(info Info) (*Pages, error) {
	sum := sha256.Sum256(stylesheet)
	p := &Pages{info: info, stylePath: "/static/style-" + hex.EncodeToString(sum[:6]) + ".css"}
	var err error
	if p.home, err = template.ParseFS(pageFiles, "pages/layout.html", "pages/home.html"); err != nil {
		return nil, fmt.Errorf("parse the front page: %w", err)
	}
	if p.notFound, err = template.ParseFS(pageFiles, "pages/layout.html", "pages/not_found.html"); err != nil {
		return nil, fmt.Errorf("parse the page for a wrong address: %w", err)
	}
	return p, nil
}

// StylePath is the address of the stylesheet.
func (p *Pages) StylePath() string { return p.stylePath }

// Style serves the stylesheet; it may be kept for ever, because its address changes with its content.
func (p *Pages) Style(w http.ResponseWriter, r *http.Request) {
	setHeaders(w)
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(stylesheet))
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
	{"Management", []endpoint{
		{"The API, to read", "GET", "/api/docs", "every operation with its rights"},
		{"The API, for programs", "GET", "/api/openapi.json", "OpenAPI 3.1"},
	}},
}

type homeData struct {
	Title, Style string
	Info         Info
	Uptime       string
	Problem      string
	Groups       []group
}

// Home is the page at /: what runs where.
func (p *Pages) Home(w http.ResponseWriter, r *http.Request) {
	d := homeData{Title: "mintmark", Style: p.stylePath, Info: p.info, Groups: directory,
		Uptime: clock.Since(p.info.Clock, p.info.Started).Round(time.Second).String()}
	if err := p.info.Ready(); err != nil {
		d.Problem = err.Error()
	}
	p.show(w, r, http.StatusOK, p.home, d)
}

// NotFound is the page for an address that leads nowhere.
func (p *Pages) NotFound(w http.ResponseWriter, r *http.Request) {
	p.show(w, r, http.StatusNotFound, p.notFound, homeData{Title: "Not found", Style: p.stylePath})
}

// show renders into memory first, so that a failing template never sends half a page.
func (p *Pages) show(w http.ResponseWriter, r *http.Request, status int, t *template.Template, data any) {
	var page bytes.Buffer
	if err := t.ExecuteTemplate(&page, "layout.html", data); err != nil {
		http.Error(w, "This page could not be made.", http.StatusInternalServerError)
		return
	}
	setHeaders(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(page.Bytes())
	}
}

func setHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}
