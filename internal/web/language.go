package web

import (
	"crypto/rand"
	"embed"
	"encoding/json"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/translation"
)

// The pages are written in English, in the templates and in the code; each other language has one file below text, with
// the English text, or the code of a refusal in brackets, and below it what stands for it there. Both may hold markup and
// gaps, such as {0}: they are ours. What fills the gaps, and any text that no file knows, is escaped.
//
//go:embed text/*.txt
var textFiles embed.FS

const (
	english        = "en"
	languageYear   = 366 * 24 * 60 * 60
	maxLanguages   = 20 // that are read of what a browser or a client lists
	languageCookie = "mintmark-language"
)

// languages are the texts of each language besides English, by the English text.
type languages map[string]map[string]string

// languageNames are how the languages call themselves, in the order in which they are offered.
var languageNames = []struct{ Tag, Name string }{{english, "English"}, {"de", "Deutsch"}}

func readLanguages() (languages, error) {
	out := languages{}
	for _, l := range languageNames[1:] {
		file, err := textFiles.ReadFile("text/" + l.Tag + ".txt")
		if err != nil {
			return nil, fmt.Errorf("read the texts in %s: %w", l.Name, err)
		}
		if out[l.Tag], err = translation.Parse(string(file)); err != nil {
			return nil, fmt.Errorf("read the texts in %s: %w", l.Name, err)
		}
	}
	return out, nil
}

// said is a text on its way to a page: it is put together there, in the language of who reads it.
type said struct {
	Code string   `json:"c,omitempty"` // of a refusal: names the text where its words are not known
	Text string   `json:"t"`
	Args []string `json:"a,omitempty"` // texts that are made by fill themselves are translated
}

// saidMark begins a text that is a said. Nobody outside can know it, so nothing that is said by others is taken for one.
var saidMark = "\x1f" + rand.Text()

func (s said) String() string {
	text, _ := json.Marshal(s) // strings alone
	return saidMark + string(text)
}

// fill is a text with gaps, and what fills them.
func fill(text string, args ...string) string { return said{Text: text, Args: args}.String() }

// words is a text that fills a gap of another and is to be translated like it.
func words(text string) string { return said{Text: text}.String() }

// join lists texts.
func join(list []string) string {
	if len(list) == 0 {
		return ""
	}
	gaps := make([]string, len(list))
	for i, text := range list {
		gaps[i], list[i] = "{"+strconv.Itoa(i)+"}", words(text)
	}
	return fill(strings.Join(gaps, ", "), list...)
}

// coded is a text that the code of a refusal stands for where its words are not known.
func coded(code, text string) string {
	if strings.HasPrefix(text, saidMark) {
		return text
	}
	return said{Code: code, Text: text}.String()
}

// told is what a refusal says.
func told(f *fault.Error) string { return coded(f.Code, f.Detail) }

// reader is who reads a page: it chooses the language and the look. The page's templates ask it for every text.
type reader struct {
	pages     *Pages
	realm     string // that the page knows; "": see realmOf
	Language  string
	Languages []languageLink
	Look      *look.Look
	Comfort   string // address of the script, or ""
	Support   string // the request's id, on a page that refuses something
}

type languageLink struct {
	Tag, Name, Address string
	Here               bool
}

// meet finds the language: what the footer's link asked for, then what the client asked for (ui_locales of OpenID Connect
// Core 1.0, section 3.1.2.1), then the cookie, then the browser. The first two are kept in the cookie, so that the answer
// to a form is in the language of the form.
func (d *reader) meet(w http.ResponseWriter, r *http.Request, name string, status int) {
	d.Look = d.pages.info.Looks.Of(d.pages.realmOf(r, d.realm))
	if comforted[name] {
		d.Comfort = d.pages.comforts
	}
	if status >= http.StatusBadRequest && name != "error" { // which has it among its facts
		d.Support = route.RequestID(r.Context())
	}
	q := r.URL.Query()
	kept := ""
	if c, err := r.Cookie(d.pages.cookieName(languageCookie)); err == nil {
		kept = spoken(c.Value)
	}
	asked, age := spoken(q.Get("lang")), languageYear
	if asked == "" {
		asked, age = spoken(q.Get("ui_locales")), 0
	}
	if asked == "" {
		if to, err := url.Parse(returnTo(q.Get("return_to"))); err == nil {
			asked = spoken(to.Query().Get("ui_locales"))
		}
	}
	switch {
	case asked != "":
		d.Language = asked
		if asked != kept {
			d.pages.speak(w, asked, age)
		}
	case kept != "":
		d.Language = kept
	default:
		d.Language = accepted(r.Header.Get("Accept-Language"))
	}
	w.Header().Set("Content-Language", d.Language)
	d.Languages = d.links(r)
}

