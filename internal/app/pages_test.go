package app_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
)

// The front page tells what runs where, and each link on it leads somewhere.
func TestTheFrontPage(t *testing.T) {
	t.Parallel()
	w := start(t, db.SQLite, nil)
	a := w.knock(t, w.config.Issuer, "", look("", "GET", "/", 200, ""))
	page := string(a.body)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	for _, want := range []string{w.config.Issuer, "http://" + w.config.Listen.S3, w.config.Listen.Operations, "SQLite", "Ready.", `lang="en"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, " style=") || strings.Contains(page, "http-equiv") {
		t.Error("the page holds what its own headers forbid")
	}
	policy := a.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers: %v", a.header)
	}
	links := regexp.MustCompile(`(?:href|src)="([^"#]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 6 {
		t.Errorf("only %d links", len(links))
	}
	for _, m := range links {
		path := m[1]
		if strings.HasPrefix(path, "?") { // this page in another language
			path = "/" + path
		}
		if strings.HasPrefix(path, "data:") {
			continue
		}
		if strings.HasPrefix(path, "?") { // the same page in another language
			path = "/" + path
		}
		if !strings.HasPrefix(path, "/") {
			t.Errorf("%s leads away", path)
			continue
		}
		b := w.knock(t, w.config.Issuer, "", look("", "GET", html.UnescapeString(path), 200, ""))
		if b.status != http.StatusOK && path != "/oauth2/tokeninfo" { // which wants a token
			t.Errorf("%s: %d", path, b.status)
		}
		if strings.HasPrefix(path, "/static/") && (!strings.Contains(b.header.Get("Cache-Control"), "immutable") || !regexp.MustCompile(`^(text/css|image/svg)`).MatchString(b.header.Get("Content-Type"))) {
			t.Errorf("%s: %v", path, b.header)
		}
	}
}
