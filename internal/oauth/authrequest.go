package oauth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The codes of RFC 6749 section 4.1.2.1 and OpenID Connect Core section 3.1.2.6 that only this endpoint has.
const (
	unsupportedResponseType = "unsupported_response_type"
	accessDenied            = "access_denied"
	loginRequired           = "login_required"
	consentRequired         = "consent_required"
	invalidTarget           = "invalid_target"
	requestNotSupported     = "request_not_supported"
	requestURINotSupported  = "request_uri_not_supported"
	registrationUnsupported = "registration_not_supported"
)

const (
	maxState    = 4 << 10
	maxNonce    = 1 << 10
	maxHint     = 400
	maxRequest  = 16 << 10
	maxAgeLimit = 10 * 365 * 24 * 3600
)

// The response modes.
const (
	modeQuery    = "query"
	modeFragment = "fragment"
	modeFormPost = "form_post"
)

// authRequest is a request for authorization whose client and redirect URI are good.
type authRequest struct {
	raw      string // as it is stored while a person signs in
	client   Client
	redirect string
	state    *string // nil: none was sent
	mode     string

	scopes    []string
	resources []string // whom the access token is for; nil: this installation
	claims    []string // asked for by name: "id_token.email"
	challenge string
	nonce     string
	prompt    []string
	maxAge    time.Duration // -1: any
	hint      string        // login_hint
	idToken   string        // id_token_hint
}

func (q *authRequest) wants(prompt string) bool { return slices.Contains(q.prompt, prompt) }

// fresh tells whether the person must prove to be it once more, whatever session there is.
func (q *authRequest) fresh() bool { return q.wants("login") || q.wants("select_account") }

// answers are parameters that may stand once; which stood twice is in twice.
type answers struct {
	parameters
	twice []string
}

// readAnswers takes a query or form apart. What can be wrong with a parameter is told later, when it is known whether the
// client may be told; what cannot be read at all is an error.
func readAnswers(raw string) (a answers, ok bool) {
	if len(raw) > maxRequest {
		return a, false
	}
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || !utf8.ValidString(name) || !utf8.ValidString(value) || strings.ContainsRune(value, 0) || len(a.parameters) == maxParameters {
			return a, false
		}
		if _, twice := a.find(name); twice {
			a.twice = append(a.twice, name)
			continue
		}
		a.parameters = append(a.parameters, parameter{name, value})
	}
	return a, true
}

// page is a refusal that only our own page may tell.
func page(status int, code, text string) *refusal {
	return &refusal{status: status, code: code, description: text}
}

// target finds the client and where it wants its answer. Nothing of a request is believed, and nobody is redirected
// anywhere, before both are good (RFC 6749 section 4.1.2.1).
func (p *people) target(ctx context.Context, a answers) (*authRequest, error) {
	if slices.Contains(a.twice, "client_id") || slices.Contains(a.twice, "redirect_uri") {
		return nil, page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: it named itself twice.")
	}
	client, err := p.s.clients.Client(ctx, a.get("client_id"))
	if err != nil && !unknown(err) {
		return nil, err
	}
	if err != nil || !client.Enabled {
		return nil, page(http.StatusBadRequest, invalidClient, "The application that sent you here is not known.")
	}
	redirect, given := a.find("redirect_uri")
	if !given {
		return nil, page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: it did not say where to send you back to.")
	}
	if !client.MayRedirect(redirect) {
		return nil, page(http.StatusBadRequest, invalidRequest, "The application that sent you here wants you sent back to an address that is not registered for it.")
	}
	q := &authRequest{client: client, redirect: redirect, mode: modeQuery, maxAge: -1}
	if state, given := a.find("state"); given && len(state) <= maxState && !slices.Contains(a.twice, "state") {
		q.state = &state
	}
	return q, nil
}

