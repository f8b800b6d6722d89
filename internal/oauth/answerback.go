package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

// back sends the browser back to the client with the answer. state and iss (RFC 9207) go with each, so that a client of
// several servers knows whose answer it is. The redirect is a 303: the browser never repeats a form to the client.
func (p *people) back(w http.ResponseWriter, r *http.Request, q *authRequest, answer ...parameter) {
	if q.state != nil {
		answer = append(answer, parameter{"state", *q.state})
	}
	if q.signed {
		signed, err := p.signAnswer(r.Context(), q.client, answer)
		if err != nil { // nothing can be told to the client in the form that it trusts
			p.refusePage(w, r, err)
			return
		}
		answer = []parameter{signed}
	} else {
		answer = append(answer, parameter{"iss", p.s.issuer})
	}
	if q.mode == modeFormPost {
		p.formPost(w, r, q.redirect, answer)
		return
	}
	var b strings.Builder
	for i, a := range answer {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(a.name + "=" + url.QueryEscape(a.value))
	}
	separator := "?"
	switch {
	case q.mode == modeFragment:
		separator = "#"
	case strings.HasSuffix(q.redirect, "?") || strings.HasSuffix(q.redirect, "&"):
		separator = ""
	case strings.Contains(q.redirect, "?"):
		separator = "&"
	}
	to := q.redirect + separator + b.String()
	if twofold := q.twofold && q.mode == modeFragment && parameters(answer).get("error") != ""; twofold {
		to = q.redirect + "?" + b.String() + "#" + b.String() // see authRequest
	}
	redirect(w, to)
}

func redirect(w http.ResponseWriter, to string) {
	private(w.Header())
	w.Header()["Location"] = []string{to}
	w.WriteHeader(http.StatusSeeOther)
}

// refuseBack tells the client what was wrong.
func (p *people) refuseBack(w http.ResponseWriter, r *http.Request, q *authRequest, err error) {
	no := refusalOf(err)
	route.NoteError(r.Context(), no.code, no.cause)
	p.back(w, r, q, parameter{"error", no.code}, parameter{"error_description", no.description})
}

// refusePage tells the person, on a page of our own.
func (p *people) refusePage(w http.ResponseWriter, r *http.Request, err error) {
	no := refusalOf(err)
	switch f := fault.Of(err); f.Kind {
	case fault.Forbidden:
		no = &refusal{status: http.StatusForbidden, code: f.Code, description: f.Detail, cause: err}
	case fault.Invalid, fault.TooLarge: // a form that cannot be read
		no = &refusal{status: http.StatusBadRequest, code: f.Code, description: f.Detail, cause: err}
	}
	route.NoteError(r.Context(), no.code, no.cause)
	p.Pages.Error(w, r, no.status, no.code, no.description)
}

// submit is the whole script of the page that posts an answer, and submitHash is how the page's policy knows it.
const submit = `document.forms[0].submit()`

var submitHash = func() string {
	sum := sha256.Sum256([]byte(submit))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

var formPostPage = template.Must(template.New("form_post").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Going on</title></head><body>
<form method="post" action="{{.To}}">
{{range .Answer}}<input type="hidden" name="{{.Name}}" value="{{.Value}}">
{{end}}<noscript><p>You are signed in.</p><button id="continue" type="submit">Continue</button></noscript>
</form>
<script>` + submit + `</script>
</body></html>
`))

// formPost has the browser post the answer (OAuth 2.0 Form Post Response Mode). Without script there is a button.
func (p *people) formPost(w http.ResponseWriter, r *http.Request, to string, answer []parameter) {
	type field struct{ Name, Value string }
	fields := make([]field, 0, len(answer))
	for _, a := range answer {
		fields = append(fields, field{a.name, a.value})
	}
	target := "'self'"
	if u, err := url.Parse(to); err == nil {
		if target = u.Scheme + ":"; u.Host != "" && !strings.ContainsAny(u.Host, "[]") {
			target = u.Scheme + "://" + u.Host
		}
	}
	h := w.Header()
	private(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src "+submitHash+"; form-action "+target+"; base-uri 'none'; frame-ancestors 'none'")
	// The address was compared with the registered ones, whose scheme no browser runs.
	err := formPostPage.Execute(w, map[string]any{"To": template.URL(to), "Answer": fields})
	if err != nil {
		route.NoteError(r.Context(), serverError, err)
	}
}
