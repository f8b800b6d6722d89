package oauth

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/internal/db"
)

// ScopeGroups releases the names of a person's groups; the claim that holds them is called so, too.
const ScopeGroups = "groups"

// PersonClaim is what an organisation says of a person beside the claims of the standard.
type PersonClaim struct {
	Name  string // one of ownClaims is left out
	Value []byte // JSON
}

// PersonClaims tells what an organisation says of its people. Clients hear of it by scopes that an administrator lets
// them ask for (registry.Metadata.PersonScopes) and the person allows; by scope profile also. It answers from memory, at
// most a second behind the database.
type PersonClaims interface {
	// Claims are those that the scopes release. With brief they must stay small, because they go into an ID token, which
	// travels in headers and cookies.
	Claims(ctx context.Context, userID string, scopes []string, brief bool) ([]PersonClaim, error)
	// Text is what such a scope tells of people of the realm, in words; without a Text if it tells nothing of them.
	Text(ctx context.Context, tx db.ReadTx, realm, scope string) (ScopeText, error)
	// Known are all scopes and claims that there may be, for the metadata.
	Known() (scopes, claims []string)
}

// personScopeText is what the scope tells, for the person who is asked.
func (p *people) personScopeText(ctx context.Context, tx db.ReadTx, realm, scope string) (text ScopeText, err error) {
	if p.More != nil {
		if text, err = p.More.Text(ctx, tx, realm, scope); err != nil {
			return text, fmt.Errorf("find what a scope tells: %w", err)
		}
	}
	text.Name = scope
	if text.Text == "" {
		return text, refuse(invalidScope, "Nothing is known of people of this realm that scope "+scope+" would tell.")
	}
	return text, nil
}

// appendClaims appends what the organisation says of the person. Nothing of it takes the place of a claim of the
// protocol, or of the standard: a claim that stands there already is not said twice.
func (p *people) appendClaims(ctx context.Context, b []byte, userID string, scopes []string, brief bool) ([]byte, error) {
	if p.More == nil || len(scopes) == 0 {
		return b, nil
	}
	claims, err := p.More.Claims(ctx, userID, scopes, brief)
	if err != nil {
		return nil, fmt.Errorf("find what is said of a person: %w", err)
	}
	for _, c := range claims {
		if !slices.Contains(ownClaims, c.Name) {
			b = append(append(appendText(append(b, ','), c.Name), ':'), c.Value...)
		}
	}
	return b, nil
}

// inIDToken are the scopes of which an ID token tells beyond the standard claims: those that the client may ask for
// besides, because most that know groups look for them there; and all if nothing else will tell it.
func inIDToken(client Client, scopes []string, whole bool) []string {
	if whole {
		return scopes
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return !slices.Contains(client.Metadata.PersonScopes, scope) })
}

// ownClaims are those of the protocols and of the standard, in ID tokens, access tokens and userinfo.
var ownClaims = []string{
	"iss", "sub", "aud", "azp", "iat", "exp", "nbf", "jti", "auth_time", "nonce", "sid", "acr", "amr", "at_hash", "c_hash", "s_hash",
	"typ", "cnf", "act", "may_act", "scope", "scp", "client_id", "realm", "events", "sub_id", "_claim_names", "_claim_sources",
	"name", "preferred_username", "email", "email_verified", "phone_number", "phone_number_verified", "address",
}

// OwnClaim tells whether a claim is one of the protocols or of the standard, which nobody else may set.
func OwnClaim(name string) bool { return slices.Contains(ownClaims, name) }
