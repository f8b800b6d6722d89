package mithril_test

import (
	"context"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/registry"
)

// B7.133: the right to write users is no right to become one who may do more, by another password or address.
func TestB7_133_NobodyBecomesSomebodyAbove(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		kind := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Console","scope":"app:authorize user:read user:write token:delete"}}`).want(201).at("data.id")
		role := w.do("POST", "/mithril/roles", `{"role":{"name":"Operator","scope":"user:read user:write"}}`).want(201).at("data.id")
		strong := w.do("POST", "/mithril/roles", `{"role":{"name":"Strong","scope":"token:delete"}}`).want(201).at("data.id")
		console := *w
		console.client, console.secret = w.newClient("Console", w.user, kind)
		w.give(w.user, role, console.client)
		above, below := w.newUser("above@x.io"), w.newUser("below@x.io")
		w.give(above, strong, console.client)
		access, _ := console.tokens("user:write")
		w.as(access, "PATCH", "/mithril/users/"+below, `{"user":{"password":"`+secret+` new"}}`).want(200)
		for _, body := range []string{`{"user":{"password":"` + secret + ` new"}}`, `{"user":{"email":"mine@x.io"}}`} {
			w.as(access, "PATCH", "/mithril/users/"+above, body).refused(403, "forbidden")
		}
		w.as(access, "PATCH", "/mithril/users/"+above+"/actions/block", "").refused(403, "forbidden")
		w.as(access, "PATCH", "/mithril/users/"+w.user, `{"user":{"settings":{}}}`).want(200)
	})
}

// Who owns a client with a type cannot have it act with all that the type holds for people of some role.
func TestOwnersLetNoTypedClientActForItself(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		client := w.do("POST", "/mithril/clients", `{"client":{"name":"Quiet","user_id":"`+w.user+`","client_type_id":"`+w.kind+`","redirect_uri":"`+back+`"}}`).want(201).at("data.id")
		clientID, _ := id.FromUUID(id.Client, client)
		owner, _ := id.FromUUID(id.User, w.user)
		c := access.Caller{Kind: access.Person, ID: owner, Realm: "customers"}
		err := w.db.Write(t.Context(), func(tx db.WriteTx) error { return letActForItself(t.Context(), tx, w, c, clientID) })
		if !fault.Is(err, fault.Forbidden) {
			t.Errorf("the owner: %v", err)
		}
		w.write(func(ctx context.Context, tx db.WriteTx) error { return letActForItself(ctx, tx, w, system, clientID) })
	})
}

func letActForItself(ctx context.Context, tx db.WriteTx, w *world, c access.Caller, clientID string) error {
	n, err := registry.LoadStandalone(ctx, tx, clientID)
	if err != nil {
		return err
	}
	n.Settings.GrantTypes = append(n.Settings.GrantTypes, registry.GrantClientCredentials)
	_, err = w.registry.UpdateClient(ctx, tx, c, clientID, registry.ClientChange{Settings: &n.Settings}, func(int64) error { return nil })
	return err
}
