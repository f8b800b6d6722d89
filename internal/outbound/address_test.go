package outbound_test

import (
	"net/netip"
	"testing"

	"github.com/mintmark/mintmark/internal/outbound"
)

func TestAddresses(t *testing.T) {
	strict := outbound.New(outbound.Options{})
	wide := outbound.New(outbound.Options{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	ten := outbound.New(outbound.Options{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for text, want := range map[string][3]bool{ // strictly, with everything allowed, with 10/8 allowed
		"8.8.8.8":                   {true, true, true},
		"2606:4700::1111":           {true, true, true},
		"64:ff9b::8.8.8.8":          {true, true, true},
		"::ffff:8.8.8.8":            {true, true, true},
		"10.1.2.3":                  {false, true, true},
		"::ffff:10.1.2.3":           {false, true, true},
		"64:ff9b::10.1.2.3":         {false, true, true},
		"11.0.0.0":                  {true, true, true},
		"9.255.255.255":             {true, true, true},
		"127.0.0.1":                 {false, true, false},
		"172.15.255.255":            {true, true, true},
		"172.16.0.0":                {false, true, false},
		"172.32.0.0":                {true, true, true},
		"100.63.255.255":            {true, true, true},
		"100.64.0.0":                {false, true, false},
		"100.127.255.255":           {false, true, false},
		"169.254.169.254":           {false, true, false},
		"192.168.255.255":           {false, true, false},
		"198.19.0.1":                {false, true, false},
		"0.0.0.0":                   {false, false, false},
		"0.1.2.3":                   {false, true, false},
		"224.0.0.1":                 {false, false, false},
		"240.0.0.1":                 {false, true, false},
		"255.255.255.255":           {false, true, false},
		"::":                        {false, false, false},
		"::1":                       {false, true, false},
		"::8.8.8.8":                 {false, true, false},
		"::ffff:0:8.8.8.8":          {false, true, false},
		"64:ff9b::127.0.0.1":        {false, true, false},
		"64:ff9b::0.0.0.0":          {false, true, false},
		"64:ff9b:1::8.8.8.8":        {false, true, false},
		"fe80::1":                   {false, true, false},
		"fec0::1":                   {false, true, false},
		"fc00::1":                   {false, true, false},
		"fd12::1":                   {false, true, false},
		"ff02::1":                   {false, false, false},
		"fe80::1%eth0":              {false, false, false},
		"2001::7f00:1":              {false, true, false},
		"2001:db8::1":               {false, true, false},
		"2002:7f00:1::1":            {false, true, false},
		"2606:4700::5efe:a00:1":     {false, true, false},
		"2606:4700::200:5efe:a00:1": {false, true, false},
		"4000::1":                   {false, true, false},
	} {
		a := netip.MustParseAddr(text)
		if got := [3]bool{strict.Allowed(a), wide.Allowed(a), ten.Allowed(a)}; got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if strict.Allowed(netip.Addr{}) {
		t.Error("no address is allowed")
	}
}

// FuzzAddress: whatever is allowed strictly is a global unicast address by the standard library's words as well, in each
// of the forms in which it can be written, and a URL that holds it is no more and no less allowed.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"8.8.8.8", "127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2606:4700::1111", "fe80::1%lo", "::", "169.254.169.254"} {
		f.Add(seed)
	}
	c := outbound.New(outbound.Options{})
	f.Fuzz(func(t *testing.T, text string) {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		allowed := c.Allowed(a)
		if allowed && (!a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || a.Zone() != "") {
			t.Errorf("%s is allowed", a)
		}
		if a.Is4() && c.Allowed(netip.AddrFrom16(a.As16())) != allowed {
			t.Errorf("%s is judged otherwise as an IPv6 address", a)
		}
		host := a.String()
		if a.Is6() {
			host = "[" + host + "]"
		}
		if a.Zone() == "" && (c.CheckURL("https://"+host+"/") == nil) != allowed {
			t.Errorf("%s is judged otherwise in a URL", a)
		}
	})
}
