package oauth

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/route"
)

// The two answers of tokeninfo to what is no valid token, byte for byte what services of this family know. All tokens
// that are not valid get the same one, so that it tells a forger nothing.
var (
	noToken  = []byte(`{"error":"invalid_request","error_description":"Access Token not valid"}`)
	badToken = []byte(`{"error":"invalid_token","error_description":"Access Token not valid"}`)
)

// tokeninfo tells what a token says, to whoever holds it: GET, HEAD or POST.
func (s *Server) tokeninfo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		notThisMethod(w, r, "GET, HEAD, POST")
		return
	}
	token, err := shownToken(r)
	if err != nil {
		no := refusalOf(err)
		route.NoteError(r.Context(), no.code, no.cause)
		no.write(w)
		return
	}
	if token == "" {
		tokenProblem(w, r, http.StatusBadRequest, noToken, invalidRequest, nil)
		return
	}
	c, err := s.verifier.Verify(r.Context(), token, VerifyOptions{})
	s.counted("tokeninfo", c, err)
	if err != nil {
		if no := refusalOf(err); !isTokenError(err) {
			route.NoteError(r.Context(), no.code, no.cause)
			no.write(w)
			return
		}
		w.Header()["Www-Authenticate"] = bearerFailed
		tokenProblem(w, r, http.StatusUnauthorized, badToken, "invalid_token", err)
		return
	}
	answerWith(w, func(b []byte) []byte { return s.appendTokeninfo(b, token, c) })
}

// tokenProblem writes one of the two fixed answers, under the content type that they always had.
func tokenProblem(w http.ResponseWriter, r *http.Request, status int, body []byte, code string, cause error) {
	route.NoteError(r.Context(), code, cause)
	h := w.Header()
	private(h)
	h["Content-Type"] = jsonUTF8
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) // the caller is gone if it fails, and nobody is left to tell
}

// shownToken finds the token: in the header, else in the query, else in the form. The header wins, since it is the one
// place that no log and no history keeps. Parameters that other providers know (callback) mean nothing here.
func shownToken(r *http.Request) (string, error) {
	if len(r.Header["Authorization"]) > 1 {
		return "", refuse(invalidRequest, "Send one Authorization header.") // a proxy might have looked at the other one
	}
	if token, ok := bearer(r); ok && token != "" {
		return token, nil
	}
	var q parameters
	if r.URL.RawQuery != "" {
		if err := q.form(r.URL.RawQuery); err != nil {
			return "", err
		}
		if token := q.get("access_token"); token != "" {
			return token, nil
		}
	}
	if r.Method != http.MethodPost {
		return "", nil
	}
	if !isForm(r) {
		return "", nil
	}
	body, err := readBody(r)
	if err != nil {
		return "", err
	}
	var p parameters
	if err := p.form(body); err != nil {
		return "", err
	}
	return p.get("access_token"), nil
}

// bearer reads the Authorization header; ok is false if there is none of scheme Bearer.
func bearer(r *http.Request) (token string, ok bool) {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(rest), true
}

// appendTokeninfo appends the document, its members in the order of the alphabet. Each scope stands a second time as a
// member of its own, which is how some services ask for it; but a scope never takes the name of a member that means
// something else, whether that member is there or not.
func (s *Server) appendTokeninfo(b []byte, token string, c *Claims) []byte {
	flat := make([]string, 0, len(c.Scopes))
	for _, scope := range c.Scopes {
		if !standardMember(scope) {
			flat = append(flat, scope)
		}
	}
	slices.Sort(flat)
	flat = slices.Compact(flat)
	b = append(b, '{')
	member := func(name string) {
		for len(flat) > 0 && flat[0] < name {
			b = append(appendText(b, flat[0]), `:true,`...)
			flat = flat[1:]
		}
		b = append(append(append(b, '"'), name...), '"', ':')
	}
	member("access_token")
	b = append(append(append(b, '"'), token...), '"', ',')
	if c.AuthorizedParty != "" {
		member("client_id")
		b = append(appendText(b, c.AuthorizedParty), ',')
	}
	member("expires_in")
	b = append(strconv.AppendInt(b, int64(c.Expires.Sub(s.clock.Now()).Seconds()), 10), ',')
	member("grant_type")
	b = append(appendText(b, c.Grant), ',')
	member("realm")
	b = append(appendText(b, s.outward(c.Realm)), ',')
	member("scope")
	b = append(appendTexts(b, c.Scopes), ',')
	member("token_type")
	b = append(b, `"Bearer",`...)
	member("uid")
	b = appendText(b, c.Subject)
	for _, scope := range flat {
		b = append(appendText(append(b, ','), scope), `:true`...)
	}
	return append(b, '}')
}

func standardMember(name string) bool {
	switch name {
	case "access_token", "client_id", "expires_in", "grant_type", "realm", "scope", "token_type", "uid",
		"refresh_token", "open_id", "active", "error", "error_description":
		return true
	}
	return false
}

// counted counts one verification, and journals it for the client that the token was made for.
func (s *Server) counted(endpoint string, c *Claims, err error) {
	switch {
	case err == nil:
		s.metrics.verified.WithLabelValues(endpoint, c.Realm, outcomeSuccess).Inc()
		s.journal.note(act{action: "token.verify", outcome: audit.Success, client: c.ClientID, realm: c.Realm})
	case isTokenError(err):
		s.metrics.verified.WithLabelValues(endpoint, "unknown", outcomeInvalid).Inc()
	default:
		s.metrics.verified.WithLabelValues(endpoint, "unknown", outcomeOther).Inc()
	}
}
