package route

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS []byte

var docsPage = template.Must(template.New("docs").Funcs(template.FuncMap{"prose": prose}).Parse(docsHTML))

// prose is text in which `this` is code. Everything is escaped first.
func prose(text string) template.HTML {
	parts := strings.Split(template.HTMLEscapeString(text), "`")
	var b strings.Builder
	for i, part := range parts {
		if i%2 == 1 && i < len(parts)-1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String()) //nolint:gosec // escaped above
}

// OpenAPI is the OpenAPI 3.1 document of everything registered so far, indented and in a fixed order.
func (m *Mux) OpenAPI() ([]byte, error) {
	b, err := json.Marshal(m.api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("write OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return nil, fmt.Errorf("indent OpenAPI document: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// serveDocs serves the document and a page to read it. Both are public: they say what the program can do, which is no
// secret, and nothing about what it holds. They are made at the first request, when everything is registered.
func (m *Mux) serveDocs() {
	m.HandleAlways("GET /api/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		m.specOnce.Do(func() {
			m.spec, m.specErr = m.OpenAPI()
			sum := sha256.Sum256(m.spec)
			m.specETag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		})
		if m.specErr != nil {
			WriteProblem(w, r, m.specErr)
			return
		}
		serveStatic(w, r, "application/json", m.specETag, m.spec)
	})
	m.HandleAlways("GET /api/docs", func(w http.ResponseWriter, r *http.Request) {
		m.docsOnce.Do(func() { m.docs, m.docsErr = m.renderDocs() })
		if m.docsErr != nil {
			WriteProblem(w, r, m.docsErr)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		serveStatic(w, r, "text/html; charset=utf-8", "", m.docs)
	})
	m.HandleAlways("GET /api/docs.css", func(w http.ResponseWriter, r *http.Request) {
		serveStatic(w, r, "text/css; charset=utf-8", "", docsCSS)
	})
}

func serveStatic(w http.ResponseWriter, r *http.Request, kind, etag string, body []byte) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	if etag != "" {
		h.Set("ETag", etag)
		if slices.Contains(strings.Fields(strings.ReplaceAll(r.Header.Get("If-None-Match"), ",", " ")), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client went away
	}
}

// What the page shows. It is made from the same document that programs read, so that the two cannot differ.
type (
	docsView struct {
		Title, Version, Description string
		Sections                    []docsSection
		Schemas                     []docsSchema
	}
	docsSection struct {
		Tag string
		Ops []docsOp
	}
	docsOp struct {
		Method, Path, ID, Summary, Description, Action string
		Params                                         []docsField
		Body                                           docsType
		Answers                                        []docsAnswer
	}
	docsAnswer struct {
		Status, Description string
		Body                docsType
	}
	docsField struct {
		Name, In, Description string
		Required              bool
		Type                  docsType
		Rules                 string
	}
	docsType   struct{ Text, Ref string }
	docsSchema struct {
		Name   string
		Fields []docsField
	}
)

func (m *Mux) renderDocs() ([]byte, error) {
	spec := m.api.OpenAPI()
	view := docsView{Title: spec.Info.Title, Version: spec.Info.Version, Description: spec.Info.Description}
	byTag := map[string][]docsOp{}
	for _, path := range sortedKeys(spec.Paths) {
		item := spec.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			tag := "Other"
			if len(op.Tags) > 0 {
				tag = op.Tags[0]
			}
			byTag[tag] = append(byTag[tag], describe(op))
		}
	}
	for _, tag := range sortedKeys(byTag) {
		view.Sections = append(view.Sections, docsSection{tag, byTag[tag]})
	}
	schemas := spec.Components.Schemas.Map()
	for _, name := range sortedKeys(schemas) {
		view.Schemas = append(view.Schemas, docsSchema{name, describeFields(schemas[name])})
	}
	var page bytes.Buffer
	if err := docsPage.Execute(&page, view); err != nil {
		return nil, fmt.Errorf("render API page: %w", err)
	}
	return page.Bytes(), nil
}

func describe(op *huma.Operation) docsOp {
	d := docsOp{Method: op.Method, Path: op.Path, ID: op.OperationID, Summary: op.Summary, Description: op.Description}
	d.Action, _ = op.Extensions["x-action"].(string)
	for _, p := range op.Parameters {
		d.Params = append(d.Params, docsField{p.Name, p.In, p.Description, p.Required, typeOf(p.Schema), rules(p.Schema)})
	}
	if op.RequestBody != nil {
		if media := op.RequestBody.Content["application/json"]; media != nil {
			d.Body = typeOf(media.Schema)
		}
	}
	for _, status := range sortedKeys(op.Responses) {
		a := docsAnswer{Status: status, Description: op.Responses[status].Description}
		for _, kind := range sortedKeys(op.Responses[status].Content) {
			a.Body = typeOf(op.Responses[status].Content[kind].Schema)
		}
		d.Answers = append(d.Answers, a)
	}
	return d
}

func describeFields(s *huma.Schema) []docsField {
	var fields []docsField
	for _, name := range sortedKeys(s.Properties) {
		p := s.Properties[name]
		fields = append(fields, docsField{Name: name, Description: p.Description, Required: slices.Contains(s.Required, name), Type: typeOf(p), Rules: rules(p)})
	}
	return fields
}

// typeOf names a schema's type, and the schema it refers to.
func typeOf(s *huma.Schema) docsType {
	switch {
	case s == nil:
		return docsType{}
	case s.Ref != "":
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return docsType{Text: name, Ref: name}
	case s.Type == "array":
		item := typeOf(s.Items)
		return docsType{Text: "list of " + item.Text, Ref: item.Ref}
	case s.Format != "":
		return docsType{Text: s.Type + " (" + s.Format + ")"}
	}
	return docsType{Text: s.Type}
}

// rules writes down what a value must be like.
func rules(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	var out []string
	if s.Pattern != "" {
		out = append(out, "matches "+s.Pattern)
	}
	if len(s.Enum) > 0 {
		words := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			words[i] = fmt.Sprint(v)
		}
		out = append(out, "one of "+strings.Join(words, ", "))
	}
	if s.Minimum != nil {
		out = append(out, fmt.Sprintf("at least %v", *s.Minimum))
	}
	if s.Maximum != nil {
		out = append(out, fmt.Sprintf("at most %v", *s.Maximum))
	}
	if s.MaxLength != nil {
		out = append(out, fmt.Sprintf("at most %d characters", *s.MaxLength))
	}
	if s.MaxItems != nil {
		out = append(out, fmt.Sprintf("at most %d", *s.MaxItems))
	}
	if s.Default != nil {
		out = append(out, fmt.Sprintf("default %v", s.Default))
	}
	return strings.Join(out, "; ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
