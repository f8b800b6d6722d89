package browser_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe-4.10.3.min.js
var axe string

func decode(t *testing.T, from io.Reader, into any) {
	t.Helper()
	if err := json.NewDecoder(from).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// chromium finds the browser.
func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("MINTMARK_TEST_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium: install it (on Debian: apt-get install chromium), or name it by MINTMARK_TEST_CHROMIUM")
	return ""
}

// tab is a browser of its own, with a window of its own, that nobody has used before.
type tab struct {
	t        *testing.T
	ctx      context.Context
	language string
	pictures string // directory, or ""

	mu         sync.Mutex
	looking    bool // our own script runs: what it does is not the page's
	complaints []string
}

func open(t *testing.T, language string, flags ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.Flag("lang", language), chromedp.WSURLReadTimeout(patience))
	options = append(options, flags...)
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancelTab := chromedp.NewContext(alloc)
	b := &tab{t: t, ctx: ctx, language: language, pictures: os.Getenv("MINTMARK_SCREENSHOTS")}
	t.Cleanup(func() { cancelTab(); cancel() })
	chromedp.ListenTarget(ctx, b.listen)
	b.run("start", network.Enable(), log.Enable(), runtime.Enable(), network.SetExtraHTTPHeaders(network.Headers{"Accept-Language": language}))
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.complaints {
			t.Errorf("the browser complains: %s", c)
		}
	})
	return b
}

// listen keeps what a page logs as an error, and what its policy forbade. An answer of 4xx is no error of the page.
func (b *tab) listen(event any) {
	said := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		said = e.ExceptionDetails.Error()
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			said = fmt.Sprint("console: ", e.Type)
			for _, a := range e.Args {
				said += " " + string(a.Value)
			}
		}
	case *log.EventEntryAdded:
		if (e.Entry.Level == log.LevelError || e.Entry.Source == log.SourceSecurity) && e.Entry.Source != log.SourceNetwork {
			said = e.Entry.URL + ": " + e.Entry.Text
		}
	}
	if said == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.looking {
		b.complaints = append(b.complaints, said)
	}
}

// forgive takes back complaints that hold one of the texts, and tells whether there were any.
func (b *tab) forgive(texts ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.complaints)
	b.complaints = slices.DeleteFunc(b.complaints, func(c string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(c, text) })
	})
	return len(b.complaints) < before
}

func (b *tab) run(what string, actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if what == "start" { // the first run must not end with its deadline: the browser would
		ctx = b.ctx
	}
	if err := chromedp.Run(ctx, actions...); err != nil {
		var at, body string
		short, stop := context.WithTimeout(b.ctx, 5*time.Second)
		defer stop()
		_ = chromedp.Run(short, chromedp.Location(&at), chromedp.Text("body", &body))
		b.t.Fatalf("%s: %v\nat %s:\n%s", what, err, at, body)
	}
}

func (b *tab) visit(address string) { b.t.Helper(); b.run("open "+address, chromedp.Navigate(address)) }

func (b *tab) click(selector, wait string) {
	b.t.Helper()
	b.run("click "+selector, chromedp.Click(selector, chromedp.NodeVisible), chromedp.WaitVisible(wait))
}

func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.run("fill "+selector, chromedp.Clear(selector), chromedp.SendKeys(selector, text))
}

// signIn signs in at the page that is open; then the page has what wait selects.
func (b *tab) signIn(name, wait string) {
	b.t.Helper()
	b.fill("#username", name)
	b.fill("#password", secret)
	b.click("#login-submit", wait)
}

// authenticator gives the browser one that keeps passkeys and always says yes.
func (b *tab) authenticator() {
	b.t.Helper()
	b.run("authenticator", webauthn.Enable(), chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := webauthn.AddVirtualAuthenticator(&webauthn.VirtualAuthenticatorOptions{Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportInternal,
			HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}).Do(ctx)
		return err
	}))
}

// noOffer takes away the offer of a passkey in the field for the name: an authenticator that always says yes would sign in
// as soon as the page is open.
func (b *tab) noOffer() {
	b.t.Helper()
	b.run("no offer", chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument("PublicKeyCredential.isConditionalMediationAvailable = undefined").Do(ctx)
		return err
	}))
}

type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML string `json:"html"`
		Why  string `json:"failureSummary"`
	} `json:"nodes"`
}

// look examines the page that is open. axe looks in English alone: in other languages a page is the same page.
func (b *tab) look(name string) {
	b.t.Helper()
	b.mu.Lock()
	b.looking = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.looking = false
		b.mu.Unlock()
	}()
	var lang string
	var wide bool
	b.run("narrow "+name, emulation.SetDeviceMetricsOverride(320, 700, 1, false),
		chromedp.Evaluate(`document.scrollingElement.scrollWidth > 320`, &wide), chromedp.Evaluate(`document.documentElement.lang`, &lang))
	if wide {
		var what string
		b.run("find what is wide", chromedp.Evaluate(`[...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > 320.5).map(e => e.outerHTML.slice(0, 120)).slice(-3).join("\n")`, &what))
		b.t.Errorf("%s (%s) does not fit 320 pixels:\n%s", name, b.language, what)
	}
	if lang != b.language {
		b.t.Errorf("%s is in %q", name, lang)
	}
	for _, scheme := range []string{"light", "dark"} {
		b.run(scheme, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}), emulation.SetDeviceMetricsOverride(1280, 800, 1, false))
		if b.language == "en" {
			b.axe(name+", "+scheme, scheme == "dark")
		}
		if b.pictures != "" {
			b.keep(name + "-" + scheme)
		}
	}
	b.run("light", emulation.SetEmulatedMedia(), emulation.SetDeviceMetricsOverride(1280, 800, 1, false))
}

func (b *tab) axe(name string, coloursAlone bool) {
	b.t.Helper()
	options := `{resultTypes: ["violations"]}`
	if coloursAlone { // nothing else changes with the scheme
		options = `{resultTypes: ["violations"], runOnly: ["color-contrast"]}`
	}
	var found []violation
	b.run("axe on "+name, chromedp.ActionFunc(func(ctx context.Context) error {
		var has bool
		if err := chromedp.Evaluate(`typeof axe === "object"`, &has).Do(ctx); err != nil || has {
			return err
		}
		return chromedp.Evaluate(axe+"; 0", nil).Do(ctx)
	}), chromedp.Evaluate(`axe.run(document, `+options+`).then(r => r.violations)`, &found, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	for _, v := range found {
		for _, n := range v.Nodes {
			b.t.Errorf("%s: axe: %s (%s)\n%s\n%s", name, v.Help, v.ID, n.HTML, n.Why)
		}
	}
}

// keep takes pictures for people to look at.
func (b *tab) keep(name string) {
	b.t.Helper()
	for _, width := range []int64{1280, 390} {
		var picture []byte
		b.run("picture of "+name, emulation.SetDeviceMetricsOverride(width, 800, 1, false), chromedp.FullScreenshot(&picture, 100))
		file := filepath.Join(b.pictures, fmt.Sprintf("%s-%s-%d.png", strings.ReplaceAll(name, " ", "-"), b.language, width))
		if err := os.WriteFile(file, picture, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}
