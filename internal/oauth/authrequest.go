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

	"github.com/mintmark/mintmark/internal/registry"
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
	selectionRequired       = "account_selection_required"
	unmetAuthentication     = "unmet_authentication_requirements"
	invalidRequestURI       = "invalid_request_uri"
)

const (
	maxState    = 4 << 10
	maxNonce    = 1 << 10
	maxHint     = 400
	maxLocales  = 200
	maxACRs     = 16
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
	kind     responseType
	mode     string
	signed   bool // the answer, as a JWT (JARM)
	// twofold has errors stand in the query besides: a program that waits on a port of its own machine for the fragment
	// hears of an error only there.
	twofold bool
	pushed  []byte // MAC of the pushed request that it is; empty: it came as it is

	scopes    []string
	resources []string // whom the access token is for; nil: this installation
	claims    []string // asked for by name: "id_token.email"
	subjects  []string // one of which the person must be; nil: anybody
	acrs      []string // classes of login that are wanted, the best first; nil: any
	mustACR   bool     // nothing is to be answered without one of them
	challenge string
	nonce     string
	prompt    []string
	maxAge    time.Duration // -1: any
	hint      string        // login_hint
	locales   string        // ui_locales, for the pages
	idToken   string        // id_token_hint
}

func (q *authRequest) wants(prompt string) bool {
	// Whatever a client of strangers is allowed, it is asked for anew each time.
	return slices.Contains(q.prompt, prompt) || prompt == "consent" && q.client.Untrusted
}

