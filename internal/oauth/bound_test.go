package oauth_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/registry"
)

// typed gives the client of shop a type with two scopes, of which alice has one by a role, and bob none.
func (w *folk) typed() (kind registry.ScopeSet, given registry.UserRole) {
	w.t.Helper()
	w.registry.OnReduced(w.server.RightsReduced)
	w.write(func(ctx context.Context, tx db.WriteTx) (err error) {
		if kind, err = w.registry.ClientTypes().Create(ctx, tx, system, registry.ScopeSet{Name: "Portal", Scopes: []string{"bed:make", "bed:read", "user:read"}}); err != nil {
			return err
		}
		role, err := w.registry.Roles().Create(ctx, tx, system, registry.ScopeSet{Name: "Nurse", Scopes: []string{"bed:read", "ward:close"}})
		if err != nil {
			return err
		}
		if err := w.registry.PutTyping(ctx, tx, system, registry.Typing{ClientID: w.shop.ClientID, TypeID: kind.ID, Owner: w.bob.ID, Settings: json.RawMessage(`{}`), PrivSettings: json.RawMessage(`{}`)}); err != nil {
			return err
		}
		given, err = w.registry.GiveRole(ctx, tx, system, registry.UserRole{UserID: w.alice.ID, RoleID: role.ID, ClientID: w.shop.ClientID})
		return err
	})
	soon(w.t, "the type is not known", func() bool {
		c, err := w.registry.Clients().Client(w.t.Context(), w.shop.ClientID)
		return err == nil && c.Type == kind.ID
	})
	return kind, given
}

// At the standard's own endpoints, too, a client with a type gets for a person what type and roles allow, and is refused
// all of a request for more.
func TestB3_69_TypeAndRolesBoundEveryGrant(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		_, given := w.typed()
		b := w.browser().login(w.alice)
		for _, scope := range []string{
			"openid bed:make",         // of the type, and of no role
			"openid ward:close",       // of the role, and not of the type
			"openid sales_order.read", // what the client could ask for before it had a type
			"bed:read bed:make",       // one of them is enough
		} {
			w.refusedBack(b.get(at(asks(w.shop, "scope", scope))), "invalid_scope")
		}
		w.refusedBack(w.browser().login(w.bob).get(at(asks(w.shop, "scope", "bed:read"))), "invalid_scope")

		code := b.allow(asks(w.shop, "scope", "openid bed:read user:read"))
		if texts := w.pages.consent.Scopes; len(texts) != 3 || texts[1].Text != "bed:read" {
			t.Errorf("what the catalog does not know is asked for as %v", texts)
		}
		r := w.exchange(w.shop, code)
		if r.status != 200 || r.text("scope") != "bed:read openid user:read" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		next := w.refresh(w.shop, r.text("refresh_token"))
		if next.status != 200 || !w.active(w.shop, next.text("access_token")) {
			t.Fatalf("%d %s", next.status, next.body)
		}
		// Between the question and the exchange a role can go.
		late := b.allow(asks(w.shop, "scope", "bed:read"))
		w.write(func(ctx context.Context, tx db.WriteTx) error { return w.registry.TakeRole(ctx, tx, system, given) })
		if w.active(w.shop, next.text("access_token")) {
			t.Error("a token of a role that is gone is active")
		}
		w.expect(w.refresh(w.shop, next.text("refresh_token")), 400, "invalid_grant")
		w.expect(w.exchange(w.shop, late), 400, "invalid_grant")
		if n := w.count(`SELECT count(*) FROM approvals WHERE scopes = 'openid user:read'`); n != 1 {
			t.Errorf("%d approvals are cut to what needs no role", n)
		}
	})
}

// Very many people lose a scope in one transaction.
func TestReductionOfVeryMany(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		kind, _ := w.typed()
		const people = 1201
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			insert := func(query string, args ...any) error { return db.One(tx.Exec(ctx, query, args...)) }
			for i := range people {
				user := "usr_" + strings.Repeat("0", 20) + string(rune('a'+i%20)) + "." + string(rune('a'+i/20%20)) + string(rune('a'+i/400))
				if err := insert(`INSERT INTO users (id, realm, username, display_name, application, admin, created, created_by, enabled_since, disabled)
					VALUES ($1, 'customers', $1, $1, NULL, $2, 1, 'test', 1, 0)`, user, false); err != nil {
					return err
				}
				if err := insert(`INSERT INTO approvals (user_id, client_id, scopes, granted, id) VALUES ($1, $2, 'bed:read user:read', 1, $1)`, user, w.shop.ClientID); err != nil {
					return err
				}
			}
			return nil
		})
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := w.registry.ClientTypes().Change(ctx, tx, system, registry.ScopeSet{ID: kind.ID, Name: "Portal", Scopes: []string{"user:read"}})
			return err
		})
		if n := w.count(`SELECT count(*) FROM approvals WHERE scopes = 'user:read'`); n != people {
			t.Errorf("%d approvals of %d are cut", n, people)
		}
	})
}

// Who sets what a person allows takes away what is not named, claims that were allowed by themselves included, and ends
// what was told them. Such claims are the person's alone to add.
func TestPutApprovalEndsWhatHasMore(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.typed()
		b := w.browser().login(w.alice)
		plain := w.exchange(w.shop, b.allow(asks(w.shop, "scope", "openid bed:read")))
		told := w.exchange(w.shop, b.allow(asks(w.shop, "scope", "openid bed:read", "claims", `{"userinfo":{"email_verified":null}}`)))
		put := func(scopes ...string) error {
			return w.db.Write(t.Context(), func(tx db.WriteTx) error {
				return w.server.PutApproval(t.Context(), tx, system, w.alice.ID, w.shop.ClientID, scopes)
			})
		}
		good := func(r reply) bool { return w.active(w.shop, r.text("access_token")) }
		if err := put("openid", "bed:read", "claim:email"); err != nil {
			t.Fatal(err) // what a list shows can be put as it is
		}
		if !good(plain) || !good(told) {
			t.Error("something ended though nothing was taken away")
		}
		if err := put("openid", "bed:read", "claim:name"); err == nil {
			t.Error("somebody else allowed a claim")
		}
		if err := put("openid", "bed:read"); err != nil {
			t.Fatal(err)
		}
		if good(told) || !good(plain) {
			t.Errorf("with the claim: %v, without: %v", good(told), good(plain))
		}
		w.expect(w.refresh(w.shop, told.text("refresh_token")), 400, "invalid_grant")
		if err := put("openid"); err != nil {
			t.Fatal(err)
		}
		if good(plain) {
			t.Error("a scope that is not allowed is held")
		}
	})
}
