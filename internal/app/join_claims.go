package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/oauth"
)

// personClaims tells the authorization server what the organisation says of people, from memory that is at most a second
// behind the database.
type personClaims struct {
	groups     *groups.Names
	attributes *attributes.Claims
}

// groupsOverflow is the claim that stands for groups where they are too many.
const groupsOverflow = "groups_overflow"

// newPersonClaims must be called before the feed starts.
func newPersonClaims(d *db.DB, a *attributes.Service) personClaims {
	return personClaims{groups: groups.NewNames(d), attributes: a.NewClaims(d)}
}

func (j personClaims) Claims(ctx context.Context, userID string, scopes []string, brief bool) (claims []oauth.PersonClaim, err error) {
	if slices.Contains(scopes, oauth.ScopeGroups) {
		if claims, err = j.groupsClaim(ctx, userID, brief); err != nil {
			return nil, err
		}
	}
	of, err := j.attributes.Of(ctx, userID, scopes, brief)
	for _, c := range of {
		claims = append(claims, oauth.PersonClaim{Name: c.Name, Value: []byte(c.JSON)})
	}
	return claims, err
}

// groupsClaim tells all groups, or of somebody with very many only that userinfo tells them.
func (j personClaims) groupsClaim(ctx context.Context, userID string, brief bool) ([]oauth.PersonClaim, error) {
	names, err := j.groups.Of(ctx, userID)
	if err != nil {
		return nil, err
	}
	if brief && len(names) > groups.MaxTold {
		return []oauth.PersonClaim{{Name: groupsOverflow, Value: []byte("true")}}, nil
	}
	slices.Sort(names)
	if names == nil {
		names = []string{}
	}
	b, err := json.Marshal(names)
	if err != nil {
		return nil, fmt.Errorf("write the groups of a person: %w", err)
	}
	return []oauth.PersonClaim{{Name: oauth.ScopeGroups, Value: b}}, nil
}

func (j personClaims) Text(_ context.Context, _ db.ReadTx, realmName, scope string) (t oauth.ScopeText, err error) {
	if scope == oauth.ScopeGroups {
		return oauth.ScopeText{Text: "See which groups you are in."}, nil
	}
	t.Text, t.Of = j.attributes.Text(realmName, scope)
	return t, nil
}

func (j personClaims) Known() (scopes, claims []string) {
	scopes, claims = j.attributes.Known()
	return append([]string{oauth.ScopeGroups}, scopes...), append([]string{oauth.ScopeGroups, groupsOverflow}, claims...)
}
