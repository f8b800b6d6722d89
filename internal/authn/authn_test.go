package authn_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/authn"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// desk stands for identity, oauth and the registry.
type desk struct {
	tokens map[string]authn.Claims
	down   bool
	asked  int
}

var errDown = fault.New(fault.Unavailable, "unavailable", "down")

func (d *desk) VerifyAccessKey(_ context.Context, key redact.Secret) (access.Caller, error) {
	d.asked++
	if d.down {
		return access.Caller{}, errDown
	}
	if key.Reveal() != "mmk_good" {
		return access.Caller{}, identity.ErrCredentials
	}
	return access.Caller{Kind: access.Person, ID: "usr_a", Name: "admin", Realm: "employees", Admin: true}, nil
}

func (d *desk) Verify(_ context.Context, token redact.Secret) (authn.Claims, error) {
	d.asked++
	if d.down {
		return authn.Claims{}, errDown
	}
	c, ok := d.tokens[token.Reveal()]
	if !ok {
		return authn.Claims{}, fault.New(fault.Unauthenticated, "expired", "It expired.")
	}
	return c, nil
}

func (d *desk) TeamsOf(_ context.Context, c access.Caller) ([]string, error) {
	switch {
	case c.Name == "lost":
		return nil, errDown
	case c.Kind == access.Service:
		return []string{"team-of-" + c.Application}, nil
	}
	return []string{"team-of-" + c.Name}, nil
}

func newDesk() *desk {
	return &desk{tokens: map[string]authn.Claims{
		"robot":      {UserID: "usr_r", Username: "kio", Realm: "/services", ClientID: "cli_k", Application: "kio", Scopes: []string{"uid", "application.write"}, Audience: []string{"mintmark", "x"}},
		"jane":       {UserID: "usr_j", Username: "jane", Realm: "employee", ClientID: "cli_w"},
		"lost":       {UserID: "usr_l", Username: "lost", Realm: "employees"},
		"martian":    {UserID: "usr_m", Username: "m", Realm: "martians"},
		"nobody":     {Realm: "services", Application: "kio"},
		"homeless":   {UserID: "usr_h", Realm: "services"},
		"pretender":  {UserID: "usr_p", Username: "admin", Realm: "employees", Application: "kio", Scopes: []string{"admin"}},
		"a.b-c_d~e+": {UserID: "usr_g", Username: "g", Realm: "customers"},
	}}
}

func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/teams?access_token=robot", nil)
	r.RemoteAddr = "192.0.2.7:4711"
	for _, h := range headers {
		r.Header.Add("Authorization", h)
	}
	return r
}