// answers are parameters that may stand once; which stood twice is in twice. resource alone may be repeated.
type answers struct {
	parameters
	resources []string
	twice     []string
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
		if err1 != nil || err2 != nil || !utf8.ValidString(name) || !utf8.ValidString(value) || strings.ContainsRune(name+value, 0) || len(a.parameters) == maxParameters {
			return a, false
		}
		if name == "resource" {
			if len(a.resources) <= maxResources { // one more than may be, which tells that there were too many
				a.resources = append(a.resources, value)
			}
			continue
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
func (p *people) check(q *authRequest, a answers) error {
	if err := q.checkForm(a); err != nil {
		return err
	}
	for name, code := range map[string]string{"request": requestNotSupported, "request_uri": requestURINotSupported, "registration": registrationUnsupported} {
		if _, given := a.find(name); given {
			return refuse(code, "This parameter is not supported: "+name+".")
		}
	}
	if err := q.checkType(a); err != nil {
		return err
	}
	if len(q.pushed) == 0 && (p.RequirePAR || q.client.Metadata.RequirePAR) {
		return refuse(invalidRequest, "This request must be pushed first (RFC 9126).")
	}
	if err := q.checkPKCE(a); err != nil {
		return err
	}
	var err error
	if q.resources, err = p.s.chooseResources(q.client, a.resources); err != nil {
		return err
	}
	if err := q.checkScopes(a.get("scope")); err != nil {
		return err
	}
	if err := q.checkPerson(a); err != nil {
		return err
	}
	// The person would miss that (Initiating User Registration via OpenID Connect 1.0 section 4.1).
	if p.RegisterAt == nil && q.wants(promptCreate) {
		return refuse(invalidRequest, "People cannot register here.")
	}
	return q.checkClaims(a)
}

// checkForm finds out how the client wants its answer, first of all, because errors are answers too.
func (q *authRequest) checkForm(a answers) error {
	if !slices.Contains(a.twice, "response_type") {
		q.kind, _ = readResponseType(a.get("response_type"))
		if q.kind.front() {
			q.mode = modeFragment // never in a query: that ends up in logs
		}
	}
	q.twofold = q.kind.name == "token" && q.mode == modeFragment && toLoopback(q.redirect)
	if mode, given := a.find("response_mode"); given && !slices.Contains(a.twice, "response_mode") {
		mode, signed := signedMode(mode, q.mode)
		switch {
		case !slices.Contains([]string{modeQuery, modeFragment, modeFormPost}, mode):
			return refuse(invalidRequest, "The response modes are "+strings.Join(responseModes(), ", ")+".")
		case mode == modeQuery && q.kind.front():
			return refuse(invalidRequest, "Tokens do not go into a query.")
		}
		q.mode, q.signed, q.twofold = mode, signed, false
	}
	if len(a.twice) > 0 {
		return refuse(invalidRequest, "A parameter is given more than once.")
	}
	if _, given := a.find("state"); given && q.state == nil {
		return refuse(invalidRequest, "state is too long.")
	}
	return nil
}

// checkType tells whether the client may have what it wants. A token that comes through the browser is only for clients
// to which an administrator gave that type of answer and the grant for it (RFC 9700 section 2.1.2).
func (q *authRequest) checkType(a answers) error {
	text, given := a.find("response_type")
	if !given || text == "" {
		return refuse(invalidRequest, "response_type is missing.")
	}
	if _, known := readResponseType(text); !known || !q.client.MayRespond(q.kind.name) {
		return refuse(unsupportedResponseType, "This client may not use this response type.")
	}
	if q.kind.code && !q.client.May(grantAuthorizationCode) || q.kind.front() && !q.client.May(registry.GrantImplicit) {
		return refuse(unauthorizedClient, "This client may not sign people in this way.")
	}
	if q.kind.idToken && a.get("nonce") == "" {
		return refuse(invalidRequest, "nonce is missing: an ID token that comes through the browser needs one.")
	}
	return nil
}

// checkPKCE wants S256 of every client that gets a code: it binds the code to the request that it was made for, which the
// client's secret does not. An administrator can leave it to a client that has a secret.
func (q *authRequest) checkPKCE(a answers) error {
	if !q.kind.code {
		return nil
	}
	q.challenge = a.get("code_challenge")
	_, method := a.find("code_challenge_method")
	if q.challenge == "" && !method && q.client.Confidential && q.client.Metadata.PKCEOptional {
		return nil
	}
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
		q.scopes = slices.DeleteFunc(slices.Clone(q.client.DefaultScopes), func(scope string) bool { return !mayAsk(q.client, scope) })
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
	if q.kind.idToken && !slices.Contains(q.scopes, scopeOpenID) {
		return refuse(invalidScope, "An ID token needs scope openid.")
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
	// texts of their own.
	var err error
	if q.maxAge, err = readMaxAge(a.parameters); err != nil {
		return err
	}
	q.defaultMaxAge()
	if locales := a.get("ui_locales"); len(locales) <= maxLocales && localeList(locales) {
		q.locales = locales
	}
	return nil
}

// readMaxAge is the parameter max_age, or -1 if it was not sent.
func readMaxAge(p parameters) (time.Duration, error) {
	text, given := p.find("max_age")
	if !given {
		return -1, nil
	}
	seconds, err := strconv.Atoi(text)
	if err != nil || seconds < 0 {
		return -1, refuse(invalidRequest, "max_age is a number of seconds.")
	}
	return time.Duration(min(seconds, maxAgeLimit)) * time.Second, nil
}

// defaultMaxAge is what the client is registered with, where the request says nothing.
func (q *authRequest) defaultMaxAge() {
	if d := q.client.Metadata.DefaultMaxAge; q.maxAge < 0 && d > 0 {
		q.maxAge = d
	}
}

// prompts are what a client may want of us; promptCreate only where people may register.
var prompts = []string{"none", "login", "consent", "select_account", promptCreate}

const promptCreate = "create"

// localeList is the form of ui_locales: language tags with spaces between. What is none is as good as absent.
func localeList(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == ' ':
		default:
			return false
		}
	}
	return true
}

// checkClaims reads which claims are asked for by name, and which class the login should have. acr_values is a wish; only
// the parameter claims can make it a condition (OpenID Connect Core sections 3.1.2.1 and 5.5.1.1).
func (q *authRequest) checkClaims(a answers) error {
	if text, given := a.find("claims"); given && slices.Contains(q.scopes, scopeOpenID) {
		c, err := readClaims(text)
		if err != nil {
			return err
		}
		q.claims, q.subjects, q.acrs, q.mustACR = c.names, c.subjects, c.acrs, c.mustACR
	}
	if q.acrs == nil {
		q.acrs = strings.Fields(a.get("acr_values"))
	}
	return q.checkACRs()
}

// checkACRs bounds the classes that the request names, and takes those of the client where it names none.
func (q *authRequest) checkACRs() error {
	if len(q.acrs) == 0 && !q.mustACR {
		q.acrs = q.client.Metadata.DefaultACRs
	}
	if len(q.acrs) > maxACRs {
		return refuse(invalidRequest, "Too many classes of login.")
	}
	return nil
}

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
