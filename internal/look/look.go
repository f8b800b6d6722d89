// Package look is what the pages and letters of a realm look like: its name, logo, colour and links.
//
// What it guards:
//   - A colour is made readable: text and links reach 4.5:1 against every surface of the pages, in light and dark, whatever
//     colour was configured (WCAG 2.2, 1.4.3), and what is written on a filled button does, too.
//   - A logo is one of three kinds of picture, by its content and not its name, of bounded size. It is served by this
//     server alone, and with a policy under which an SVG runs no script and loads nothing, even if it is opened by itself.
//   - Settings that cannot work end the start. The start opens no logo: it asks for the size of each file once, however
//     many realms share it, and a file is read once, when the first page wants it.
package look

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Settings are what a configuration says of one look. A field that is empty is what the place as a whole says.
type Settings struct {
	// Title is what the service calls itself, at most 60 characters. Default: mintmark.
	Title string `yaml:"title"`
	// Logo is the path of a PNG, SVG or WebP picture of at most 32 KiB, which stands in place of the title; LogoDark is
	// that on dark pages. Default: the first letter of the title, in the colour.
	Logo     string `yaml:"logo"`
	LogoDark string `yaml:"logo_dark"`
	// Colour of buttons and links, as #rrggbb. Where it would be hard to read it is made darker or lighter.
	Colour string `yaml:"colour"`
	// Language of letters to people whose own is not known: en (default) or de.
	Language string `yaml:"language"`
	// Imprint, Privacy and Help are addresses that each page and letter leads to, https or http; Help may be mailto:.
	Imprint string `yaml:"imprint"`
	Privacy string `yaml:"privacy"`
	Help    string `yaml:"help"`
}

const (
	maxTitle = 60
	maxLink  = 500
	// Default is the title where none is set.
	Default = "mintmark"
)

// Check refuses settings that cannot work, naming the field. It opens no file.
func (s Settings) Check() error {
	if utf8.RuneCountInString(s.Title) > maxTitle || !plain(s.Title) || strings.TrimSpace(s.Title) != s.Title {
		return fmt.Errorf("title %q is not one line of at most %d characters", s.Title, maxTitle)
	}
	if s.Colour != "" {
		if _, err := parseColour(s.Colour); err != nil {
			return fmt.Errorf("colour %q is not of the form #rrggbb, such as #0a7f5a", s.Colour)
		}
	}
	if s.Language != "" && s.Language != "en" && s.Language != "de" {
		return fmt.Errorf("language %q is none of en, de", s.Language)
	}
	if s.LogoDark != "" && s.Logo == "" {
		return errors.New("logo_dark is set, and logo is not")
	}
	for _, l := range []struct {
		name, address string
		mail          bool
	}{{"imprint", s.Imprint, false}, {"privacy", s.Privacy, false}, {"help", s.Help, true}} {
		if l.address == "" {
			continue
		}
		u, err := url.Parse(l.address)
		web := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
		if len(l.address) > maxLink || !plain(l.address) || !web && (!l.mail || err != nil || u.Scheme != "mailto" || !strings.Contains(u.Opaque, "@")) {
			return fmt.Errorf("%s %q is not an address that begins with https:// or http://", l.name, l.address)
		}
	}
	return nil
}

// plain tells whether the text is one line that shows all that it holds.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) || r == utf8.RuneError })
}

// over are the settings with what the place says where they say nothing. A logo and its dark twin go together.
func (s Settings) over(place Settings) Settings {
	if s.Logo == "" && s.Title == "" { // a realm with a name of its own does not bear the logo of another
		s.Logo, s.LogoDark = place.Logo, place.LogoDark
	}
	for _, f := range []struct{ mine, theirs *string }{
		{&s.Title, &place.Title}, {&s.Colour, &place.Colour}, {&s.Language, &place.Language}, {&s.Imprint, &place.Imprint}, {&s.Privacy, &place.Privacy}, {&s.Help, &place.Help},
	} {
		if *f.mine == "" {
			*f.mine = *f.theirs
		}
	}
	return s
}

// Look is one look. It does not change.
type Look struct {
	Title                  string
	Own                    bool // it is not that of the product: something was set
	Imprint, Privacy, Help string
	Colours                Palette

	key            string // in addresses
	language       string
	tint           *asset // nil: the stylesheet's own colours
	icon           *asset // nil: the product's
	logo, logoDark *file
	log            *slog.Logger
}

// Place is the key of the look of the place as a whole; no realm can be called so.
const Place = "_"

// Options configure a Set. Every field may be left at its zero value.
type Options struct {
	Size   func(path string) (int64, error)  // nil: asks the file system
	Read   func(path string) ([]byte, error) // nil: reads the file
	Logger *slog.Logger                      // nil: no log
}

// Set holds the looks of an installation.
type Set struct {
	looks map[string]*Look // by realm, and by Place
	files map[string]*file // by path
	o     Options
}