// speak has the browser keep the language for so many seconds; 0: until it is closed.
func (p *Pages) speak(w http.ResponseWriter, tag string, age int) {
	p.setCookie(w, languageCookie, tag, age)
}

// links lead to the same page in each language. The answer to a form has none but the login's: what it shows cannot be
// asked for again.
func (d *reader) links(r *http.Request) (links []languageLink) {
	q := r.URL.Query()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if r.URL.Path != "/login" {
			return nil
		}
		q = url.Values{"return_to": {returnTo(r.PostForm.Get("return_to"))}}
	}
	q.Del("done") // it was said
	for _, l := range languageNames {
		q.Set("lang", l.Tag)
		links = append(links, languageLink{l.Tag, l.Name, "?" + q.Encode(), l.Tag == d.Language})
	}
	return links
}

// languageOf is the language of whoever sends a form: that which the cookie keeps, or the browser's.
func (p *Pages) languageOf(r *http.Request) string {
	if c, err := r.Cookie(p.cookieName(languageCookie)); err == nil {
		if kept := spoken(c.Value); kept != "" {
			return kept
		}
	}
	return accepted(r.Header.Get("Accept-Language"))
}

// spoken is the first language of a list, with spaces between, that the pages speak, or "".
func spoken(list string) string {
	for i, tag := range strings.Fields(list) {
		base, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if i >= maxLanguages {
			break
		}
		for _, l := range languageNames {
			if l.Tag == base {
				return l.Tag
			}
		}
	}
	return ""
}

// accepted reads Accept-Language (RFC 9110, section 12.5.4): the language of the greatest weight that the pages speak.
func accepted(header string) string {
	best, weight := english, 0.0
	for i, part := range strings.Split(header, ",") {
		if i >= maxLanguages {
			break
		}
		tag, q, has := strings.Cut(part, ";")
		w := 1.0
		if has {
			v, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(q), "q="), 64)
			if err != nil {
				continue
			}
			w = v
		}
		if l := spoken(tag); l != "" && w > weight && w <= 1 {
			best, weight = l, w
		}
	}
	return best
}

// T is a text in the page's language, with its gaps filled.
func (d *reader) T(text string, args ...any) template.HTML {
	s := said{Text: text}
	if encoded, is := strings.CutPrefix(text, saidMark); is {
		if json.Unmarshal([]byte(encoded), &s) != nil {
			return "" // somebody else wrote it
		}
	}
	for _, a := range args {
		s.Args = append(s.Args, fmt.Sprint(a))
	}
	out := d.find(s)
	filled := make([]string, len(s.Args))
	for i, a := range s.Args {
		filled[i] = html.EscapeString(a)
		if strings.HasPrefix(a, saidMark) {
			filled[i] = string(d.T(a))
		}
	}
	return template.HTML(translation.Fill(out, filled)) //nolint:gosec // ours, or escaped: see find
}

// find is the text with its gaps, as a part of a page. Markup counts in texts of ours alone: those that the files know.
func (d *reader) find(s said) string {
	_, known := d.pages.languages["de"][s.Text] // every language knows the same texts
	if d.Language == english || d.Language == "" {
		if known {
			return s.Text
		}
		return html.EscapeString(s.Text)
	}
	if known {
		return d.pages.languages[d.Language][s.Text]
	}
	if byCode := d.pages.languages[d.Language]["["+s.Code+"]"]; s.Code != "" && byCode != "" {
		return byCode
	}
	return html.EscapeString(s.Text)
}

// Original is the English words of a refusal that the page says in other words, for who is to help; "" if there is no
// need for them.
func (d *reader) Original(text string) string {
	var s said
	encoded, is := strings.CutPrefix(text, saidMark)
	if !is || d.Language == english || json.Unmarshal([]byte(encoded), &s) != nil {
		return ""
	}
	if _, known := d.pages.languages[d.Language][s.Text]; known {
		return ""
	}
	return s.Text
}

// Languages that the pages speak, as tags of BCP 47.
func Languages() []string {
	var tags []string
	for _, l := range languageNames {
		tags = append(tags, l.Tag)
	}
	return slices.Clip(tags)
}
