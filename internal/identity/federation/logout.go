package federation

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

var errLogoutToken error = fault.New(fault.Invalid, "invalid_request", "This is no logout token of the provider.")

// Logout takes a logout token of a provider (OpenID Connect Back-Channel Logout 1.0, section 2.6): the sessions end that
// began with the session there, or, if it names none, all of that person there. Ending is the same the second time, so
// nobody gains by sending a token again within the minutes that it is new.
func (s *Service) Logout(ctx context.Context, providerID, raw string, a Answer) error {
	p, err := s.provider(ctx, providerID)
	if err != nil {
		return err
	}
	token, err := jose.Parse(raw)
	if err != nil || !token.Is("", "JWT", "logout+jwt") {
		return errLogoutToken
	}
	if issuer, _ := token.Claimed(); issuer != p.Issuer {
		return errLogoutToken // before its keys are asked for
	}
	c, err := s.source(p).verify(ctx, token)
	if err == nil {
		err = s.checkClaims(p, c)
	}
	if errors.Is(err, ErrUpstream) || errors.Is(err, jose.ErrToken) {
		s.failed(ctx, p, "logout", err)
		return errLogoutToken
	}
	if err != nil {
		return err
	}
	var events map[string]json.RawMessage
	if json.Unmarshal(c.JSON("events"), &events) != nil || events[logoutEvent] == nil || c.Has("nonce") || c.ID == "" {
		return errLogoutToken
	}
	of := sessionsOf{provider: p.ID, subject: c.Subject}
	if c.Has("sid") {
		sid, ok := c.Text("sid")
		if !ok || sid == "" {
			return errLogoutToken
		}
		of.sid = sid
	}
	if of.subject == "" && of.sid == "" {
		return errLogoutToken
	}
	by := access.SystemCaller("federation")
	by.IP, by.RequestID = a.IP, a.Request
	return s.d.Write(ctx, func(tx db.WriteTx) error {
		_, err := s.endSessions(ctx, tx, by, "provider_logout", of)
		return err
	})
}
