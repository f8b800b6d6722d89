package oauth

import (
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/registry"
)

// Clients are one sector if all addresses of each are of one host, and no sector is on everybody's own machine.
func TestSectorOfAClient(t *testing.T) {
	for name, c := range map[string]struct {
		uris   []string
		sector string
		want   string
	}{
		"one host":          {[]string{"https://a.example.org/cb", "https://a.example.org:8443/x"}, "", "a.example.org"},
		"given":             {[]string{"https://a.example.org/cb", "https://b.example.org/cb"}, "sector.example.org", "sector.example.org"},
		"several hosts":     {[]string{"https://a.example.org/cb", "https://b.example.org/cb"}, "", "cli_1"},
		"this machine":      {[]string{"http://127.0.0.1/cb"}, "", "cli_1"},
		"localhost":         {[]string{"http://localhost/cb"}, "", "cli_1"},
		"this machine, too": {[]string{"https://a.example.org/cb", "http://[::1]/cb"}, "", "cli_1"},
		"an application":    {[]string{"com.example.app:/cb"}, "", "cli_1"},
		"no address":        {nil, "", "cli_1"},
	} {
		client := Client{ID: "cli_1", RedirectURIs: c.uris, Metadata: registry.Metadata{Sector: c.sector}}
		if got := sectorOf(client); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Tokens that come with the answer pass the gate in the transaction that begins their grant, and want its session still.
func TestFrontGrantNeedsItsSession(t *testing.T) {
	now := time.Unix(1000, 0)
	s := &Server{clock: clock.NewFake(now), audience: []string{"https://auth.example.org"}, realms: realm.Standard()}
	p := &people{s: s}
	client := Client{ID: "cli_1", Enabled: true, GrantTypes: []string{registry.GrantImplicit, grantJWTBearer}}
	g := func(until time.Time) *grant {
		return &grant{userEnabled: true, scopes: []string{"openid"}, approved: []string{"openid"}, sessionUntil: until}
	}
	for name, c := range map[string]struct {
		by    string
		until time.Time
		good  bool
	}{
		"signed in": {"", now.Add(time.Second), true}, "just over": {"", now, false}, "ended": {"", time.Time{}, false}, "an issuer's word": {grantJWTBearer, time.Time{}, true},
	} {
		b := &beginning{by: c.by, request: &authRequest{client: client}}
		if p.admitFront(b, g(c.until), now); (b.refused == nil) != c.good {
			t.Errorf("%s: %v", name, b.refused)
		}
	}
}

// A revocation of many is kept for as long as any token lives that it reaches.
func TestRevocationsOfManyAreKept(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	v := &revocations{many: newCoverings(), expires: map[string]int64{}, again: make(chan struct{}, 1)}
	v.many.add(covering{names: []string{"sub"}, values: []string{"a"}, before: now.Unix()}, covering{before: now.Add(-time.Hour).Unix()})
	alice := &Claims{Subject: "a", IssuedAt: now.Add(-time.Minute)}
	old := &Claims{Subject: "b", IssuedAt: now.Add(-2 * time.Hour)}
	for _, later := range []time.Duration{0, 24 * time.Hour, keepCoverings - 2*time.Hour} {
		if v.prune(now.Add(later)); !v.revoked(alice) || !v.revoked(old) {
			t.Errorf("forgotten after %s", later)
		}
	}
	if v.prune(now.Add(keepCoverings + time.Hour)); v.many.size() != 0 {
		t.Errorf("%d are kept for ever", v.many.size())
	}
}

// A rule that requires or allows nothing lets nobody revoke anything.
func TestRulesThatSayNothing(t *testing.T) {
	claims := func(name string) string { return map[string]string{"sub": "a", "realm": "services"}[name] }
	for name, c := range map[string]struct {
		wanted map[string]string
		want   bool
	}{
		"nothing": {nil, false}, "one": {map[string]string{"sub": "a"}, true}, "both": {map[string]string{"sub": "a", "realm": "services"}, true},
		"another value": {map[string]string{"sub": "b"}, false}, "one of two": {map[string]string{"sub": "a", "azp": "x"}, false}, "an empty value": {map[string]string{"azp": ""}, false},
	} {
		if got := carries(c.wanted, claims); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
