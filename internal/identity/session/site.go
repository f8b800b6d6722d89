package session

import (
	"net/http"
	"net/url"
)

// Site is who led a browser here, as far as the browser says.
type Site int

// The sites, the worst last.
const (
	Ours     Site = iota // a page of this server, or the person: an address that was typed, a bookmark
	Beside               // another origin of our site: its requests come with our cookies
	Stranger             // another site: of its forms, our cookies stay behind (SameSite=Lax)
)

// LedBy tells who led the browser here that sent r. Where there is no Sec-Fetch-Site its Origin is looked at: our pages send
// no referrer, so that it may be "null", and programs send none. Both count as ours, so where it matters a form's token must
// be right as well (CheckToken).
func (m *Manager) LedBy(r *http.Request) Site {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return Ours
	case "same-site":
		return Beside
	case "":
	default:
		return Stranger // also what no standard knows yet
	}
	from := r.Header.Get("Origin")
	if from == "" || from == "null" || from == m.o.Origin {
		return Ours
	}
	if u, err := url.Parse(from); err == nil && u.Host != "" && u.Host == r.Host {
		return Ours
	}
	return Stranger
}
