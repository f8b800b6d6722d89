package web_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/web"
)

// seedsTo are addresses and whether a login may lead there.
var seedsTo = map[string]bool{
	"/account": true, "/": true, "/oauth2/authorize?client_id=a&state=%2F%2Fb": true, "/account/x?y": true,
	"//evil.example.org": false, `/\evil.example.org`: false, "https://evil.example.org/account": false, "/account/../x": false, "/%2f%2fevil": false,
}

// Whatever a stranger puts into a link, the browser stays on this server.
func FuzzReturnTo(f *testing.F) {
	for seed := range seedsTo {
		f.Add(seed)
	}
	base, err := url.Parse("https://mint.example.org/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, asked string) {
		got := web.ReturnTo(asked)
		if got != asked && got != "/account" {
			t.Fatalf("%q became %q", asked, got)
		}
		u, err := url.Parse(got)
		if err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if to := base.ResolveReference(u); to.Scheme != "https" || to.Host != base.Host || to.User != nil {
			t.Errorf("%q leads to %s", asked, to)
		}
		// Browsers read a backslash as a slash, and leave tabs and line ends out.
		if strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\t\r\n\x00") {
			t.Errorf("a browser reads %q in its own way", got)
		}
	})
}

func TestFuzzSeedsOfReturnTo(t *testing.T) {
	for seed, good := range seedsTo {
		if got := web.ReturnTo(seed) == seed; got != good {
			t.Errorf("%q is taken: %v", seed, got)
		}
	}
}
