package oauth_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
)

// fakeClaims says of everybody what is in it, by scope. It tries to be somebody else as well.
type fakeClaims map[string]string

func (f fakeClaims) Claims(_ context.Context, userID string, scopes []string, brief bool) (list []oauth.PersonClaim, err error) {
	for _, scope := range slices.Sorted(slices.Values(scopes)) {
		if value, ok := f[scope]; ok {
			list = append(list, oauth.PersonClaim{Name: scope, Value: []byte(value)}, oauth.PersonClaim{Name: "sub", Value: []byte(`"usr_mallory"`)}, oauth.PersonClaim{Name: "email_verified", Value: []byte(`true`)})
		}
	}
	if brief {
		list = append(list, oauth.PersonClaim{Name: "brief", Value: []byte(`true`)})
	}
	return list, nil
}

func (f fakeClaims) Text(_ context.Context, _ db.ReadTx, realm, scope string) (oauth.ScopeText, error) {
	if _, ok := f[scope]; ok && realm == "customers" {
		return oauth.ScopeText{Text: "See " + scope + "."}, nil
	}
	return oauth.ScopeText{}, nil
}

func (f fakeClaims) Known() (scopes, claims []string) {
	scopes = slices.Sorted(maps.Keys(f))
	return scopes, scopes
}

// What the organisation says of a person is told to clients that an administrator lets ask for it, once the person has
// allowed it, in the ID token and in userinfo; and it takes the place of nothing that the protocol says.
func TestPersonScopes(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			said := fakeClaims{"groups": `["eng","ops"]`, "profile": `1`, "department": `"R&D"`}
			w := newFolk(t, engine, func(o *oauth.Options) { o.People.More = said })
			b := w.browser().login(w.alice)
			w.refusedBack(b.get(at(asks(w.shop, "scope", "openid groups"))), "invalid_scope")
			w.say(w.shop, func(c *oauth.Client) { c.Metadata.PersonScopes = []string{"groups", "department", "nothing"} })
			code := b.allow(asks(w.shop, "scope", "openid profile groups"))
			var asked []string
			for _, s := range w.pages.consent.Scopes {
				asked = append(asked, s.Name+": "+s.Text)
			}
			if want := []string{"openid: Know that it is you.", "profile: See your name.", "groups: See groups."}; !cmp.Equal(asked, want) {
				t.Errorf("asked for %q", asked)
			}
			tokens := w.exchange(w.shop, code)
			id := payloadOf(t, tokens.text("id_token"))
			if !cmp.Equal(id["groups"], []any{"eng", "ops"}) || id["sub"] != w.alice.ID || id["email_verified"] != nil || id["brief"] != true || id["profile"] != nil || id["department"] != nil {
				t.Errorf("ID token %v", id)
			}
			info := w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token")))
			if want := map[string]any{"sub": w.alice.ID, "name": "Alice", "preferred_username": "alice", "groups": []any{"eng", "ops"}, "profile": 1.0}; !cmp.Equal(info.json, want) {
				t.Errorf("userinfo %s", info.body)
			}
			if strings.Count(info.body, `"sub"`) != 1 {
				t.Errorf("said twice: %s", info.body)
			}
			// Where nothing is known, nothing is asked for.
			w.refusedBack(b.get(at(asks(w.shop, "scope", "openid nothing"))), "invalid_scope")
			bob := w.browser().login(w.bob)
			w.refusedBack(bob.get(at(asks(w.shop, "scope", "openid department"))), "invalid_scope")
			// A client that may not ask any more gets no more of it, though the person has allowed it.
			w.say(w.shop, nil)
			if r := w.refresh(w.shop, tokens.text("refresh_token")); r.status != 200 || strings.Contains(r.text("scope"), "groups") {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
}
