package mail

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/translation"
)

// Letters are written in English, in the code; each other language has one file below text (package translation).
//
//go:embed text/*.txt
var textFiles embed.FS

var texts = map[string]map[string]string{"de": readTexts("de")}

func readTexts(language string) map[string]string {
	file, err := textFiles.ReadFile("text/" + language + ".txt")
	if err != nil {
		panic(err) // it is embedded
	}
	found, err := translation.Parse(string(file))
	if err != nil {
		panic(fmt.Errorf("the letters in %s: %w", language, err)) // a test reads it as well
	}
	return found
}

// Languages that letters are written in, as tags of BCP 47.
func Languages() []string { return []string{"en", "de"} }

// gap stands between a text and what fills its gaps. It never is a part of these.
const gap = "\x1f"

// Fill is a text of a letter with gaps, and what fills them.
func Fill(text string, args ...string) string {
	for _, a := range args {
		text += gap + strings.ReplaceAll(a, gap, "")
	}
	return text
}

// in is a text in a language, with its gaps filled.
func in(language, text string) string {
	parts := strings.Split(text, gap)
	if translated, ok := texts[language][parts[0]]; ok {
		parts[0] = translated
	}
	return translation.Fill(parts[0], parts[1:])
}

func allIn(language string, list []string) []string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = in(language, text)
	}
	return out
}

// Message is a letter as it is delivered.
type Message struct {
	To       string
	FromName string // what the sender is called; "": as configured
	Language string
	Subject  string
	Text     string // for readers that show no HTML
	HTML     string
}

// page is what the template shows.
type page struct {
	Language, Title, Subject, Greeting, Label, Link, Copy string
	Lines, After                                          []string
	Links                                                 [][2]string // text and address
	Light, Dark                                           look.Scheme
	Top                                                   bool // links lead out of the frame that shows the letter
}

// Render puts the letter into its language and look.
func (l Letter) Render(looks *look.Set) (Message, error) { return l.render(looks, false) }

func (l Letter) render(looks *look.Set, top bool) (Message, error) {
	own := looks.Of(l.Realm)
	language := l.Language
	if !slices.Contains(Languages(), language) {
		language = own.Language()
	}
	p := page{
		Language: language, Title: own.Title, Subject: in(language, l.Subject), Greeting: in(language, "Hello,"), Lines: allIn(language, l.Lines),
		Label: in(language, l.Label), Link: l.Link, Copy: in(language, "Or copy this address into your browser:"), After: allIn(language, l.After),
		Light: own.Colours.Light, Dark: own.Colours.Dark, Top: top,
	}
	if l.Name != "" {
		p.Greeting = in(language, Fill("Hello {0},", l.Name))
	}
	for _, x := range [][2]string{{"Help", own.Help}, {"Privacy", own.Privacy}, {"Imprint", own.Imprint}} {
		if x[1] != "" {
			p.Links = append(p.Links, [2]string{in(language, x[0]), x[1]})
		}
	}
	m := Message{To: l.To, Language: language, Subject: p.Subject, Text: p.text()}
	if own.Own {
		m.FromName = own.Title
	}
	var b bytes.Buffer
	if err := letterPage.Execute(&b, p); err != nil {
		return Message{}, errors.New("make the letter's HTML") // the cause could quote the letter
	}
	m.HTML = b.String()
	return m, nil
}

func (p page) text() string {
	parts := append([]string{p.Greeting}, p.Lines...)
	if p.Link != "" {
		parts = append(parts, p.Label+":\n"+p.Link)
	}
	parts = append(parts, p.After...)
	foot := "-- \n" + p.Title
	for _, x := range p.Links {
		foot += "\n" + x[0] + ": " + x[1]
	}
	return strings.Join(append(parts, foot), "\n\n") + "\n"
}

// The look is that of the pages (internal/web/static/style.css). Many programs for mail read no stylesheets, so the light
// colours stand at each element; those that know dark pages take the dark ones from the head. The colours are computed by
// package look.
var letterPage = template.Must(template.New("letter").Parse(`<!doctype html>
<html lang="{{.Language}}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">{{if .Top}}<base target="_top">{{end}}<title>{{.Subject}}</title>
<style>:root{color-scheme:light dark}
@media (prefers-color-scheme:dark){.paper{background:#131417 !important;color:#ecebe6 !important}.card{background:#1b1d21 !important;border-color:#33353b !important}.quiet{color:#a9acb3 !important}.rule{border-color:#33353b !important}
.accent{color:{{.Dark.Accent}} !important}.fill{background:{{.Dark.Fill}} !important;color:{{.Dark.OnFill}} !important;border-color:{{.Dark.Accent}} !important}}</style></head>
<body class="paper" style="margin:0;padding:24px 12px;background:#f8f7f3;color:#1b1c20;font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif">
<div class="card" style="max-width:34rem;margin:0 auto;padding:28px;background:#ffffff;border:1px solid #e3e0d8;border-radius:16px;overflow-wrap:anywhere">
<p class="accent" style="margin:0 0 20px;font-weight:650;color:{{.Light.Accent}}">{{.Title}}</p>
<h1 style="font-size:22px;line-height:1.25;margin:0 0 16px">{{.Subject}}</h1>
<p>{{.Greeting}}</p>
{{range .Lines}}<p>{{.}}</p>
{{end}}{{if .Link}}<p style="margin:24px 0"><a class="fill" href="{{.Link}}" style="display:inline-block;padding:11px 22px;background:{{.Light.Fill}};color:{{.Light.OnFill}};border:1px solid {{.Light.Accent}};text-decoration:none;font-weight:600;border-radius:10px">{{.Label}}</a></p>
<p class="quiet" style="color:#5a5d65;font-size:14px">{{.Copy}} {{.Link}}</p>
{{end}}{{range .After}}<p class="quiet" style="color:#5a5d65">{{.}}</p>
{{end}}{{if .Links}}<p class="quiet rule" style="margin:24px 0 0;padding-top:16px;border-top:1px solid #e3e0d8;font-size:14px;color:#5a5d65">{{range $i, $x := .Links}}{{if $i}} · {{end}}<a class="quiet" href="{{index $x 1}}" style="color:#5a5d65">{{index $x 0}}</a>{{end}}</p>
{{end}}</div></body></html>
`))
