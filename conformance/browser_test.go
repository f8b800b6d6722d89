package conformance_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
)

// browser keeps cookies and follows redirects within the server; it stops where they leave it. It is used by one person.
type browser struct {
	http   *http.Client
	person *api.User
	asked  int // how often it was asked for a password
	agreed int // how often it was asked for consent
}

// page is where a browser has come to. Away from the server it is only an address.
type page struct {
	at       string // the path here, or the whole address elsewhere, without query and fragment
	base     *url.URL
	query    url.Values
	fragment url.Values
	status   int
	header   http.Header
	body     string
}

func newBrowser(t *testing.T, person *api.User) *browser {
	t.Helper()
	jar := must[*cookiejar.Jar](t, "jar")(cookiejar.New(nil))
	return &browser{person: person, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// newPersonsBrowser is the browser of a new person.
func newPersonsBrowser(t *testing.T) *browser {
	t.Helper()
	return newBrowser(t, newPerson(t))
}

func (b *browser) open(t *testing.T, address string) page {
	t.Helper()
	return b.follow(t, must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)))
}

func (b *browser) follow(t *testing.T, r *http.Request) page {
	t.Helper()
	host := r.URL.Host
	for range 12 {
		if r.URL.Host != host {
			elsewhere := *r.URL
			elsewhere.RawQuery, elsewhere.Fragment = "", ""
			fragment := must[url.Values](t, "fragment")(url.ParseQuery(r.URL.EscapedFragment()))
			return page{at: elsewhere.String(), query: r.URL.Query(), fragment: fragment}
		}
		res := must[*http.Response](t, r.URL.Path)(b.http.Do(r))
		body := must[[]byte](t, "body")(io.ReadAll(res.Body))
		res.Body.Close()
		if res.StatusCode == http.StatusTemporaryRedirect || res.StatusCode == http.StatusPermanentRedirect {
			t.Fatalf("%s: a redirect with %d repeats the form elsewhere", r.URL.Path, res.StatusCode)
		}
		if res.Header.Get("Location") == "" || res.StatusCode/100 != 3 {
			return page{at: r.URL.Path, base: r.URL, query: r.URL.Query(), status: res.StatusCode, header: res.Header, body: string(body)}
		}
		to := must[*url.URL](t, "location")(res.Location())
		r = must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), http.MethodGet, to.String(), nil))
	}
	t.Fatal("redirected in a circle")
	return page{}
}

var (
	formAction   = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)
	hiddenFields = regexp.MustCompile(`<input type="hidden"[^>]* name="([^"]*)" value="([^"]*)"`)
)

// form is the page's form: where it goes, and its hidden fields.
func (p page) form() (action string, fields url.Values) {
	found := formAction.FindStringSubmatch(p.body)
	if found == nil {
		return "", nil
	}
	fields = url.Values{}
	text, _, _ := strings.Cut(p.body[strings.Index(p.body, found[0]):], "</form>")
	for _, hidden := range hiddenFields.FindAllStringSubmatch(text, -1) {
		fields.Set(html.UnescapeString(hidden[1]), html.UnescapeString(hidden[2]))
	}
	return html.UnescapeString(found[1]), fields
}

// posts tells whether the page has the browser post an answer to the client.
func (p page) posts() bool {
	return p.status == http.StatusOK && strings.Contains(p.body, "document.forms[0].submit()")
}

// submit sends the page's form with the fields filled in.
func (b *browser) submit(t *testing.T, p page, filled url.Values) page {
	t.Helper()
	action, fields := p.form()
	if action == "" {
		t.Fatalf("no form at %s:\n%s", p.at, p.body)
	}
	for name, values := range filled {
		fields[name] = values
	}
	to := must[*url.URL](t, "action")(p.base.Parse(action))
	return b.post(t, to.String(), fields)
}

// post sends a form from a page of the server itself.
func (b *browser) post(t *testing.T, address string, fields url.Values) page {
	t.Helper()
	r := must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(fields.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.follow(t, r)
}

// walk opens an address, and does what a person does on the way: signs in, agrees, goes on with the same account.
func (b *browser) walk(t *testing.T, address string) page {
	t.Helper()
	return b.walkOn(t, b.open(t, address))
}

func (b *browser) walkOn(t *testing.T, p page) page {
	t.Helper()
	for range 6 {
		switch {
		case p.status != http.StatusOK, p.posts():
			return p
		case p.at == "/login":
			b.asked++
			p = b.submit(t, p, url.Values{"realm": {"customers"}, "username": {b.person.Username}, "password": {password}})
		case p.at == "/consent":
			b.agreed++
			p = b.submit(t, p, url.Values{"decision": {"allow"}})
		case p.at == "/select" || strings.HasSuffix(p.at, "/select_account"):
			p = b.submit(t, p, url.Values{"choice": {"continue"}})
		default:
			return p
		}
	}
	t.Fatalf("it goes on and on at %s", p.at)
	return page{}
}

// answered is what the client got: it checks that the browser was sent to the client, with state and issuer.
func (p page) answered(t *testing.T, ask string) url.Values {
	t.Helper()
	u := must[*url.URL](t, "request")(url.Parse(ask))
	sent := u.Query()
	got := p.query
	switch {
	case p.posts():
		action, fields := p.form()
		if action != sent.Get("redirect_uri") {
			t.Fatalf("the form goes to %s", action)
		}
		got = fields
	case p.at != strings.SplitN(sent.Get("redirect_uri"), "?", 2)[0]:
		t.Fatalf("not sent to the client, but to %d %s\n%s", p.status, p.at, p.body)
	case len(p.fragment) > 0:
		got = p.fragment
	}
	if got.Get("state") != sent.Get("state") {
		t.Errorf("state is %q, want %q", got.Get("state"), sent.Get("state"))
	}
	if got.Get("iss") != shared.issuer {
		t.Errorf("iss is %q", got.Get("iss"))
	}
	return got
}

// code signs the person in for an address, and answers the code.
func (b *browser) code(t *testing.T, ask string) string {
	t.Helper()
	got := b.walk(t, ask).answered(t, ask)
	if got.Get("code") == "" || got.Get("error") != "" {
		t.Fatalf("no code: %v", got)
	}
	return got.Get("code")
}

// refusedBack checks that the client was told this error and nothing else.
func (p page) refusedBack(t *testing.T, ask, code string) {
	t.Helper()
	got := p.answered(t, ask)
	if got.Get("error") != code || got.Has("code") || got.Has("access_token") || got.Has("id_token") {
		t.Errorf("the client was told %v, want error %s", got, code)
	}
}

// refusedHere checks that the person was told, and the client was not.
func (p page) refusedHere(t *testing.T, what string) {
	t.Helper()
	if p.status != http.StatusBadRequest || !strings.Contains(p.body, `id="error-code"`) || p.header.Get("Location") != "" {
		t.Errorf("%s: not a page of our own that says 400, but %d %s\n%.300s", what, p.status, p.at, p.body)
	}
}
