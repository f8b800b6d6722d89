package mithril

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// The grants.
const (
	grantPassword     = registry.GrantPassword
	grantCode         = registry.GrantAuthorizationCode
	grantRefresh      = registry.GrantRefreshToken
	grantForClient    = registry.GrantClientCredentials
	maxCredentialText = 1000
)

// tokenRequest is the body of POST /tokens.
type tokenRequest struct {
	GrantType    string `json:"grant_type"`
	Email        string `json:"email"`
	Username     string `json:"username"` // the older documentation's name of email
	Password     string `json:"password"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Scope        string `json:"scope"`
	Code         string `json:"code"`
	CodeVerifier string `json:"code_verifier"`
	RedirectURI  string `json:"redirect_uri"`
	RefreshToken string `json:"refresh_token"`
}

// grant gives a token. It is the one operation that needs no credential in the header.
func (c *call) grant() (*result, error) {
	var q tokenRequest
	if err := c.decode("token", &q); err != nil {
		return nil, err
	}
	if q.GrantType == "" { // some clients have it in the address, where it tells nobody anything
		q.GrantType = c.r.URL.Query().Get("grant_type")
	}
	switch q.GrantType {
	case "":
		return nil, grantFailure(http.StatusBadRequest, "invalid_request", "Request must include grant_type.")
	case grantPassword:
		return c.byPassword(q)
	case grantCode:
		return c.byCode(q)
	case grantRefresh:
		return c.byRefresh(q)
	case grantForClient:
		return c.byClient(q)
	}
	return nil, grantFailure(http.StatusBadRequest, "unsupported_grant_type", "The grants are password, authorization_code, refresh_token and client_credentials.")
}

// need refuses a request that leaves out what it cannot do without.
func need(fields ...string) error {
	for i := 0; i < len(fields); i += 2 {
		if strings.TrimSpace(fields[i+1]) == "" {
			return grantFailure(http.StatusBadRequest, "invalid_request", "Request must include "+fields[i]+".")
		}
	}
	return nil
}

func invalidClient(message string) error {
	return grantFailure(http.StatusUnauthorized, "invalid_client", message)
}

// typedClient finds a client of this surface from memory.
func (c *call) typedClient(text string) (registry.Client, bool, error) {
	clientID, ok := inner(id.Client, text)
	if !ok {
		return registry.Client{}, false, nil
	}
	client, err := c.o.Registry.Clients().Client(c, clientID)
	if fault.Is(err, fault.NotFound) {
		return registry.Client{}, false, nil
	}
	return client, err == nil && client.Enabled && client.Type != "", err
}

// byPassword gives a session to the login page of the client. What is checked before the password is no secret; whatever
// is wrong with name and password is one answer.
func (c *call) byPassword(q tokenRequest) (*result, error) {
	if q.Email == "" {
		q.Email = q.Username
	}
	if err := need("email", q.Email, "password", q.Password, "client_id", q.ClientID, "scope", q.Scope); err != nil {
		return nil, err
	}
	client, ok, err := c.typedClient(q.ClientID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, invalidClient("Invalid client id.")
	}
	if !client.May(grantPassword) {
		return nil, invalidClient("Client is not allowed to issue login token.")
	}
	scopes, err := registry.ParseScopes("scope", q.Scope)
	if err != nil {
		return nil, grantFailure(http.StatusBadRequest, "invalid_scope", fault.Of(err).Detail)
	}
	u, err := c.o.Identity.VerifyPersonPassword(c, c.o.Realm, q.Email, redact.New(q.Password), identity.Origin{IP: c.who.IP, RequestID: c.who.RequestID})
	if fault.Is(err, fault.Unauthenticated) {
		f := grantFailure(http.StatusUnauthorized, "invalid_grant", "The combination of email and password is wrong.")
		f.cause = err
		return nil, f
	}
	if err != nil {
		return nil, err
	}
	if err := c.alone(u); err != nil {
		return nil, err
	}
	if err := withinType(client, scopes); err != nil {
		return nil, err
	}
	x, err := c.o.OAuth.IssueForPassword(c, client, u, byPasswordAlone, scopes)
	if err != nil {
		return nil, refusedGrant(err)
	}
	redirect := ""
	if len(client.RedirectURIs) > 0 {
		redirect = client.RedirectURIs[0]
	}
	return c.give(nameSession, x, redirect)
}

// withinType refuses what the client's type does not have, and says what it has.
func withinType(client registry.Client, scopes []string) error {
	for _, s := range scopes {
		if !slices.Contains(client.OwnerScopes, s) {
			return grantFailure(http.StatusBadRequest, "invalid_scope", "Scope is not allowed by client type. Allowed: "+strings.Join(client.OwnerScopes, ", ")+".")
		}
	}
	return nil
}

// byPasswordAlone is how people prove to be themselves in the grant password (RFC 8176).
var byPasswordAlone = []string{"pwd"}

// tooLittle tells whether a person was not admitted by what was proved.
func tooLittle(err error) bool {
	return fault.Is(err, fault.Forbidden) || fault.Is(err, fault.Unauthenticated)
}

// alone refuses a person who must prove more than a password: this form of the grant has no place for it.
func (c *call) alone(u identity.User) error {
	if c.o.Admit == nil {
		return nil
	}
	err := c.reading(func(tx db.ReadTx) error { return c.o.Admit(c, tx, u, byPasswordAlone) })
	if tooLittle(err) {
		f := grantFailure(http.StatusUnauthorized, "mfa_required", "This account needs more than a password. Sign in at "+c.o.Issuer+"/oauth2/authorize.")
		if fault.Code(err) == "email_not_verified" {
			f = grantFailure(http.StatusUnauthorized, "access_denied", "The e-mail address of this account must be confirmed first. Sign in at "+c.o.Issuer+"/login to get a link.")
		}
		f.cause = err
		return f
	}
	return err
}

// prove checks the client's secret. Whether the client exists is not told.
func (c *call) prove(q tokenRequest) (registry.Client, error) {
	clientID, ok := inner(id.Client, q.ClientID)
	if !ok || len(q.ClientSecret) > maxCredentialText {
		return registry.Client{}, invalidClient("Invalid client id or secret.")
	}
	client, err := c.o.OAuth.ProveClient(c, clientID, redact.New(q.ClientSecret))
	if err != nil {
		f := refusedGrant(err).(*failure) //nolint:errorlint // it answers nothing else
		if f.kind == "invalid_client" {
			f.message = "Invalid client id or secret."
		}
		return registry.Client{}, f
	}
	if client.Type == "" {
		return registry.Client{}, invalidClient("Invalid client id or secret.")
	}
	return client, nil
}

func (c *call) byCode(q tokenRequest) (*result, error) {
	if err := need("client_id", q.ClientID, "client_secret", q.ClientSecret, "code", q.Code, "redirect_uri", q.RedirectURI); err != nil {
		return nil, err
	}
	client, err := c.prove(q)
	if err != nil {
		return nil, err
	}
	x, err := c.o.OAuth.RedeemCode(c, client, redact.New(q.Code), q.RedirectURI, q.CodeVerifier)
	if err != nil {
		return nil, refusedGrant(err)
	}
	return c.give(nameAccess, x, q.RedirectURI)
}

func (c *call) byRefresh(q tokenRequest) (*result, error) {
	if err := need("client_id", q.ClientID, "client_secret", q.ClientSecret, "refresh_token", q.RefreshToken); err != nil {
		return nil, err
	}
	client, err := c.prove(q)
	if err != nil {
		return nil, err
	}
	x, err := c.o.OAuth.RedeemRefresh(c, client, redact.New(q.RefreshToken))
	if err != nil {
		return nil, refusedGrant(err)
	}
	return c.give(nameAccess, x, "")
}

func (c *call) byClient(q tokenRequest) (*result, error) {
	if err := need("client_id", q.ClientID, "client_secret", q.ClientSecret); err != nil {
		return nil, err
	}
	client, err := c.prove(q)
	if err != nil {
		return nil, err
	}
	var scopes []string
	if strings.TrimSpace(q.Scope) != "" {
		if scopes, err = registry.ParseScopes("scope", q.Scope); err != nil {
			return nil, grantFailure(http.StatusBadRequest, "invalid_scope", fault.Of(err).Detail)
		}
		if err := withinType(client, scopes); err != nil {
			return nil, err
		}
	}
	x, err := c.o.OAuth.IssueForClient(c, client, scopes)
	if err != nil {
		return nil, refusedGrant(err)
	}
	return c.give(nameAccess, x, "")
}

// revoke takes one token back. Its row is listed no more.
func (c *call) revoke(tx db.WriteTx, who access.Caller, t stored) error {
	if t.name == nameAccess {
		if err := c.o.OAuth.RevokeToken(c, tx, oauth.Claims{ID: t.id, ClientID: t.client, Expires: t.expires}, who.String()); err != nil {
			return err
		}
	} else if err := c.o.OAuth.EndGrant(c, tx, t.grant, t.client, "revoked"); err != nil {
		return err
	}
	if err := db.One(tx.Exec(c, `UPDATE mithril_tokens SET revoked = $2 WHERE id = $1`, t.id, db.Micros(tx.Now()))); err != nil {
		return fmt.Errorf("mark a token as revoked: %w", err)
	}
	return audit.Done(c, tx, who, "token.revoke", "token", t.id, map[string]any{"name": t.name, "user": t.user, "client_id": t.client})
}
