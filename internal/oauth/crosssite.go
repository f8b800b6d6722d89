package oauth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/mintmark/mintmark/internal/identity/session"
)

// maxAddress bounds the address that a form becomes. All headers of a request have 32 KiB.
const maxAddress = 20 << 10

// fetched sends a browser that brought the form of another site here once more, for the same with a GET.
//
// Our cookies do not come with such a form (SameSite=Lax), but they do with the GET that follows. Without them whoever is
// signed in looks like nobody: she would have to sign in once more, and would be told that she is signed out when she is
// not; and the request that another page of hers waits with would lose its cookie to a new one.
func (p *people) fetched(w http.ResponseWriter, r *http.Request, raw string) bool {
	if r.Method != http.MethodPost || p.Sessions.LedBy(r) != session.Stranger {
		return false
	}
	a, ok := readAnswers(raw)
	if !ok || len(a.twice) > 0 {
		return false // it is refused as it is
	}
	var b strings.Builder
	for i, q := range a.parameters {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(q.name) + "=" + url.QueryEscape(q.value))
	}
	if b.Len() > maxAddress {
		return false
	}
	redirect(w, r.URL.Path+"?"+b.String())
	return true
}
