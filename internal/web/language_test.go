package web_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/web"
)

var (
	textOfTemplate = regexp.MustCompile(`\$\.T "((?:[^"\\]|\\.)*)"`)
	piece          = regexp.MustCompile(`(?s)\{\{.*?\}\}|<(?:\{\{.*?\}\}|[^>])*>`)
	readAloud      = regexp.MustCompile(`(?:aria-label|placeholder|title|alt)="([^"{}]*)"`)
	codeElement    = regexp.MustCompile(`(?s)<code.*?</code>|<span class="quiet">/livez[^<]*`)
	months         = "January February March April May June July August September October November December"
)

// TestTextsAreComplete holds that no text of a page bypasses the languages, that each language knows every text, and that
// none knows a text that nothing says.
func TestTextsAreComplete(t *testing.T) {
	used, source := map[string]bool{}, ""
	pages, err := filepath.Glob("pages/*.html")
	if err != nil || len(pages) < 15 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, name := range pages {
		text := read(t, name)
		for _, m := range textOfTemplate.FindAllStringSubmatch(text, -1) {
			used[strings.ReplaceAll(m[1], `\"`, `"`)] = true
		}
		bare := codeElement.ReplaceAllString(text, "")
		for _, m := range readAloud.FindAllStringSubmatch(bare, -1) {
			if regexp.MustCompile(`[a-z]{2}`).MatchString(m[1]) {
				t.Errorf("%s: %q does not go through T", name, m[1])
			}
		}
		for _, s := range piece.Split(bare, -1) {
			if s = strings.TrimSpace(s); regexp.MustCompile(`\pL{2}`).MatchString(s) && s != "mintmark" {
				t.Errorf("%s: %q does not go through T: write {{$.T \"...\"}} and put it into text/*.txt", name, s)
			}
		}
	}
	sources, _ := filepath.Glob("*.go")
	for _, name := range sources {
		if !strings.HasSuffix(name, "_test.go") {
			source += read(t, name)
		}
	}
	for _, m := range regexp.MustCompile(`(?:fill|words|p\.frame|p\.scripted)\("((?:[^"\\]|\\.)*)"[,)]|p\.person\(w, r, "([^"]*)"|Problem = [^,\n]*, "([^"]*)"$|problem = "([^"]*)"$`).FindAllStringSubmatch(source, -1) {
		used[m[1]+m[2]+m[3]+m[4]] = true
	}
	for _, m := range regexp.MustCompile(`"([A-Z][^"]* [^"]*|by [^"]*)"`).FindAllStringSubmatch(read(t, "activity.go"), -1) {
		used[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`"((?:See|Know|Keep|Show) [^"]*\.)"`).FindAllStringSubmatch(scopeTexts(t), -1) {
		used[m[1]] = true
	}
	delete(used, "mintmark")
	for _, m := range strings.Fields(months) {
		used["{0} "+m+" {1}"] = true
	}
	for _, unit := range []string{"days", "hours", "minutes"} {
		used["{0} "+unit] = true
	}
	for _, language := range web.Languages()[1:] {
		texts, err := web.ParseTexts(read(t, "text/"+language+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		for text := range used {
			if texts[text] == "" {
				t.Errorf("%s: no text for %q", language, text)
			}
		}
		for text, translated := range texts {
			if !used[text] && !strings.HasPrefix(text, "[") && !strings.Contains(source, `"`+strings.ReplaceAll(text, `"`, `\"`)+`"`) && !elsewhere(t, text) {
				t.Errorf("%s: nothing says %q", language, text)
			}
			gaps := regexp.MustCompile(`\{\d\}|<[^>]*>`)
			a, b := gaps.FindAllString(text, -1), gaps.FindAllString(translated, -1)
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(a, b) && !strings.HasPrefix(text, "[") {
				t.Errorf("%s: the gaps and the markup of %q are others in %q", language, text, translated)
			}
		}
		for _, code := range codes(t) {
			if texts["["+code+"]"] == "" {
				t.Errorf("%s: no text for the refusal [%s]", language, code)
			}
		}
	}
}

// elsewhere tells whether a text is what a domain package answers, or the label of a standard realm.
func elsewhere(t *testing.T, text string) bool {
	return text == "Employees" || text == "Customers" || strings.Contains(domain(t)+scopeTexts(t), `"`+text+`"`)
}

// scopeTexts are the sources that say what a client asks for, beside the catalog.
func scopeTexts(t *testing.T) string {
	return read(t, "../oauth/people.go") + read(t, "../oauth/claimsparam.go") + read(t, "../app/join_claims.go") + read(t, "../identity/attributes/claims.go")
}

func domain(t *testing.T) (all string) {
	for _, pattern := range []string{"../identity/*.go", "../identity/session/*.go", "../identity/mfa/*.go", "../identity/account/*.go", "../identity/federation/*.go"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") {
				all += read(t, name)
			}
		}
	}
	return all
}

// codes are the refusals that people can meet at a page. Those of the API alone are left out.
func codes(t *testing.T) (list []string) {
	api := []string{"access_key_not_found", "invalid_token", "label", "no_access_keys", "too_many_access_keys", "too_many_versions", "ttl", "version_exists",
		"search", "group_not_found", "has_password", "too_many_invitations", "user_disabled", "reason", "too_many", "provider_issuer", "client_secret", "directory_name_taken"}
	for _, m := range regexp.MustCompile(`fault\.New\(fault\.\w+, "([a-z_]+)"`).FindAllStringSubmatch(domain(t), -1) {
		if !slices.Contains(api, m[1]) {
			list = append(list, m[1])
		}
	}
	return append(list, "invalid_request", "invalid_client", "invalid_scope", "unauthorized_client", "access_denied", "login_required", "server_error", "temporarily_unavailable", "internal")
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestLanguages holds the order in which a language is chosen, and that a choice stays.
func TestLanguages(t *testing.T) {
	s := newSite(t, dbtest.Engines(t)[0])
	const german, english = `<html lang="de">`, `<html lang="en">`
	is := func(a answer, want string) {
		t.Helper()
		if !strings.Contains(a.body, want) || a.Header().Get("Content-Language") != want[12:14] {
			t.Fatalf("not %s, but %q: %.200s", want, a.Header().Get("Content-Language"), a.body)
		}
	}
	b := s.browser()
	is(b.get("/login"), english)
	is(b.do("GET", "/login", nil, "Accept-Language", "fr, de-AT;q=0.8, en;q=0.5"), german)
	is(b.do("GET", "/login", nil, "Accept-Language", "de;q=0, en;q=x, ;;,,"), english)
	if len(b.cookies) != 1 { // the one of forms
		t.Fatalf("nobody chose, and it was kept: %v", b.cookies)
	}
	is(b.get("/login?ui_locales=fr-CA+de-DE+en"), german)
	is(b.get("/login"), german)
	is(b.get("/login?lang=en&ui_locales=de"), english)
	is(b.do("GET", "/missing", nil, "Accept-Language", "de"), english)
	is(b.get("/login?lang=en"), english)
	is(b.get("/login?return_to=%2Foauth2%2Fauthorize%3Fui_locales%3Dde"), german)
	is(b.get("/login?lang=xx"), german)
	if page := b.get("/login?login_hint=%22%3E%3Cscript%3E&realm=customers").body; !strings.Contains(page, `href="?lang=en&amp;login_hint=%22%3E%3Cscript%3E&amp;realm=customers"`) {
		t.Errorf("the link to the other language loses what the page is about:\n%s", page)
	}
}

// TestRefusalsInGerman holds that what was said with numbers and codes is said in German as well, with nothing unescaped.
func TestRefusalsInGerman(t *testing.T) {
	s := newSite(t, dbtest.Engines(t)[0])
	s.person("jane", evil)
	b := s.browser()
	b.get("/login?lang=de")
	a := b.signIn("/login", "jane", wrong)
	if !strings.Contains(a.body, "Der Name oder das Passwort stimmt nicht, oder das Konto ist gesperrt.") {
		t.Errorf("not in German: %s", a.body)
	}
	s.failure = "The redirect URI <b>is</b> not one of the client's."
	page := b.get("/fails").body
	for _, want := range []string{"hat nicht richtig gefragt", "<code id=\"error-code\">invalid_request</code>", `<dd lang="en">The redirect URI &lt;b&gt;is&lt;/b&gt; not one of the client&#39;s.</dd>`, "Gehen Sie dorthin zurück", `id="request-id"`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q on\n%s", want, page)
		}
	}
	b.cookies = map[string]string{}
	b.signIn("/login", "jane", janes).leads(t, "/account")
	if page = b.get("/account?lang=de").body; !strings.Contains(page, "22. November 2026, 12:00 Uhr UTC") || strings.Contains(page, "<script>") || strings.Contains(page, "\x1f") {
		t.Errorf("the account in German:\n%s", page)
	}
}

func FuzzAccepted(f *testing.F) {
	for _, seed := range []string{"de", "fr, de-AT;q=0.8, en;q=0.5", "de;q=0, en;q=x, ;;,,", "*", "de;q=NaN", strings.Repeat("de,", 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if l := web.Accepted(header); !slices.Contains(web.Languages(), l) {
			t.Errorf("%q gives %q", header, l)
		}
	})
}
