package registry

import (
	"net/url"
	"strings"
	"testing"
)

func TestMatchRedirect(t *testing.T) {
	registered := []string{"https://app.example.com/cb", "https://foo.example.com/cb", "http://127.0.0.1/cb?x=1", "http://localhost:9999", "com.example.app:/cb"}
	for given, want := range map[string]bool{
		"https://app.example.com/cb":                true,
		"com.example.app:/cb":                       true,
		"http://127.0.0.1:1/cb?x=1":                 true,
		"http://127.0.0.1:65535/cb?x=1":             true,
		"http://localhost":                          true,
		"http://localhost/":                         true,
		"http://localhost:8081":                     true,
		"http://localhost:8081/":                    true,
		"http://localhost:8081/x":                   false,
		"http://localhost:8081?x":                   false,
		"http://localhost:8081#":                    false,
		"http://localhost:":                         false,
		"http://localhost:080811":                   false,
		"http://localhost:99999":                    false,
		"http://localhost:1@evil.test/":             false,
		"http://localhost:1evil.test/":              false,
		"http://localhost.evil.test/":               false,
		"http://LOCALHOST/":                         false,
		"http://127.0.0.1/cb":                       false,
		"http://127.0.0.2/cb?x=1":                   false,
		"http://[::1]/cb?x=1":                       false,
		"https://127.0.0.1:1/cb?x=1":                false,
		"https://app.example.com:443/cb":            false,
		"https://app.example.com/cb/":               false,
		"https://app.example.com/CB":                false,
		"https://APP.example.com/cb":                false,
		"HTTPS://app.example.com/cb":                false,
		"https://app.example.com./cb":               false,
		"https://app.example.com/%63b":              false,
		"https://app.example.com/cb?x=1":            false,
		"https://app.example.com/cb?":               false,
		"https://app.example.com/cb#f":              false,
		"https://app.example.com.evil.test/cb":      false,
		"https://app.example.comevil.test/cb":       false,
		"https://app.example.com@evil.test/cb":      false,
		"https://evil.test\\@app.example.com/cb":    false,
		"https://fooaexample.com/cb":                false,
		"https://app.example.com/cb\n":              false,
		"https://app.example.com/cb\x00":            false,
		"//app.example.com/cb":                      false,
		"https://app。example.com/cb":                false,
		"javascript:alert(1)//https://app.example/": false,
		"": false,
	} {
		if got := matchRedirect(registered, given); got != want {
			t.Errorf("%q: %v", given, got)
		}
	}
}

var redirectSeeds = []string{"http://localhost:8081", "http://127.0.0.1/cb", "http://[::1]:1/cb?x", "https://a.example/cb", "http://localhost:1@evil.test/", "com.example.app:/cb"}

// FuzzRedirect looks for an address that matches a loopback one, and that the standard library reads as another host; and
// for one that may be registered and runs code.
func FuzzRedirect(f *testing.F) {
	for _, s := range redirectSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if host, rest, ok := loopback(s); ok {
			u, err := url.Parse(s)
			if err == nil && (u.Scheme != "http" || u.User != nil || u.Hostname() != strings.Trim(host, "[]")) {
				t.Errorf("%q is taken for %s%s, and is %v", s, host, rest, u)
			}
			if matchRedirect([]string{"http://" + host + "/only"}, s) && rest != "/only" {
				t.Errorf("%q matched", s)
			}
		}
		if checkRedirect(s) != "" {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Fragment != "" || u.User != nil || strings.ContainsAny(s, "\r\n\\*#") || len(s) > maxRedirectURI {
			t.Errorf("%q may be registered", s)
		}
		if strings.ContainsAny(u.Host, ";, !$&()=") {
			t.Errorf("host of %q may be registered", s)
		}
		if u.Scheme != "https" && u.Scheme != "http" && !strings.Contains(u.Scheme, ".") {
			t.Errorf("scheme of %q may be registered", s)
		}
		if !matchRedirect([]string{s}, s) {
			t.Errorf("%q does not match itself", s)
		}
	})
}

func TestRedirectSeedsAreOfBothKinds(t *testing.T) {
	loop, fine := 0, 0
	for _, s := range redirectSeeds {
		if _, _, ok := loopback(s); ok {
			loop++
		}
		if checkRedirect(s) == "" {
			fine++
		}
	}
	if loop < 3 || fine < 4 || fine == len(redirectSeeds) {
		t.Errorf("%d loopback, %d fine of %d", loop, fine, len(redirectSeeds))
	}
}
