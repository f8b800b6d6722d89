package look

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path d="M0 0h4v4z"/></svg>`

// disk is a file system that counts.
type disk struct {
	files        map[string]string
	sizes, reads atomic.Int64
}

func (d *disk) options() Options {
	return Options{
		Size: func(path string) (int64, error) {
			d.sizes.Add(1)
			text, ok := d.files[path]
			if !ok {
				return 0, fmt.Errorf("%s: %w", path, os.ErrNotExist)
			}
			return int64(len(text)), nil
		},
		Read: func(path string) ([]byte, error) {
			d.reads.Add(1)
			if text, ok := d.files[path]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		},
	}
}

// A thousand realms start as fast as one: no logo is read before a page wants it, and each once.
func TestAThousandRealms(t *testing.T) {
	d := &disk{files: map[string]string{"shared.svg": svg}}
	realms := map[string]Settings{}
	for i := range 1000 {
		name := fmt.Sprintf("realm%d", i)
		realms[name] = Settings{Title: name, Colour: "#0a7f5a", Logo: "shared.svg"}
		if i%2 == 0 {
			d.files[name] = svg
			realms[name] = Settings{Logo: name, LogoDark: "shared.svg"}
		}
	}
	s, err := NewSet(Settings{}, realms, d.options())
	if err != nil {
		t.Fatal(err)
	}
	if d.reads.Load() != 0 || d.sizes.Load() != 501 {
		t.Fatalf("the start read %d files, and asked for the size of %d", d.reads.Load(), d.sizes.Load())
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 100 {
				if l := s.Of(fmt.Sprintf("realm%d", i)); !strings.HasPrefix(l.Logo(), Path+"/realm") {
					t.Errorf("logo %q", l.Logo())
				}
			}
		})
	}
	all.Wait()
	if d.reads.Load() != 51 {
		t.Errorf("%d files were read", d.reads.Load())
	}
}

func TestLooks(t *testing.T) {
	d := &disk{files: map[string]string{"a.svg": svg, "b.png": pixels(t, 4, 4), "c.webp": "RIFF\x00\x00\x00\x00WEBPVP8 ", "bad.png": "GIF89a"}}
	s, err := NewSet(Settings{Title: "Example", Logo: "a.svg", Help: "mailto:help@example.org", Imprint: "https://example.org/imprint"}, map[string]Settings{
		"employees": {Colour: "#ffcc00"},
		"customers": {Title: "Shop & Co", LogoDark: "c.webp", Logo: "b.png", Privacy: "https://shop.example.org/privacy"},
		"guests":    {Title: "Ärzte"},
		"broken":    {Logo: "bad.png"},
		"plain":     {},
	}, d.options())
	if err != nil {
		t.Fatal(err)
	}
	for realm, want := range map[string][6]string{ // title, kind of logo, of the dark one, stylesheet?, icon?, imprint
		"":          {"Example", "svg", "", "no", "yes", "https://example.org/imprint"},
		"plain":     {"Example", "svg", "", "no", "yes", "https://example.org/imprint"},
		"employees": {"Example", "svg", "", "yes", "yes", "https://example.org/imprint"},
		"customers": {"Shop & Co", "png", "webp", "no", "yes", "https://example.org/imprint"},
		"guests":    {"Ärzte", "", "", "no", "yes", "https://example.org/imprint"},
		"broken":    {"Example", "", "", "no", "yes", "https://example.org/imprint"},
		"unknown":   {"Example", "svg", "", "no", "yes", "https://example.org/imprint"},
	} {
		l := s.Of(realm)
		got := [6]string{l.Title, ending(l.Logo()), ending(l.LogoDark()), yes(l.Stylesheet()), yes(l.Icon()), l.Imprint}
		if got != want {
			t.Errorf("%s: %q, not %q", realm, got, want)
		}
		for _, address := range []string{l.Logo(), l.LogoDark(), l.Stylesheet(), l.Icon()} {
			if address == "" {
				continue
			}
			parts := strings.Split(strings.TrimPrefix(address, Path+"/"), "/")
			if f, ok := s.File(parts[0], parts[1]); !ok || !f.Current || len(f.Content) == 0 || f.Media == "" {
				t.Errorf("%s leads to %+v", address, f)
			}
		}
	}
	if l := s.Of("guests"); l.Letter() != "Ä" || s.Of("customers").Help != "mailto:help@example.org" {
		t.Errorf("%+v", l)
	}
	if f, ok := s.File("customers", "logo-000000000000.png"); !ok || f.Current {
		t.Error("a logo from before a change is not found, or kept for ever")
	}
	for _, x := range [][2]string{{"nobody", "logo-1.png"}, {"customers", "colours-1.css"}, {"customers", "../../root.key"}, {"customers", ""}} {
		if _, ok := s.File(x[0], x[1]); ok {
			t.Errorf("there is a file at %v", x)
		}
	}
	var none *Set
	if l := none.Of("employees"); l.Title != Default || l.Own || l.Logo()+l.Icon()+l.Stylesheet() != "" {
		t.Errorf("where nothing is configured: %+v", l)
	}
}

func ending(address string) string {
	_, end, _ := strings.Cut(address, ".")
	return end
}

func yes(s string) string {
	if s == "" {
		return "no"
	}
	return "yes"
}

func TestB7_141_SettingsThatEndTheStart(t *testing.T) {
	d := &disk{files: map[string]string{"large.svg": strings.Repeat(" ", maxLogo+1)}}
	for want, s := range map[string]Settings{
		`colour "red"`:      {Colour: "red"},
		`colour "#12345"`:   {Colour: "#12345"},
		`colour "#12345g"`:  {Colour: "#12345g"},
		`colour "#+1+2+3"`:  {Colour: "#+1+2+3"},
		"title":             {Title: "two\nlines"},
		"at most 60":        {Title: strings.Repeat("x", 61)},
		"logo: missing.svg": {Logo: "missing.svg"},
		"at most 32768":     {Logo: "large.svg"},
		"logo is not":       {LogoDark: "a.svg"},
		"imprint":           {Imprint: "javascript:alert(1)"},
		"privacy":           {Privacy: "mailto:a@example.org"},
		"help":              {Help: "//example.org"},
		"help \"https://u":  {Help: "https://user:password@example.org"},
	} {
		_, err := NewSet(Settings{}, map[string]Settings{"employees": s}, d.options())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "realm employees") {
			t.Errorf("%+v: %v", s, err)
		}
		if _, err := NewSet(s, nil, d.options()); err == nil {
			t.Errorf("%+v is taken for the place", s)
		}
	}
	if _, err := NewSet(Settings{Logo: t.TempDir()}, nil, Options{}); err == nil {
		t.Error("a directory is taken for a logo")
	}
}

func TestPictures(t *testing.T) {
	for name, x := range map[string]struct{ content, media string }{
		"svg":                {svg, "image/svg+xml"},
		"svg with a head":    {`<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">` + svg, "image/svg+xml"},
		"png":                {pixels(t, 9, 9), "image/png"},
		"large png":          {pixels(t, maxSide+1, 1), ""},
		"gif":                {"GIF89a", ""},
		"html":               {"<!doctype html><title>x</title>", ""},
		"html as svg":        {`<html xmlns="http://www.w3.org/1999/xhtml"/>`, ""},
		"svg of nobody":      {`<svg/>`, ""},
		"script":             {`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, ""},
		"foreign object":     {`<svg xmlns="http://www.w3.org/2000/svg"><foreignObject/></svg>`, ""},
		"entities":           {`<!DOCTYPE svg [<!ENTITY a "b">]>` + svg, ""},
		"cut off":            {svg[:40], ""},
		"very deep":          {`<svg xmlns="http://www.w3.org/2000/svg">` + strings.Repeat("<g>", 200) + strings.Repeat("</g>", 200) + `</svg>`, ""},
		"empty":              {"", ""},
		"larger than it was": {svg + strings.Repeat(" ", maxLogo), ""},
	} {
		a, err := picture([]byte(x.content))
		if (err == nil) != (x.media != "") || err == nil && a.media != x.media {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func pixels(t *testing.T, w, h int) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever colour is configured can be read: on the surfaces of the pages, and under what stands on it.
func TestContrast(t *testing.T) {
	if c := contrast(black, white); c < 20.99 || c > 21.01 {
		t.Fatalf("black on white is %f", c)
	}
	if c := contrast(rgb{119, 119, 119}, white); c < 4.47 || c > 4.49 { // a value that WCAG's own tools show
		t.Fatalf("#777777 on white is %f", c)
	}
	worst := 21.0
	check := func(p Palette, name string) {
		t.Helper()
		for _, x := range [][2]string{{p.Light.Accent, LightSurface}, {p.Light.Accent, "#ffffff"}, {p.Dark.Accent, DarkSurface}, {p.Dark.Accent, "#131417"}, {p.Light.OnFill, p.Light.Fill}, {p.Dark.OnFill, p.Dark.Fill}} {
			a, err := parseColour(x[0])
			b, err2 := parseColour(x[1])
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			worst = min(worst, contrast(a, b))
			if contrast(a, b) < 4.5 {
				t.Errorf("%s: %s on %s has %.2f", name, x[0], x[1], contrast(a, b))
			}
		}
	}
	for r := 0; r < 256; r += 15 {
		for g := 0; g < 256; g += 15 {
			for b := 0; b < 256; b += 15 {
				c := rgb{float64(r), float64(g), float64(b)}
				check(paletteOf(c), c.String())
			}
		}
	}
	check(standard, "the standard")
	if p := paletteOf(rgb{10, 95, 60}); p.Light.Accent != "#0a5f3c" || p.Light.Fill != "#0a5f3c" || p.Dark.Accent == "#0a5f3c" {
		t.Errorf("a colour that can be read on light pages is changed there, or stays on dark ones: %+v", p)
	}
	t.Logf("the least contrast is %.2f", worst)
}

func FuzzColour(f *testing.F) {
	for _, seed := range []string{"#0a7f5a", "#FFFFFF", "#000", "red", "#12345g", "#+1+2+3", "", "#{}</st"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseColour(text)
		if err == nil && c.String() != strings.ToLower(text) {
			t.Errorf("%q is read as %s", text, c)
		}
	})
}

func FuzzPicture(f *testing.F) {
	for _, seed := range []string{svg, "GIF89a", "\x89PNG\r\n\x1a\n", `<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`, "RIFF\x00\x00\x00\x00WEBPVP8 "} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		a, err := picture(content)
		if err == nil && a.media == "image/svg+xml" && bytes.Contains(content, []byte("<script>")) && !bytes.Contains(content, []byte("<!")) {
			t.Errorf("%q is taken for a logo", content)
		}
	})
}