func TestCallers(t *testing.T) {
	a := func(d *desk) *authn.Authenticator {
		return authn.New(authn.Options{AccessKeys: d, Tokens: d, Teams: d})
	}
	const ip = "192.0.2.7"
	for header, want := range map[string]access.Caller{
		"":                {IP: ip}, // the token in the URL is not looked at
		"Bearer mmk_good": {Kind: access.Person, ID: "usr_a", Name: "admin", Realm: "employees", Admin: true, Teams: []string{"team-of-admin"}, IP: ip},
		"bearer robot": {Kind: access.Service, ID: "usr_r", Name: "kio", Realm: "services", Application: "kio", ClientID: "cli_k",
			Scopes: []string{"uid", "application.write"}, Teams: []string{"team-of-kio"}, IP: ip},
		"Bearer  jane":      {Kind: access.Person, ID: "usr_j", Name: "jane", Realm: "employees", ClientID: "cli_w", Teams: []string{"team-of-jane"}, IP: ip},
		"Bearer a.b-c_d~e+": {Kind: access.Person, ID: "usr_g", Name: "g", Realm: "customers", Teams: []string{"team-of-g"}, IP: ip},
		// A token makes nobody an administrator, and a person has no application.
		"Bearer pretender": {Kind: access.Person, ID: "usr_p", Name: "admin", Realm: "employees", Scopes: []string{"admin"}, Teams: []string{"team-of-admin"}, IP: ip},
	} {
		r := request()
		if header != "" {
			r = request(header)
		}
		got, err := a(newDesk()).Caller(r)
		if err != nil {
			t.Errorf("%q: %v", header, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", header, diff)
		}
	}
}

// What is not valid is an error, and never the anonymous caller.
func TestRefusals(t *testing.T) {
	for name, headers := range map[string][]string{
		"empty":           {""},
		"no token":        {"Bearer"},
		"blank token":     {"Bearer  "},
		"basic":           {"Basic b2F1dGgyOnJvYm90"},
		"token scheme":    {"Token robot"},
		"bare token":      {"robot"},
		"unknown token":   {"Bearer nope"},
		"unknown key":     {"Bearer mmk_bad"},
		"two headers":     {"Bearer robot", "Bearer robot"},
		"two tokens":      {"Bearer robot robot"},
		"list":            {"Bearer robot,jane"},
		"quoted":          {`Bearer "robot"`},
		"NUL":             {"Bearer robot\x00"},
		"not ASCII":       {"Bearer röbot"},
		"only padding":    {"Bearer ==="},
		"enormous":        {"Bearer " + strings.Repeat("a", 1<<20)},
		"unknown realm":   {"Bearer martian"},
		"no subject":      {"Bearer nobody"},
		"no application":  {"Bearer homeless"},
		"key as a prefix": {"Bearer mmk_"},
	} {
		d := newDesk()
		c, err := authn.New(authn.Options{AccessKeys: d, Tokens: d, Teams: d}).Caller(request(headers...))
		if !fault.Is(err, fault.Unauthenticated) || fault.Code(err) != "invalid_token" {
			t.Errorf("%s: %v", name, err)
		}
		if c.Kind != access.Anonymous || c.ID != "" || c.Admin {
			t.Errorf("%s: the refused caller is %+v", name, c)
		}
	}
}

func TestUnavailableIsNotARefusal(t *testing.T) {
	for _, header := range []string{"Bearer mmk_good", "Bearer robot", "Bearer lost"} {
		d := newDesk()
		d.down = header != "Bearer lost"
		_, err := authn.New(authn.Options{AccessKeys: d, Tokens: d, Teams: d}).Caller(request(header))
		if !errors.Is(err, errDown) {
			t.Errorf("%s while it cannot be found out: %v", header, err)
		}
	}
}

func TestAudience(t *testing.T) {
	for audience, ok := range map[string]bool{"": true, "mintmark": true, "x": true, "other": false} {
		d := newDesk()
		_, err := authn.New(authn.Options{AccessKeys: d, Tokens: d, Teams: d, Audience: audience}).Caller(request("Bearer robot"))
		if (err == nil) != ok {
			t.Errorf("audience %q: %v", audience, err)
		}
	}
}

func TestWithoutTokens(t *testing.T) {
	d := newDesk()
	if _, err := authn.New(authn.Options{AccessKeys: d, Teams: d}).Caller(request("Bearer robot")); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("no token can be valid: %v", err)
	}
}

func TestAddress(t *testing.T) {
	d := newDesk()
	trusting := authn.New(authn.Options{AccessKeys: d, Teams: d, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}})
	plain := authn.New(authn.Options{AccessKeys: d, Teams: d})
	for _, c := range []struct {
		a         *authn.Authenticator
		peer      string
		forwarded []string
		want      string
	}{
		{plain, "192.0.2.1:1", nil, "192.0.2.1"},
		{plain, "192.0.2.1:1", []string{"203.0.113.9"}, "192.0.2.1"},
		{plain, "10.0.0.1:1", []string{"203.0.113.9"}, "10.0.0.1"},
		{trusting, "192.0.2.1:1", []string{"203.0.113.9"}, "192.0.2.1"}, // not from a proxy
		{trusting, "10.0.0.1:1", nil, "10.0.0.1"},
		{trusting, "10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{trusting, "10.0.0.1:1", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"}, // the client made up the first
		{trusting, "10.0.0.1:1", []string{"1.1.1.1", "203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		{trusting, "10.0.0.1:1", []string{"203.0.113.9, nonsense"}, "10.0.0.1"},
		{trusting, "10.0.0.1:1", []string{"10.1.1.1, 10.2.2.2"}, "10.1.1.1"},
		{trusting, "[fd00::1]:1", []string{"2001:db8::7"}, "2001:db8::7"},
		{trusting, "[::ffff:10.0.0.1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{trusting, "@", []string{"203.0.113.9"}, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		for _, f := range c.forwarded {
			r.Header.Add("X-Forwarded-For", f)
		}
		got, err := c.a.Caller(r)
		if err != nil || got.IP != c.want {
			t.Errorf("peer %s, forwarded %q: %q, want %q (%v)", c.peer, c.forwarded, got.IP, c.want, err)
		}
	}
}
