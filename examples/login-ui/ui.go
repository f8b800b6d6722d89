package main

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// ui is the pages.
type ui struct {
	mint    mint
	texts   map[string]string
	secure  bool
	cookie  string
	proxies []netip.Prefix // of this page, whose word about the browser's address is taken

	mu       sync.Mutex
	sessions map[string]session // by the cookie's value; owned by mu
}

// session is a browser, signed in if there is a token.
type session struct {
	token string // of mintmark; it never leaves this program
	form  string // stands in each form
}

const maxSessions = 10_000

func newUI(base, client string, texts map[string]string, secure bool, proxies ...netip.Prefix) http.Handler {
	u := &ui{mint: newMint(base, client), texts: texts, secure: secure, cookie: "login", proxies: proxies, sessions: map[string]session{}}
	if secure {
		u.cookie = "__Host-login"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sign-in", u.signInPage)
	mux.HandleFunc("POST /sign-in", u.signIn)
	mux.HandleFunc("GET /accept", u.acceptPage)
	mux.HandleFunc("POST /accept", u.accept)
	mux.HandleFunc("POST /sign-out", u.signOut)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+styleHash+"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 32<<10)
		mux.ServeHTTP(w, r)
	})
}

// request is what a client asks for, as it came in the address.
type request struct{ Client, Redirect, Scope, State, Challenge string }

// read takes the request from the query, or from the form that repeats it. Nothing of it is believed here: mintmark checks
// all of it.
func read(r *http.Request) (q request, bad string) {
	get := r.URL.Query().Get
	if r.Method == http.MethodPost {
		get = r.PostFormValue
	}
	q = request{get("client_id"), get("redirect_uri"), strings.Join(strings.Fields(get("scope")), " "), get("state"), get("code_challenge")}
	switch {
	case q.Client == "":
		return q, "The application did not say who it is."
	case q.Redirect == "":
		return q, "The application did not say where to send you back to."
	case q.Scope == "":
		return q, "The application did not say what it wants to do."
	case r.Method == http.MethodGet && get("response_type") != "code":
		return q, "The application asked for something else than a code."
	}
	return q, ""
}

// address is the address of a page for this request.
func (q request) address(path string) string {
	v := url.Values{"response_type": {"code"}, "client_id": {q.Client}, "redirect_uri": {q.Redirect}, "scope": {q.Scope}}
	if q.State != "" {
		v.Set("state", q.State)
	}
	if q.Challenge != "" {
		v.Set("code_challenge", q.Challenge)
	}
	return path + "?" + v.Encode()
}

// begin finds the session of the browser, or begins one.
func (u *ui) begin(w http.ResponseWriter, r *http.Request) session {
	if s, _, ok := u.current(r); ok {
		return s
	}
	s := session{form: rand.Text()}
	u.put(w, s)
	return s
}

// put begins a session under a new name: what a browser had before never becomes signed in.
func (u *ui) put(w http.ResponseWriter, s session) {
	name := rand.Text()
	u.mu.Lock()
	for old := range u.sessions {
		if len(u.sessions) < maxSessions {
			break
		}
		delete(u.sessions, old) // any: who is signed out signs in again
	}
	u.sessions[name] = s
	u.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: u.cookie, Value: name, Path: "/", HttpOnly: true, Secure: u.secure, SameSite: http.SameSiteLaxMode})
}

func (u *ui) current(r *http.Request) (s session, name string, ok bool) {
	c, err := r.Cookie(u.cookie)
	if err != nil {
		return session{}, "", false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok = u.sessions[c.Value]
	return s, c.Value, ok
}

func (u *ui) end(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.sessions, name)
}

// ours tells whether a form comes from a page of this browser's session.
func (u *ui) ours(r *http.Request) (s session, name string, ok bool) {
	s, name, ok = u.current(r)
	return s, name, ok && subtle.ConstantTimeCompare([]byte(s.form), []byte(r.PostFormValue("form"))) == 1
}

// signInPage shows the form, or goes on if the browser is signed in.
func (u *ui) signInPage(w http.ResponseWriter, r *http.Request) {
	q, bad := read(r)
	if bad != "" {
		u.show(w, http.StatusBadRequest, view{Title: "That did not work", Error: bad})
		return
	}
	s := u.begin(w, r)
	if s.token != "" {
		http.Redirect(w, r, q.address("/accept"), http.StatusSeeOther)
		return
	}
	u.show(w, http.StatusOK, view{Title: "Sign in", Form: s.form, Request: &q, SignIn: true})
}

func (u *ui) signIn(w http.ResponseWriter, r *http.Request) {
	s, name, ok := u.ours(r)
	q, bad := read(r)
	if !ok || bad != "" {
		u.show(w, http.StatusForbidden, view{Title: "That did not work", Error: "This form is over. Go back to the application and try again."})
		return
	}
	email := strings.TrimSpace(r.PostFormValue("email"))
	token, err := u.mint.of(u.browserAddress(r)).signIn(r.Context(), email, r.PostFormValue("password"))
	if err != nil {
		status, text := explain(err)
		u.show(w, status, view{Title: "Sign in", Form: s.form, Request: &q, SignIn: true, Email: email, Error: text})
		return
	}
	u.end(name)
	u.put(w, session{token: token, form: rand.Text()})
	http.Redirect(w, r, q.address("/accept"), http.StatusSeeOther)
}

