package oauth

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// serviceRealm is the realm of service users, and of clients that act on their own account.
const serviceRealm = realm.Robots

// Routes puts the endpoints into the mux.
func (s *Server) Routes(m *route.Mux) {
	grants := []string{grantPassword, grantClientCredentials, grantJWTBearer}
	if s.people != nil {
		grants = append(grants, grantAuthorizationCode, grantRefreshToken, grantDeviceCode)
		s.people.register(m)
	}
	s.trustRoutes(m)
	m.Handle("/oauth2/token", s.shared("POST", only(http.MethodPost, s.tokenEndpoint(strictly, grants...))))
	m.Handle("/oauth2/access_token", only(http.MethodPost, s.tokenEndpoint(legacy, grants...)))
	m.Handle("/z/oauth2/access_token", only(http.MethodPost, s.tokenEndpoint(legacy, grantPassword)))
	m.Handle("/oauth2/tokeninfo", s.tokeninfo)
	m.Handle("/oauth2/introspect", only(http.MethodPost, s.introspect))
	m.Handle("/oauth2/revoke", s.shared("POST", only(http.MethodPost, s.revoke)))
	s.revocationRoutes(m)
	m.HandleAlways("/oauth2/jwks", public(get(s.keys.ServeJWKS)))
	m.HandleAlways("/oauth2/connect/keys", public(get(s.keys.ServeJWKS)))
	m.HandleAlways("/.well-known/jwks.json", public(get(s.keys.ServeJWKS)))
	m.HandleAlways("/.well-known/openid-configuration", public(get(s.discovery)))
	m.HandleAlways("/.well-known/oauth-authorization-server", public(get(s.discovery)))
	m.HandleAlways("/health", get(s.health))
}

func only(method string, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			notThisMethod(w, r, method)
			return
		}
		h(w, r)
	}
}

func get(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			notThisMethod(w, r, "GET, HEAD")
			return
		}
		h(w, r)
	}
}

func notThisMethod(w http.ResponseWriter, r *http.Request, allow string) {
	w.Header()["Allow"] = []string{allow}
	no := &refusal{status: http.StatusMethodNotAllowed, code: notAllowed, description: "Use " + allow + "."}
	route.NoteError(r.Context(), no.code, nil)
	no.write(w)
}

// tokenRequest is what became known of one request for a token, as far as it went: for the answer and for the counts.
type tokenRequest struct {
	grant  string // "unknown" until it is known to exist
	realm  string // canonical; "unknown" until it is known to exist
	client string
	scopes []string
	// Whom the token is for; nil: this installation.
	audience []string
	until    time.Time // what it gives lives no longer; zero: as long as others
}

// tokenEndpoint serves one of the addresses for the grants named.
func (s *Server) tokenEndpoint(d dialect, grants ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t := tokenRequest{grant: "unknown", realm: "unknown"}
		body, err := s.grantToken(r, d, grants, &t)
		a := act{action: "token.issue", client: t.client, realm: t.realm, grant: t.grant}
		if err == nil {
			a.outcome = audit.Success
			s.journal.note(a)
			s.metrics.issued.WithLabelValues(t.realm, t.grant, outcomeSuccess).Inc()
			answer(w, http.StatusOK, body)
			return
		}
		no := refusalOf(err)
		s.metrics.issued.WithLabelValues(t.realm, t.grant, no.class()).Inc()
		if t.client != "" { // else it is nobody yet, and the failure to authenticate is counted where it happened
			a.outcome, a.reason = audit.Denied, no.code
			if no.status >= http.StatusInternalServerError {
				a.outcome = audit.Failed
			}
			s.journal.note(a)
		}
		route.NoteError(r.Context(), no.code, no.cause)
		no.write(w)
	}
}

// grantToken checks in the order that legacy clients know: grant, realm, blank credentials, client, user, scopes.
func (s *Server) grantToken(r *http.Request, d dialect, grants []string, t *tokenRequest) ([]byte, error) {
	read := readForm
	if d == legacy {
		read = readLegacy
	}
	p, err := read(r)
	if err != nil {
		return nil, err
	}
	grant := p.get("grant_type")
	if grant == "" {
		return nil, refuse(invalidRequest, "grant_type is missing.")
	}
	if !slices.Contains(grants, grant) {
		return nil, refuse(unsupportedGrantType, "This endpoint knows the grants "+strings.Join(grants, ", ")+".")
	}
	t.grant = grant
	if grant == grantAuthorizationCode || grant == grantRefreshToken || grant == grantDeviceCode {
		return s.grantOwned(r, p, d, t)
	}
	if grant == grantJWTBearer {
		return s.grantAsserted(r, p, d, t)
	}
	if t.realm, err = s.realmOf(r, p, grant); err != nil {
		t.realm = "unknown"
		return nil, err
	}
	asked, err := parseScopes(p.get("scope"))
	if err != nil {
		return nil, err
	}
	if grant == grantPassword && blank(p) {
		return nil, badCredentials()
	}
	client, err := s.authenticate(r, p, d)
	if err != nil {
		return nil, err
	}
	t.client = client.ID
	if grant == grantPassword && s.realmNamed(t.realm).Kind == realm.People {
		return s.people.personPassword(r, client, p, p.get("scope"), t)
	}
	a := admission{grant: grant, client: client, asked: asked}
	subject, since := client.ID, client.EnabledSince
	if grant == grantPassword {
		if a.subject, err = s.serviceUser(r.Context(), t.realm, p); err != nil {
			return nil, err
		}
		subject = a.subject.Username
		if a.subject.EnabledSince.After(since) {
			since = a.subject.EnabledSince
		}
	}
	if t.scopes, err = s.admit(a); err != nil {
		return nil, err
	}
	if t.audience, err = s.chooseResources(client, p.all("resource")); err != nil {
		return nil, err
	}
	return s.tokenAnswer(r.Context(), t, client, subject, since)
}

