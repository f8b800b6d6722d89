package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// A stranger who tries very many passwords through the page keeps nobody out but himself: mintmark hears from the page
// where each browser is.
func TestStrangersKeepNobodyElseOut(t *testing.T) {
	i := install(t, "trusted_proxies", "127.0.0.0/8")
	from := "203.0.113.7:4711"
	page := newUI(i.base, i.login, nil, false)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = from
		page.ServeHTTP(w, r)
	}))
	defer server.Close()
	b := newBrowser(t, server.URL)
	b.get(i.asks(server.URL, "orders:read"))
	for n := 0; b.code != http.StatusTooManyRequests; n++ {
		if n > 100 {
			t.Fatal("the stranger can go on and on: nobody says where he is")
		}
		b.submit("email", fmt.Sprintf("somebody-%d@example.org", n), "password", "wrong horse battery staple")
	}
	from = "198.51.100.9:4711"
	b.submit("email", "ann@example.org", "password", password)
	if b.code != http.StatusOK {
		t.Errorf("somebody else: %d %s", b.code, b.body)
	}
}

func TestWhereTheBrowserIs(t *testing.T) {
	u := &ui{proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	for _, c := range []struct{ peer, forwarded, want string }{
		{"203.0.113.7:1", "", "203.0.113.7"},
		{"203.0.113.7:1", "198.51.100.9", "203.0.113.7"}, // anybody can say that
		{"10.0.0.1:1", "198.51.100.9", "198.51.100.9"},
		{"10.0.0.1:1", "1.2.3.4, 198.51.100.9, 10.0.0.2", "198.51.100.9"},
		{"[::1]:1", "2001:db8::1", "2001:db8::1"},
		{"[::ffff:10.0.0.1]:1", "198.51.100.9", "198.51.100.9"},
		{"10.0.0.1:1", "nonsense", "10.0.0.1"},
		{"@", "198.51.100.9", ""},
	} {
		r := httptest.NewRequest("GET", "/sign-in", nil)
		r.RemoteAddr = c.peer
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := u.browserAddress(r); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if list, err := networks(" 10.0.0.0/8, ::1/128,"); err != nil || len(list) != 2 {
		t.Errorf("%v %v", list, err)
	}
	if _, err := networks("10.0.0.1"); err == nil {
		t.Error("an address passes for a network")
	}
}
