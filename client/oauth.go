package client

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
)

// OAuthError is an error answer of a protocol endpoint (RFC 6749 section 5.2).
type OAuthError struct {
	Status      int    // of HTTP
	Code        string // such as invalid_grant
	Description string // for people
	RetryAfter  time.Duration
}

// Error is the error on one line.
func (e *OAuthError) Error() string {
	if e.Description == "" {
		return e.Code
	}
	return e.Code + ": " + e.Description
}

// Is answers to the sentinels of package api.
func (e *OAuthError) Is(target error) bool {
	switch {
	case e.refused(), e.Code == "invalid_token":
		return target == api.ErrUnauthenticated
	case e.Status == http.StatusTooManyRequests:
		return target == api.ErrLimited
	case e.Status >= 500:
		return target == api.ErrUnavailable
	case e.Code == "unauthorized_client":
		return target == api.ErrForbidden
	default:
		return target == api.ErrInvalid
	}
}

// refused tells whether it was the credentials that the server did not like.
func (e *OAuthError) refused() bool { return e.Code == "invalid_grant" || e.Code == "invalid_client" }

// Token is an access token. It prints without its value.
type Token struct {
	Value   string
	Type    string // Bearer
	Scopes  []string
	Realm   string
	Issued  time.Time // by the caller's clock, before it asked
	Expires time.Time // by the caller's clock; never too late
}

// String masks.
func (t Token) String() string {
	return "[redacted] token that expires " + t.Expires.UTC().Format(time.RFC3339)
}

// GoString masks.
func (t Token) GoString() string { return t.String() }

// Format masks under every verb.
func (t Token) Format(f fmt.State, _ rune) { f.Write([]byte(t.String())) }

// LogValue masks.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalJSON masks.
func (t Token) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// TokenRequest asks the token endpoint.
type TokenRequest struct {
	Realm       string      // of the user. Empty: services
	Credentials Credentials // without a Username the grant is client_credentials, else password
	Scopes      []string    // empty: the client's default scopes
}

// RequestToken asks for a token, once. NewTokenSource does so for programs that run for long.
func (c *Client) RequestToken(ctx context.Context, r TokenRequest) (Token, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	query := url.Values{}
	if r.Credentials.Username != "" {
		form = url.Values{"grant_type": {"password"}, "username": {r.Credentials.Username}, "password": {r.Credentials.Password}}
		realm := r.Realm
		if realm == "" {
			realm = "services"
		}
		query.Set("realm", realm)
	}
	if len(r.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Scopes, " "))
	}
	issued := time.Now().Round(0) // without the monotonic reading, which stands still while a machine sleeps
	var body struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
		Scope       string `json:"scope"`
		Realm       string `json:"realm"`
	}
	if err := c.form(ctx, "token", query, form, r.Credentials, &body); err != nil {
		return Token{}, err
	}
	if body.AccessToken == "" || body.ExpiresIn <= 0 {
		return Token{}, fmt.Errorf("the answer of %s holds no token", c.base.Host)
	}
	return Token{Value: body.AccessToken, Type: body.TokenType, Scopes: strings.Fields(body.Scope), Realm: body.Realm,
		Issued: issued, Expires: issued.Add(time.Duration(body.ExpiresIn) * time.Second)}, nil
}

// TokenInfo is what tokeninfo says about a valid token.
type TokenInfo struct {
	UID       string   `json:"uid"`
	Realm     string   `json:"realm"`
	Scope     []string `json:"scope"`
	ClientID  string   `json:"client_id,omitempty"`
	GrantType string   `json:"grant_type"`
	TokenType string   `json:"token_type"`
	ExpiresIn int64    `json:"expires_in"` // seconds
}

// TokenInfo asks the server whether a token is valid. An invalid token is an error that is api.ErrUnauthenticated.
func (c *Client) TokenInfo(ctx context.Context, token string) (*TokenInfo, error) {
	u := c.protocol("tokeninfo", nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	info := new(TokenInfo)
	return info, c.exchange(req, info)
}

// Introspection is the answer of RFC 7662. Only Active is certain; the rest stands when it is true.
type Introspection struct {
	Active    bool     `json:"active"`
	Subject   string   `json:"sub,omitempty"`
	Username  string   `json:"username,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Scope     string   `json:"scope,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Realm     string   `json:"realm,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	Audience  Audience `json:"aud,omitempty"`
	ID        string   `json:"jti,omitempty"`
	IssuedAt  int64    `json:"iat,omitempty"`
	NotBefore int64    `json:"nbf,omitempty"`
	ExpiresAt int64    `json:"exp,omitempty"`
}

// Audience is one name or a list of them; on the wire one stands without the brackets.
type Audience []string

// UnmarshalJSON takes either form.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = Audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// Introspect asks about a token as the client that the credentials name.
func (c *Client) Introspect(ctx context.Context, token string, as Credentials) (*Introspection, error) {
	out := new(Introspection)
	return out, c.form(ctx, "introspect", nil, url.Values{"token": {token}}, as, out)
}

// RevokeToken ends a token (RFC 7009), as the client that it was made for.
func (c *Client) RevokeToken(ctx context.Context, token string, as Credentials) error {
	return c.form(ctx, "revoke", nil, url.Values{"token": {token}}, as, nil)
}

func (c *Client) protocol(endpoint string, query url.Values) string {
	u := *c.base.JoinPath("oauth2", endpoint)
	u.RawQuery = query.Encode()
	return u.String()
}

// form posts to a protocol endpoint, with the client's credentials by HTTP Basic, or without a secret by its id alone.
func (c *Client) form(ctx context.Context, endpoint string, query, form url.Values, as Credentials, out any) error {
	if as.ClientID != "" && as.ClientSecret == "" {
		form.Set("client_id", as.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.protocol(endpoint, query), strings.NewReader(form.Encode()))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if as.ClientSecret != "" {
		// RFC 6749 section 2.3.1: both halves are form-encoded first.
		req.SetBasicAuth(url.QueryEscape(as.ClientID), url.QueryEscape(as.ClientSecret))
	}
	return c.exchange(req, out)
}

func (c *Client) exchange(req *http.Request, out any) error {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	answer, err := send(c.http, req)
	if err != nil {
		return err
	}
	if answer.status != http.StatusOK {
		return answer.oauthError()
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer.body, out); err != nil {
		// The cause may quote the answer, and the answer may be a token.
		return fmt.Errorf("the answer to %s is not what it should be (is %s a mintmark server?)", answer.request, c.base.Redacted())
	}
	return nil
}

func (a answer) oauthError() error {
	var doc struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(a.body, &doc) != nil || doc.Error == "" {
		return a.problem()
	}
	e := &OAuthError{Status: a.status, Code: doc.Error, Description: doc.Description}
	if seconds, err := time.ParseDuration(a.header.Get("Retry-After") + "s"); err == nil && seconds > 0 {
		e.RetryAfter = seconds
	}
	return e
}
