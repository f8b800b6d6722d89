package demo

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// shop is a web shop that lets people sign in through mintmark: a client as an application would have it, in as few lines
// as the standard allows. It is a public client, so it proves itself by PKCE alone. It keeps nothing: what it must know
// between two requests is in a cookie of the browser.
type shop struct {
	issuer   string
	clientID string
	own      string // its own address
	http     *http.Client
}

const shopCookie = "shop-login"

// openShop serves the shop until stop is called.
func openShop(issuer, clientID, addr string) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &shop{issuer: issuer, clientID: clientID, own: "http://" + addr, http: &http.Client{Timeout: 10 * time.Second}}
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", s.front)
	m.HandleFunc("GET /login", s.login)
	m.HandleFunc("GET /callback", s.callback)
	server := &http.Server{Handler: m, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with Close
	return func() { server.Close() }, nil
}

func (s *shop) front(w http.ResponseWriter, _ *http.Request) { s.show(w, http.StatusOK, shopPage{}) }

// login sends the browser to mintmark, with a state and a challenge that only this browser can answer for.
func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	state, verifier := rand.Text(), rand.Text()+rand.Text()
	http.SetCookie(w, &http.Cookie{Name: shopCookie, Value: state + "." + verifier, Path: "/callback", MaxAge: 600, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"client_id": {s.clientID}, "redirect_uri": {s.own + "/callback"}, "response_type": {"code"}, "scope": {"openid profile email sales_order.read"}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	http.Redirect(w, r, s.issuer+"/oauth2/authorize?"+q.Encode(), http.StatusSeeOther)
}

func (s *shop) callback(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: shopCookie, Path: "/callback", MaxAge: -1})
	q := r.URL.Query()
	if q.Get("error") != "" {
		s.show(w, http.StatusOK, shopPage{Problem: "mintmark answered " + q.Get("error") + ": " + q.Get("error_description")})
		return
	}
	cookie, err := r.Cookie(shopCookie)
	var state, verifier string
	if err == nil {
		state, verifier, _ = strings.Cut(cookie.Value, ".")
	}
	if state == "" || subtle.ConstantTimeCompare([]byte(state), []byte(q.Get("state"))) != 1 || q.Get("iss") != s.issuer {
		s.show(w, http.StatusBadRequest, shopPage{Problem: "This answer does not belong to a sign-in that began here."})
		return
	}
	p, err := s.whoCame(r.Context(), q.Get("code"), verifier)
	if err != nil {
		s.show(w, http.StatusBadGateway, shopPage{Problem: err.Error()})
		return
	}
	s.show(w, http.StatusOK, p)
}

// whoCame exchanges the code and asks who it is.
func (s *shop) whoCame(ctx context.Context, code, verifier string) (shopPage, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {s.own + "/callback"}, "client_id": {s.clientID}, "code_verifier": {verifier}}
	var token struct {
		AccessToken string `json:"access_token"`
		Scope       string `json:"scope"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := s.ask(ctx, http.MethodPost, "/oauth2/token", form, "", &token); err != nil {
		return shopPage{}, err
	}
	var who struct {
		Name  string `json:"name"`
		Email string `json:"email"`
		Sub   string `json:"sub"`
	}
	if err := s.ask(ctx, http.MethodGet, "/oauth2/userinfo", nil, token.AccessToken, &who); err != nil {
		return shopPage{}, err
	}
	return shopPage{Name: who.Name, Email: who.Email, Subject: who.Sub, Scope: token.Scope, Minutes: token.ExpiresIn / 60}, nil
}

func (s *shop) ask(ctx context.Context, method, path string, form url.Values, token string, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, s.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := s.http.Do(r)
	if err != nil {
		return errors.New("mintmark cannot be reached")
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", path, res.StatusCode)
	}
	return json.Unmarshal(body, answer)
}

// shopPage is what the shop shows: a problem, a person, or a button.
type shopPage struct {
	Problem, Name, Email, Subject, Scope string
	Minutes                              int
	Account                              string
}

var shopTemplate = template.Must(template.New("shop").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Web shop</title>
<style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem}a.button{display:inline-block;padding:.6rem 1.2rem;border:2px solid;border-radius:.4rem;text-decoration:none}dt{font-weight:600}</style>
</head><body><main><h1>Web shop</h1>
{{if .Problem}}<p id="shop-problem" role="alert">{{.Problem}}</p>{{end}}
{{if .Subject}}<p id="shop-welcome">Welcome, <strong>{{.Name}}</strong>.</p>
<dl><dt>E-mail</dt><dd id="shop-email">{{.Email}}</dd><dt>Known to this shop as</dt><dd>{{.Subject}}</dd>
<dt>May, for {{.Minutes}} minutes</dt><dd>{{.Scope}}</dd></dl>
<p><a href="{{.Account}}">What you allowed, and your devices</a></p>
{{else}}<p>This shop keeps no passwords.</p><p><a class="button" id="shop-login" href="/login">Sign in with mintmark</a></p>{{end}}
</main></body></html>
`))

func (s *shop) show(w http.ResponseWriter, status int, p shopPage) {
	p.Account = s.issuer + "/account"
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_ = shopTemplate.Execute(w, p) // the browser has gone, if this fails
}