// explain says what went wrong in words for people.
func explain(err error) (status int, text string) {
	var no *refused
	switch {
	case !errors.As(err, &no):
		return http.StatusBadGateway, "The login service cannot be reached. Please try again in a moment."
	case no.Type == "mfa_required":
		return http.StatusForbidden, "Your account is protected by more than a password. Please use the main login page."
	case no.status == http.StatusTooManyRequests:
		return no.status, "Too many wrong passwords. Please wait " + no.retry + " seconds."
	case no.Type == "invalid_grant":
		return http.StatusUnauthorized, "E-mail address or password is wrong."
	case no.Type == "invalid_scope":
		return http.StatusForbidden, "You may not use this page."
	case no.status >= http.StatusInternalServerError:
		return http.StatusBadGateway, "The login service does not work just now. Please try again in a moment."
	}
	return http.StatusBadRequest, "The application that sent you here made a mistake: " + no.Message
}

// question is what must be known before anybody is asked, or sent anywhere: who it is, and that the client is there and the
// address its own. ok is false if the answer was given.
func (u *ui) question(w http.ResponseWriter, r *http.Request, s session, name string, q request) (who user, c client, ok bool) {
	who, err := u.mint.of(u.browserAddress(r)).who(r.Context(), s.token)
	if over(err) {
		u.end(name)
		http.Redirect(w, r, q.address("/sign-in"), http.StatusSeeOther)
		return who, c, false
	}
	if err == nil {
		c, err = u.mint.of(u.browserAddress(r)).details(r.Context(), s.token, q.Client)
	}
	if err != nil {
		status, text := explain(err)
		u.show(w, status, view{Title: "That did not work", Error: text})
		return who, c, false
	}
	if base, _, _ := strings.Cut(q.Redirect, "?"); q.Redirect != c.RedirectURI && base != c.RedirectURI {
		u.show(w, http.StatusBadRequest, view{Title: "That did not work", Error: "The application wants you sent back to an address that is not its own."})
		return who, c, false
	}
	return who, c, true
}

func over(err error) bool {
	var no *refused
	return errors.As(err, &no) && no.status == http.StatusUnauthorized
}

// scope is one in words.
type scope struct{ Name, Text string }

// acceptPage asks for what is new. If all was allowed before, it goes on by itself.
func (u *ui) acceptPage(w http.ResponseWriter, r *http.Request) {
	q, bad := read(r)
	if bad != "" {
		u.show(w, http.StatusBadRequest, view{Title: "That did not work", Error: bad})
		return
	}
	s, name, _ := u.current(r)
	if s.token == "" {
		http.Redirect(w, r, q.address("/sign-in"), http.StatusSeeOther)
		return
	}
	who, c, ok := u.question(w, r, s, name, q)
	if !ok {
		return
	}
	before, err := u.mint.of(u.browserAddress(r)).allowed(r.Context(), s.token, q.Client)
	if err != nil {
		status, text := explain(err)
		u.show(w, status, view{Title: "That did not work", Error: text})
		return
	}
	v := view{Title: "Allow " + c.Name, Form: s.form, Request: &q, Client: c.Name, Email: who.Email}
	for name := range strings.FieldsSeq(q.Scope) {
		if slices.Contains(before, name) {
			continue
		}
		text := u.texts[name]
		if text == "" {
			text = name
		}
		v.Scopes = append(v.Scopes, scope{name, text})
	}
	if len(v.Scopes) == 0 {
		u.goOn(w, r, s, q)
		return
	}
	w.Header().Set("Content-Security-Policy", strings.Replace(w.Header().Get("Content-Security-Policy"), "form-action 'self'", "form-action 'self' "+origin(q.Redirect), 1))
	u.show(w, http.StatusOK, v)
}

// origin is where the form leads in the end; browsers want it in the policy.
func origin(address string) string {
	t, err := url.Parse(address)
	if err != nil || t.Host == "" || strings.ContainsAny(t.Host, "; ,'\"") {
		return ""
	}
	return t.Scheme + "://" + t.Host
}

// accept takes the answer of the person.
func (u *ui) accept(w http.ResponseWriter, r *http.Request) {
	s, name, ok := u.ours(r)
	q, bad := read(r)
	if !ok || s.token == "" || bad != "" {
		u.show(w, http.StatusForbidden, view{Title: "That did not work", Error: "This form is over. Go back to the application and try again."})
		return
	}
	if _, _, ok := u.question(w, r, s, name, q); !ok {
		return
	}
	if r.PostFormValue("decision") != "allow" {
		to := q.Redirect + "?"
		if strings.Contains(q.Redirect, "?") {
			to = q.Redirect + "&"
		}
		to += "error=access_denied"
		if q.State != "" {
			to += "&state=" + url.QueryEscape(q.State)
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	u.goOn(w, r, s, q)
}

// goOn allows it and sends the browser back with the code.
func (u *ui) goOn(w http.ResponseWriter, r *http.Request, s session, q request) {
	location, err := u.mint.of(u.browserAddress(r)).approve(r.Context(), s.token, q)
	if err != nil {
		status, text := explain(err)
		u.show(w, status, view{Title: "That did not work", Error: text})
		return
	}
	http.Redirect(w, r, location, http.StatusSeeOther)
}

func (u *ui) signOut(w http.ResponseWriter, r *http.Request) {
	_, name, ok := u.ours(r)
	if ok {
		u.end(name)
	}
	u.show(w, http.StatusOK, view{Title: "Signed out", Note: "You are signed out of this page."})
}

// view is what a page shows.
type view struct {
	Title, Error, Note  string
	Form, Email, Client string
	SignIn              bool
	Request             *request
	Scopes              []scope
}

func (u *ui) show(w http.ResponseWriter, status int, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pages.Execute(w, v) // the browser is gone if it fails
}

var pages = template.Must(template.New("page").Parse(pageText))