// NewSet makes the looks of the place and of its realms, by canonical name. An error names the realm and the field.
func NewSet(place Settings, realms map[string]Settings, o Options) (*Set, error) {
	if o.Size == nil {
		o.Size = fileSize
	}
	if o.Read == nil {
		o.Read = os.ReadFile
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Set{looks: map[string]*Look{}, files: map[string]*file{}, o: o}
	if err := s.add(Place, place); err != nil {
		return nil, fmt.Errorf("look: %w", err)
	}
	for name, own := range realms {
		if own == (Settings{}) {
			continue
		}
		if err := errors.Join(own.Check(), s.add(name, own.over(place))); err != nil {
			return nil, fmt.Errorf("look of realm %s: %w", name, err)
		}
	}
	return s, nil
}

func (s *Set) add(key string, c Settings) error {
	if err := c.Check(); err != nil {
		return err
	}
	l := &Look{Title: c.Title, Own: c.Title != "" || c.Logo != "", Imprint: c.Imprint, Privacy: c.Privacy, Help: c.Help, Colours: standard, key: key, language: c.Language, log: s.o.Logger}
	if l.Title == "" {
		l.Title = Default
	}
	if c.Colour != "" {
		base, err := parseColour(c.Colour)
		if err != nil {
			return err
		}
		l.Colours = paletteOf(base)
		l.tint = newAsset("colours", "css", "text/css; charset=utf-8", []byte(l.Colours.css()))
	}
	if c.Title != "" || c.Colour != "" {
		l.icon = newAsset("icon", "svg", "image/svg+xml", monogram(l.Title, l.Colours))
	}
	var err error
	if l.logo, err = s.file("logo", c.Logo); err != nil {
		return err
	}
	if l.logoDark, err = s.file("logo_dark", c.LogoDark); err != nil {
		return err
	}
	s.looks[key] = l
	return nil
}

// Of is the look of a realm; that of the place for one that has none of its own, or "".
func (s *Set) Of(realm string) *Look {
	if s == nil {
		return product
	}
	if l, ok := s.looks[realm]; ok {
		return l
	}
	return s.looks[Place]
}

// product is the look where nothing is configured.
var product = &Look{Title: Default, Colours: standard, key: Place, log: slog.New(slog.DiscardHandler)}

// asset is a file that belongs to a look. Its address changes with its content.
type asset struct {
	name, media string
	content     []byte
}

func newAsset(kind, ending, media string, content []byte) *asset {
	sum := sha256.Sum256(content)
	return &asset{kind + "-" + hex.EncodeToString(sum[:6]) + "." + ending, media, content}
}

// Path is where the files of looks are served, before /REALM/FILE.
const Path = "/static/look"

func (l *Look) address(a *asset) string {
	if a == nil {
		return ""
	}
	return Path + "/" + l.key + "/" + a.name
}

// Stylesheet is the address of the colours, or "" if the pages' own are meant.
func (l *Look) Stylesheet() string { return l.address(l.tint) }

// Icon is the address of the icon for the browser's tab, or "" if it is the product's.
func (l *Look) Icon() string { return l.address(l.icon) }

// Logo is the address of the logo, or "".
func (l *Look) Logo() string { return l.address(l.logo.open(l)) }

// LogoDark is the address of the logo on dark pages, or "" if it is the same.
func (l *Look) LogoDark() string { return l.address(l.logoDark.open(l)) }

// Language is that of letters to people whose own is not known.
func (l *Look) Language() string {
	if l.language == "" {
		return "en"
	}
	return l.language
}

// Letter stands where there is no logo: the first letter or digit of the title.
func (l *Look) Letter() string { return letter(l.Title) }

func letter(title string) string {
	for _, r := range title {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "·"
}

// File is what stands at Path/REALM/FILE.
type File struct {
	Media   string
	Content []byte
	Current bool // the address is that of this content: it may be kept for ever
}

// File finds a file by its address. One whose address was that of another content, on another node or before a change, is
// found as well.
func (s *Set) File(realm, name string) (File, bool) {
	if s == nil {
		return File{}, false
	}
	l, ok := s.looks[realm]
	if !ok {
		return File{}, false
	}
	kind, _, _ := strings.Cut(name, "-")
	var a *asset
	switch kind {
	case "colours":
		a = l.tint
	case "icon":
		a = l.icon
	case "logo":
		a = l.logo.open(l)
		if dark := l.logoDark.open(l); dark != nil && dark.name == name {
			a = dark
		}
	}
	if a == nil {
		return File{}, false
	}
	return File{a.media, a.content, a.name == name}, true
}

// file is a picture that several looks may share.
type file struct {
	path string
	read func(string) ([]byte, error)
	once sync.Once // guards asset
	got  *asset
}

// file answers the one entry of a path.
func (s *Set) file(field, path string) (*file, error) {
	if path == "" {
		return nil, nil
	}
	if f, ok := s.files[path]; ok {
		return f, nil
	}
	size, err := s.o.Size(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if size > maxLogo {
		return nil, fmt.Errorf("%s: %s has %d bytes, and a logo has at most %d", field, path, size, maxLogo)
	}
	f := &file{path: path, read: s.o.Read}
	s.files[path] = f
	return f, nil
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a file", path)
	}
	return info.Size(), nil
}

// open reads the picture, once. Pages go without one that cannot be used, and the log tells why.
func (f *file) open(l *Look) *asset {
	if f == nil {
		return nil
	}
	f.once.Do(func() {
		content, err := f.read(f.path)
		if err == nil {
			f.got, err = picture(content)
		}
		if err != nil {
			l.log.Error("a logo cannot be used", "file", f.path, "why", err)
		}
	})
	return f.got
}