// grantOwned serves the grants by which a client acts for a person.
func (s *Server) grantOwned(r *http.Request, p parameters, d dialect, t *tokenRequest) ([]byte, error) {
	asked, err := parseScopes(p.get("scope"))
	if err != nil {
		return nil, err
	}
	client, err := s.authenticate(r, p, d)
	if err != nil {
		return nil, err
	}
	t.client = client.ID
	switch t.grant {
	case grantRefreshToken:
		return s.people.refreshToken(r, client, p, asked, t)
	case grantDeviceCode:
		return s.people.pollDevice(r, client, p, t)
	}
	return s.people.exchangeCode(r, client, p, t)
}

// realmOf finds the realm that the request is about: from the parameter, or else from a label of the host name, as in
// token.services.example.org. A client that acts on its own account is a service whatever the host is called.
func (s *Server) realmOf(r *http.Request, p parameters, grant string) (string, error) {
	name, given := p.find("realm")
	if !given && grant == grantClientCredentials {
		return serviceRealm, nil
	}
	if given && name != "" {
		found, err := s.realms.Lookup(name)
		if err != nil {
			if canonical, err := realm.Canonical(name); err == nil { // its alphabet is narrow
				return "", refuse(realmNotFound, canonical+" not found")
			}
			return "", refuse(realmNotFound, "The realm was not found.")
		}
		if found.Kind != realm.Services && (grant != grantPassword || !s.takesPasswords(found)) {
			return "", refuse(unauthorizedClient, "This grant is for service users alone.")
		}
		return found.Name, nil
	}
	isBreak := func(c rune) bool { return c == '.' || c == '-' || c == ':' }
	for _, label := range strings.FieldsFunc(r.Host, isBreak) {
		if found, err := s.realms.Lookup(label); err == nil && found.Kind == realm.Services {
			return found.Name, nil
		}
	}
	return "", refuse(missingRealm, "Name the realm: add ?realm=services.")
}

// serviceUser checks a user name and a password. Whatever is wrong with them, the answer is the same.
func (s *Server) serviceUser(ctx context.Context, realm string, p parameters) (*Subject, error) {
	subject, err := s.users.ServicePassword(ctx, realm, p.get("username"), redact.New(p.get("password")))
	if err == nil {
		return &subject, nil
	}
	if unknown(err) {
		return nil, badCredentials()
	}
	return nil, err
}

// tokenAnswer makes the token and the document that carries it. The token is never dated before since, from when on the
// client and the user are enabled, although this node's clock may be behind the database's: it would not be valid.
func (s *Server) tokenAnswer(ctx context.Context, t *tokenRequest, client Client, subject string, since time.Time) ([]byte, error) {
	life, now := s.accessLife(client, t.realm, t.grant), s.clock.Now().Truncate(time.Second)
	if first := wholeSecond(since); first.After(now) {
		now = first
	}
	if life = t.shorten(life, now); life <= 0 {
		return nil, badCredentials()
	}
	c := &Claims{
		Issuer: s.issuer, Audience: s.audienceOf(t), Subject: subject, ClientID: t.client, Realm: t.realm, Scopes: t.scopes, Grant: t.grant,
		IssuedAt: now, Expires: now.Add(life),
	}
	c.NameParty()
	token, err := s.mint(ctx, c)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(token)+256)
	b = append(b, `{"access_token":"`...)
	b = append(b, token...) // base64url and dots
	b = append(b, `","token_type":"Bearer","expires_in":`...)
	b = strconv.AppendInt(b, int64(life.Seconds()), 10)
	b = appendText(append(b, `,"scope":`...), sortedText(c.Scopes))
	b = appendText(append(b, `,"realm":`...), s.outward(c.Realm))
	return append(b, '}'), nil
}
