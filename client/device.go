package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// DeviceAuthorization is what a device without a browser got to begin with (RFC 8628 section 3.2). It shows UserCode and
// VerificationURI to a person, perhaps VerificationURIComplete as a QR code, and keeps DeviceCode to itself.
type DeviceAuthorization struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int64  `json:"expires_in"` // seconds
	Interval                int64  `json:"interval"`   // seconds to wait before each poll
}

// String masks.
func (d DeviceAuthorization) String() string { return "[redacted] device authorization " + d.UserCode }

// GoString masks.
func (d DeviceAuthorization) GoString() string { return d.String() }

// Format masks under every verb.
func (d DeviceAuthorization) Format(f fmt.State, _ rune) { f.Write([]byte(d.String())) }

// LogValue masks.
func (d DeviceAuthorization) LogValue() slog.Value { return slog.StringValue(d.String()) }

// Grant is what a client got for a person: a token, and perhaps one to renew it with. It prints without its values.
type Grant struct {
	Token
	RefreshToken string // empty: none
	IDToken      string // empty: none
}

// AuthorizeDevice begins: as names the client, which needs no secret if it is public. Without scopes the client gets its
// default ones.
func (c *Client) AuthorizeDevice(ctx context.Context, as Credentials, scopes ...string) (*DeviceAuthorization, error) {
	form := url.Values{}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	var d DeviceAuthorization
	if err := c.form(ctx, "device_authorization", nil, form, as, &d); err != nil {
		return nil, err
	}
	if d.DeviceCode == "" || d.UserCode == "" || d.VerificationURI == "" || d.ExpiresIn <= 0 {
		return nil, fmt.Errorf("the answer of %s holds no codes", c.base.Host)
	}
	if d.Interval <= 0 {
		d.Interval = 5 // as the standard says
	}
	return &d, nil
}

// PollDevice asks once whether the person has decided. Until then the error is an OAuthError with the code
// authorization_pending, or slow_down: then wait five seconds longer before each poll from now on.
func (c *Client) PollDevice(ctx context.Context, as Credentials, deviceCode string) (Grant, error) {
	return c.grant(ctx, as, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {deviceCode}})
}

// WaitDevice polls until the person has decided, the codes have expired or ctx ends. pause waits; nil: it really does.
func (c *Client) WaitDevice(ctx context.Context, as Credentials, d *DeviceAuthorization, pause func(context.Context, time.Duration) error) (Grant, error) {
	if pause == nil {
		pause = wait
	}
	every := time.Duration(d.Interval) * time.Second
	for {
		if err := pause(ctx, every); err != nil {
			return Grant{}, err
		}
		g, err := c.PollDevice(ctx, as, d.DeviceCode)
		var no *OAuthError
		switch {
		case err == nil:
			return g, nil
		case errors.As(err, &no) && no.Code == "authorization_pending":
		case errors.As(err, &no) && (no.Code == "slow_down" || no.Status >= 500):
			every += 5 * time.Second
		default:
			return Grant{}, err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Refresh renews a token. The answer holds the refresh token to use from now on: the one before is used up. Without scopes
// the new token has those of the grant.
func (c *Client) Refresh(ctx context.Context, as Credentials, refreshToken string, scopes ...string) (Grant, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	return c.grant(ctx, as, form)
}

func (c *Client) grant(ctx context.Context, as Credentials, form url.Values) (Grant, error) {
	issued := time.Now().Round(0) // without the monotonic reading, which stands still while a machine sleeps
	var body struct {
		AccessToken  string `json:"access_token"`
		TokenType    string `json:"token_type"`
		ExpiresIn    int64  `json:"expires_in"`
		Scope        string `json:"scope"`
		Realm        string `json:"realm"`
		RefreshToken string `json:"refresh_token"`
		IDToken      string `json:"id_token"`
	}
	if err := c.form(ctx, "token", nil, form, as, &body); err != nil {
		return Grant{}, err
	}
	if body.AccessToken == "" || body.ExpiresIn <= 0 {
		return Grant{}, fmt.Errorf("the answer of %s holds no token", c.base.Host)
	}
	return Grant{Token: Token{Value: body.AccessToken, Type: body.TokenType, Scopes: strings.Fields(body.Scope), Realm: body.Realm,
		Issued: issued, Expires: issued.Add(time.Duration(body.ExpiresIn) * time.Second)}, RefreshToken: body.RefreshToken, IDToken: body.IDToken}, nil
}

// MarshalJSON masks.
func (g Grant) MarshalJSON() ([]byte, error) { return json.Marshal(g.String()) }
