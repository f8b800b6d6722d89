package attributes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

const (
	rememberedPeople = 5_000 // some 80 MB if all of them had maxHeld
	// briefClaim and briefClaims bound what an ID token tells: one claim, and all of them.
	briefClaim  = 512
	briefClaims = 2 << 10
)

// Claim is what clients are told.
type Claim struct {
	Name string
	JSON string
}

// Claims tells from memory what clients are told of people.
type Claims struct {
	declared schemas
	people   *db.Cache[held]
}

type held struct {
	realm  string
	values map[string]string
}

// NewClaims must be called before the feed starts.
func (s *Service) NewClaims(d *db.DB) *Claims {
	return &Claims{s.declared, db.NewCache(d, identity.TopicUser, rememberedPeople, func(ctx context.Context, tx db.ReadTx, userID string) (h held, err error) {
		err = tx.QueryRow(ctx, `SELECT realm FROM users WHERE id = $1`, userID).Scan(&h.realm)
		if errors.Is(err, db.ErrNoRows) {
			return held{}, nil
		}
		if err != nil {
			return h, fmt.Errorf("read the realm of a person: %w", err)
		}
		h.values, err = load(ctx, tx, userID)
		return h, err
	})}
}

// Of is what the scopes release of a person. With brief, what is long is left out.
func (c *Claims) Of(ctx context.Context, userID string, scopes []string, brief bool) ([]Claim, error) {
	if !c.asked(scopes) {
		return nil, nil
	}
	h, err := c.people.Get(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("find the attributes of a person: %w", err)
	}
	var list []Claim
	size := 0
	for _, a := range c.declared[h.realm] {
		value := h.values[a.Name]
		if value == "" || !slices.Contains(scopes, a.Scope) || !a.fits(value) {
			continue
		}
		length := len(a.Claim) + len(value)
		if brief && (length > briefClaim || size+length > briefClaims) {
			continue
		}
		size += length
		list = append(list, Claim{a.Claim, value})
	}
	return list, nil
}

// fits tells whether a value is of the type that is declared now: it may have been another when the value was stored.
func (a Attribute) fits(value string) bool {
	_, err := a.value([]byte(value))
	return err == nil
}

// asked tells whether any realm has attributes under the scopes: of most requests, none.
func (c *Claims) asked(scopes []string) bool {
	for _, list := range c.declared {
		if slices.ContainsFunc(list, func(a Attribute) bool { return slices.Contains(scopes, a.Scope) }) {
			return true
		}
	}
	return false
}

// Text is what the scope tells of people of the realm, in words with a gap, and what fills it, by language: the attributes
// as people know them; "" is for every language that none of them has a label in. No text: it tells nothing.
func (c *Claims) Text(realmName, scope string) (text string, of map[string]string) {
	var released []Attribute
	languages := map[string]bool{"": true}
	for _, a := range c.declared[realmName] {
		if a.Scope == scope {
			released = append(released, a)
			for language := range a.Labels {
				languages[language] = true
			}
		}
	}
	if len(released) == 0 {
		return "", nil
	}
	if len(released) == 1 && released[0].Title("") == scope && len(languages) == 1 { // which stands beside the text
		return "See what is kept of you under this name.", nil
	}
	of = map[string]string{}
	for language := range languages {
		var titles []string
		for _, a := range released {
			titles = append(titles, a.Title(language))
		}
		of[language] = strings.Join(titles, ", ")
	}
	return "See what is kept of you as {0}.", of
}

// Known are the scopes and claims of all realms, sorted.
func (c *Claims) Known() (scopes, claims []string) {
	for _, list := range c.declared {
		for _, a := range list {
			scopes, claims = append(scopes, a.Scope), append(claims, a.Claim)
		}
	}
	slices.Sort(scopes)
	slices.Sort(claims)
	return slices.Compact(scopes), slices.Compact(claims)
}
