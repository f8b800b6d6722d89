package federation

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// maxHintToken bounds an ID token that is kept: it goes back in an address.
const maxHintToken = 4 << 10

func hintAD(providerID, subject string) seal.AD {
	return seal.AD{Table: "upstream_sessions", Column: "hint", Row: providerID + " " + subject}
}

// hint seals the ID token for the end of the session, if people are offered to sign out there as well.
func (s *Service) hint(p Provider, subject string, token redact.Secret) (string, error) {
	if !p.Policy.OfferLogout || len(token.Bytes()) > maxHintToken {
		return "", nil
	}
	box, err := s.keyring.Seal(seal.Data, hintAD(p.ID, subject), token.Bytes())
	if err != nil {
		return "", fmt.Errorf("seal an ID token: %w", err)
	}
	return base64.StdEncoding.EncodeToString(box), nil
}

// SignOutOffer is where somebody who signs out here can sign out as well: the provider that the session began with.
type SignOutOffer struct {
	ID, Name string
	Location string        // at the provider
	State    redact.Secret // comes back with the browser
}

// SignedOutURI is where a provider sends people back to who have signed out there.
func (s *Service) SignedOutURI(id string) string {
	return s.o.Issuer + "/login/upstream/" + id + "/signed-out"
}

// OfferSignOut finds out whether to offer that, before the session ends (OpenID Connect RP-Initiated Logout 1.0, section 2). A
// provider that is not known and does not answer at once, or has no such endpoint, is none: whoever signs out here must not
// be kept signed in by a provider that is slow.
func (s *Service) OfferSignOut(ctx context.Context, sessionID string) (f SignOutOffer, ok bool, err error) {
	var providerID, subject, hint string
	err = s.d.Read(ctx, func(tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT provider_id, subject, hint FROM upstream_sessions WHERE session_id = $1`, sessionID).Scan(&providerID, &subject, &hint)
	})
	if errors.Is(err, db.ErrNoRows) {
		return f, false, nil
	}
	if err != nil {
		return f, false, fmt.Errorf("read the provider of a session: %w", err)
	}
	p, err := s.provider(ctx, providerID)
	if errors.Is(err, ErrNoProvider) || err == nil && !p.Policy.OfferLogout {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	m, ok := s.source(p).metadataSoon(ctx)
	if !ok || m.EndSession == "" {
		return f, false, nil
	}
	f = SignOutOffer{ID: p.ID, Name: p.Name, State: seal.NewSecret(statePrefix)}
	ask := url.Values{"client_id": {p.ClientID}, "post_logout_redirect_uri": {s.SignedOutURI(p.ID)}, "state": {f.State.Reveal()}}
	if hint != "" {
		box, err := base64.StdEncoding.DecodeString(hint)
		if err != nil {
			return f, false, errors.New("read a sealed ID token")
		}
		token, err := s.keyring.Open(seal.Data, hintAD(providerID, subject), box)
		if err != nil {
			return f, false, fmt.Errorf("open an ID token: %w", err)
		}
		ask.Set("id_token_hint", token.Reveal())
	}
	f.Location, err = authorizationURL(m.EndSession, ask)
	return f, err == nil, nil
}
