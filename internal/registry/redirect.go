package registry

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	maxRedirects   = 50
	maxRedirectURI = 2048
)

// checkRedirect tells what is wrong with an address that a browser would be sent to with a code in it, or "".
//
// What is allowed is listed, so that the next scheme which runs code in a browser is refused without our knowing it.
func checkRedirect(uri string) string {
	if uri == "" || len(uri) > maxRedirectURI {
		return "A redirect URI has between 1 and 2048 bytes."
	}
	// Two programs read these characters differently, or do not take them at all. A wildcard means nothing here, and
	// whoever writes one believes that it does.
	if strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\\\"<>^`{|}*'", r) }) {
		return "A redirect URI is written in plain ASCII, without spaces, wildcards, quotes and backslashes; escape others."
	}
	if strings.Contains(uri, "#") {
		return "A redirect URI has no fragment."
	}
	u, err := url.Parse(uri)
	if err != nil || u.User != nil || u.Scheme != strings.ToLower(u.Scheme) || !strings.HasPrefix(uri, u.Scheme+":") {
		return "This is no URI that can be redirected to."
	}
	switch {
	case u.Scheme == "https":
		if !plainHost(u) {
			return "The host must be a name or an address in lower case, and the port a number."
		}
	case u.Scheme == "http":
		if _, _, ok := loopback(uri); !ok {
			return "http is allowed on localhost, 127.0.0.1 and [::1] alone; use https."
		}
	case !strings.Contains(u.Scheme, "."):
		return "Use https, http on a loopback address, or for a native application a scheme with a dot, such as com.example.app."
	case u.Host != "" && !plainHost(u):
		return "The host must be a name or an address in lower case, and the port a number."
	}
	return ""
}

func plainHost(u *url.URL) bool {
	name := u.Hostname()
	if name == "" || strings.HasSuffix(name, ".") || strings.ToLower(u.Host) != u.Host || strings.Contains(u.Host, "%") {
		return false
	}
	// A URL may hold more, such as a semicolon; but a host goes into the policies of pages, where that ends a rule.
	if !strings.HasPrefix(u.Host, "[") && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
		return false
	}
	if port := u.Port(); port == "" {
		return !strings.HasSuffix(u.Host, ":")
	} else {
		n, err := strconv.Atoi(port)
		return err == nil && n > 0 && n < 1<<16
	}
}

// loopback takes an address of the same machine apart: the host, and what follows the port. It reads bytes and asks no
// library, because the difference between two readings of one URL is what attackers live on.
func loopback(uri string) (host, rest string, ok bool) {
	for _, host = range []string{"localhost", "127.0.0.1", "[::1]"} {
		rest, ok = strings.CutPrefix(uri, "http://"+host)
		if !ok {
			continue
		}
		if port, isPort := strings.CutPrefix(rest, ":"); isPort {
			digits := 0
			for digits < len(port) && port[digits] >= '0' && port[digits] <= '9' {
				digits++
			}
			if n, err := strconv.Atoi(port[:digits]); err != nil || digits > 5 || n == 0 || n >= 1<<16 {
				return "", "", false
			}
			rest = port[digits:]
		}
		if rest == "" {
			rest = "/" // the same address; a client of this family leaves the slash out
		}
		return host, rest, rest[0] == '/' || rest[0] == '?'
	}
	return "", "", false
}

// matchRedirect tells whether given is one of the registered addresses: byte by byte, but for the port of a loopback
// address, which a native application cannot know before it runs (RFC 8252 section 7.3).
func matchRedirect(registered []string, given string) bool {
	if slices.Contains(registered, given) {
		return true
	}
	host, rest, ok := loopback(given)
	if !ok {
		return false
	}
	return slices.ContainsFunc(registered, func(r string) bool {
		h, p, ok := loopback(r)
		return ok && h == host && p == rest
	})
}