// check does the rest. Its errors go back to the client.
func (q *authRequest) check(a answers, audience string) error {
	if mode, given := a.find("response_mode"); given && !slices.Contains(a.twice, "response_mode") {
		if !slices.Contains([]string{modeQuery, modeFragment, modeFormPost}, mode) {
			return refuse(invalidRequest, "The response modes are query, fragment and form_post.")
		}
		q.mode = mode
	}
	if len(a.twice) > 0 {
		return refuse(invalidRequest, "A parameter is given more than once.")
	}
	if _, given := a.find("state"); given && q.state == nil {
		return refuse(invalidRequest, "state is too long.")
	}
	for name, code := range map[string]string{"request": requestNotSupported, "request_uri": requestURINotSupported, "registration": registrationUnsupported} {
		if _, given := a.find(name); given {
			return refuse(code, "This parameter is not supported: "+name+".")
		}
	}
	switch kind := a.get("response_type"); kind {
	case "code":
	case "":
		return refuse(invalidRequest, "response_type is missing.")
	default:
		if _, given := a.find("response_mode"); !given && strings.Contains(kind, "token") {
			q.mode = modeFragment // where a client of that flow looks
		}
		return refuse(unsupportedResponseType, "The response type is code.")
	}
	if !q.client.May(grantAuthorizationCode) {
		return refuse(unauthorizedClient, "This client may not sign people in.")
	}
	if err := q.checkPKCE(a); err != nil {
		return err
	}
	if resource, given := a.find("resource"); given && resource != audience {
		return refuse(invalidTarget, "No such resource is known.")
	}
	if err := q.checkScopes(a.get("scope")); err != nil {
		return err
	}
	return q.checkPerson(a)
}

// checkPKCE wants S256 of every client: it binds the code to the request that it was made for, which the client's secret
// does not.
func (q *authRequest) checkPKCE(a answers) error {
	q.challenge = a.get("code_challenge")
	if q.challenge == "" {
		return refuse(invalidRequest, "code_challenge is missing: PKCE is required.")
	}
	if a.get("code_challenge_method") != "S256" {
		return refuse(invalidRequest, "code_challenge_method must be S256.")
	}
	if !unreserved(q.challenge) || len(q.challenge) != 43 {
		return refuse(invalidRequest, "code_challenge is not the base64url form of a SHA-256.")
	}
	return nil
}

func (q *authRequest) checkScopes(text string) (err error) {
	if q.scopes, err = parseScopes(text); err != nil {
		return err
	}
	if len(q.scopes) == 0 {
		q.scopes = []string{scopeUID}
	}
	var refused []string
	for _, scope := range q.scopes {
		if !mayAsk(q.client, scope) {
			refused = append(refused, scope)
		}
	}
	if len(refused) > 0 {
		return refuse(invalidScope, "This client may not ask a person for: "+strings.Join(refused, " "))
	}
	return nil
}

// checkPerson reads what the request says about the person and the login.
func (q *authRequest) checkPerson(a answers) error {
	q.nonce, q.hint, q.idToken = a.get("nonce"), a.get("login_hint"), a.get("id_token_hint")
	if len(q.nonce) > maxNonce {
		return refuse(invalidRequest, "nonce is too long.")
	}
	if len(q.hint) > maxHint {
		q.hint = ""
	}
	q.prompt = strings.Fields(a.get("prompt"))
	if q.wants("none") && len(q.prompt) > 1 {
		return refuse(invalidRequest, "prompt=none stands alone.")
	}
	// A word that we do not know is left aside, as OpenID Connect Core section 3.1.2.1 advises: there are clients that send
	// texts of their own. This one asks for something that the person would miss.
	if q.wants("create") {
		return refuse(invalidRequest, "People cannot register here.")
	}
	if text, given := a.find("max_age"); given {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 0 {
			return refuse(invalidRequest, "max_age is a number of seconds.")
		}
		q.maxAge = time.Duration(min(seconds, maxAgeLimit)) * time.Second
	}
	return nil
}

// prompts are the words that mean something here.
var prompts = []string{"none", "login", "consent", "select_account"}

// unreserved is the alphabet of RFC 7636 section 4.1.
func unreserved(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return true
}
