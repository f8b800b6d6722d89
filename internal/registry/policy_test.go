package registry

import "testing"

// A policy names hosts as they are, or with a dot in front all hosts below one.
func TestHostsOfAPolicy(t *testing.T) {
	p := policy{RedirectHosts: []string{"app.example.org", ".tools.example.org"}}
	for uri, want := range map[string]bool{
		"https://app.example.org/cb": true, "https://app.example.org:8443/cb": true, "https://a.tools.example.org/cb": true, "https://a.b.tools.example.org/cb": true,
		"https://tools.example.org/cb": false, "https://eviltools.example.org/cb": false, "https://evilapp.example.org/cb": false, "https://x.app.example.org/cb": false,
		"https://app.example.org.evil.test/cb": false, "http://127.0.0.1/cb": false, "com.example.app:/cb": false, "%": false,
	} {
		if got := p.host(uri); got != want {
			t.Errorf("%s: %v", uri, got)
		}
	}
	if !(policy{}).host("https://anywhere.example.net/cb") {
		t.Error("without hosts there is no such bound")
	}
}
