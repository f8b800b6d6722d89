package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/mintmark/mintmark/bench/loadgen"
)

const (
	pageViews = 200
	pageTime  = 20 * time.Millisecond // of the server, at most
	pageSize  = 60_000                // bytes with all that the page itself asks for, at most
)

// pages are those that people meet most, as alice sees them.
var pages = []struct{ name, address string }{
	{"sign in", "/login"},
	{"consent", ""}, // of a request of its own
	{"register", "/register"},
	{"forgotten", "/reset"},
	{"account", "/account"},
	{"profile", "/account/profile"},
	{"password", "/account/password"},
	{"security", "/account/security"},
	{"sessions", "/account/sessions"},
	{"activity", "/account/activity"},
	{"device", "/device"},
	{"sign out", "/logout"},
	{"not found", "/nothing-is-here"},
}

var linked = regexp.MustCompile(`<(?:link|script|img)[^>]* (?:href|src)="(/[^"]*)"`)

// printPages tells what each page takes of the server's time, one after the other over one connection, and how large it
// is, in bytes on the wire without compression.
func printPages(ctx context.Context, servers []*server) (exceeded int, err error) {
	for _, s := range servers {
		if s.engine == "" {
			continue
		}
		if s.alice, err = s.signIn(ctx); err != nil { // some pages want a login of just now
			return 0, err
		}
	}
	fmt.Printf("\nPages, %d views each, one after the other; the size is that of the page, and with all that it asks for.\n\n", pageViews)
	fmt.Printf("| page | server | p50 / p95 ms, gate %d | CPU ms | kB | with the rest, gate %d |\n", pageTime.Milliseconds(), pageSize/1000)
	fmt.Println("|---|---|---|---|---|---|")
	for _, p := range pages {
		for _, s := range servers {
			if s.engine == "" {
				continue
			}
			v, err := s.view(p.address)
			if err != nil {
				return exceeded, fmt.Errorf("%s on %s: %w", p.name, s.name, err)
			}
			above := ""
			if v.P95 > pageTime || v.whole > pageSize {
				exceeded, above = exceeded+1, " **above**"
			}
			fmt.Printf("| %s | %s | %.2f / %.2f | %.2f | %.1f | %.1f%s |\n", p.name, s.name, ms(v.P50), ms(v.P95), v.PerThousand, float64(v.own)/1000, float64(v.whole)/1000, above)
		}
	}
	return exceeded, nil
}

type pageView struct {
	loadgen.Result
	own, whole int // bytes
}

// view looks at a page again and again; "" is the page that asks alice for her consent.
func (s *server) view(address string) (v pageView, err error) {
	var first string
	looking := func(_ int, do func(loadgen.Request) (loadgen.Answer, error)) error {
		a, err := do(s.browse(address))
		if err == nil && a.Status != http.StatusOK && a.Status != http.StatusNotFound {
			err = fmt.Errorf("%d %s %.200s", a.Status, a.Location, a.Body)
		}
		if err == nil && first == "" {
			first = string(a.Body)
		}
		return err
	}
	load := loadgen.Load{Server: s.base, Connections: 1, Count: 1, Limit: passLimit, Servers: s.pids}
	if address == "" {
		load.Script = func(_ int, do func(loadgen.Request) (loadgen.Answer, error)) error {
			a, err := do(s.browse(strings.TrimPrefix(s.authorizeURL(), s.base) + "&prompt=consent"))
			if err == nil {
				address, err = consentAt(a)
			}
			return err
		}
		if r, err := loadgen.Run(load); err != nil || r.Errors > 0 {
			return v, fmt.Errorf("ask for consent: %w %s", err, r.FirstError)
		}
	}
	load.Script = looking
	if _, err := loadgen.Run(load); err != nil { // the first view fills the caches
		return v, err
	}
	load.Count = pageViews
	if v.Result, err = loadgen.Run(load); err != nil {
		return v, err
	}
	if v.Errors > 0 {
		return v, fmt.Errorf("%d views failed: %s", v.Errors, v.FirstError)
	}
	v.own, v.whole = len(first), len(first)
	load.Count = 1
	for _, found := range linked.FindAllStringSubmatch(first, -1) {
		load.Script = func(_ int, do func(loadgen.Request) (loadgen.Answer, error)) error {
			a, err := do(s.browse(strings.ReplaceAll(found[1], "&amp;", "&")))
			v.whole += len(a.Body)
			return expect(http.StatusOK)(a, err)
		}
		if r, err := loadgen.Run(load); err != nil || r.Errors > 0 {
			return v, fmt.Errorf("%s: %w %s", found[1], err, r.FirstError)
		}
	}
	return v, nil
}

func consentAt(a loadgen.Answer) (string, error) {
	u, err := url.Parse(a.Location)
	if err != nil || u.Path != "/consent" {
		return "", fmt.Errorf("not sent to the consent: %d %s %.200s", a.Status, a.Location, a.Body)
	}
	return u.RequestURI(), nil
}

// browse is how the browser of alice asks for a page.
func (s *server) browse(address string) loadgen.Request {
	return loadgen.Request{Method: "GET", URL: s.base + address, Header: map[string]string{"Cookie": s.alice.cookie, "Accept": "text/html", "Sec-Fetch-Site": "none"}}
}
