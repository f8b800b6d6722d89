package oauth_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/route"
)

// What a person has allowed can be seen and taken back by the person and by who manages people, and by nobody else.
func TestApprovals(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		tokens := w.signIn(w.shop, "scope", "openid sales_order.read")
		w.signIn(w.other)
		alice := access.Caller{Kind: access.Person, ID: w.alice.ID, Name: "alice", Realm: "customers"}
		client := alice
		client.ClientID = w.shop.ClientID
		bob := access.Caller{Kind: access.Person, ID: w.bob.ID, Name: "bob", Realm: "employees"}
		list := func(c access.Caller) (list []api.Approval, err error) {
			err = w.db.Read(t.Context(), func(tx db.ReadTx) error {
				list, err = w.server.Approvals(t.Context(), tx, c, w.alice.ID)
				return err
			})
			return list, err
		}
		withdraw := func(c access.Caller) error {
			return w.db.Write(t.Context(), func(tx db.WriteTx) error {
				return w.server.Withdraw(t.Context(), tx, c, w.alice.ID, w.shop.ClientID)
			})
		}
		for name, c := range map[string]access.Caller{"another person": bob, "a client with her token": client, "nobody": {}} {
			if _, err := list(c); !fault.Is(err, fault.Forbidden) && !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("%s sees it: %v", name, err)
			}
			if err := withdraw(c); !fault.Is(err, fault.Forbidden) && !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("%s withdraws it: %v", name, err)
			}
		}
		want := []api.Approval{
			{ClientID: w.other.ClientID, Application: "second", Scopes: []string{"openid"}, Granted: begin, Since: begin, LastUsed: &begin, Asked: true},
			{ClientID: w.shop.ClientID, Application: "shop", Scopes: []string{"openid", "sales_order.read"}, Granted: begin, Since: begin, LastUsed: &begin, Asked: true},
		}
		got, err := list(alice)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
		if err := withdraw(alice); err != nil {
			t.Fatal(err)
		}
		if err := withdraw(alice); !fault.Is(err, fault.NotFound) {
			t.Errorf("a second time: %v", err)
		}
		w.expect(w.refresh(w.shop, tokens.text("refresh_token")), 400, "invalid_grant")
		if w.active(w.shop, tokens.text("access_token")) || w.events("approval.withdraw") != 1 {
			t.Error("withdrawn, and its token is active, or nobody wrote it down")
		}
		w.signIn(w.other) // another client's is as it was
	})
}

// A client of the organisation itself asks nobody, and is seen and ended like the others.
func TestApprovalsOfClientsThatDoNotAsk(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.say(w.shop, func(c *oauth.Client) { c.Metadata.FirstParty = true })
		code := w.backTo(w.browser().login(w.alice).get(at(asks(w.shop, "scope", "openid sales_order.read"))), shopBack).Get("code")
		tokens := w.exchange(w.shop, code)
		alice := access.Caller{Kind: access.Person, ID: w.alice.ID, Name: "alice", Realm: "customers"}
		err := w.db.Read(t.Context(), func(tx db.ReadTx) error {
			list, err := w.server.Approvals(t.Context(), tx, alice, w.alice.ID)
			want := []api.Approval{{ClientID: w.shop.ClientID, Application: "shop", Scopes: []string{"openid", "sales_order.read"}, Granted: begin, Since: begin, LastUsed: &begin}}
			if diff := cmp.Diff(want, list); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		withdraw := func() error {
			return w.db.Write(t.Context(), func(tx db.WriteTx) error {
				return w.server.Withdraw(t.Context(), tx, alice, w.alice.ID, w.shop.ClientID)
			})
		}
		if err := withdraw(); err != nil {
			t.Fatal(err)
		}
		if w.active(w.shop, tokens.text("access_token")) || w.events("approval.withdraw") != 1 {
			t.Error("withdrawn, and its token is active, or nobody wrote it down")
		}
		if err := withdraw(); !fault.Is(err, fault.NotFound) {
			t.Errorf("a second time: %v", err)
		}
	})
}

func as(c access.Caller) func(*http.Request) (access.Caller, error) {
	return func(*http.Request) (access.Caller, error) { return c, nil }
}

// The same over the management API.
func TestApprovalsOverHTTP(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.signIn(w.shop)
		admin := access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
		calls := func(method, path string, c access.Caller) (status int, body []byte) {
			m := route.New(route.Options{DB: w.db, Clock: w.clock, Authenticate: as(c)})
			w.server.Routes(m)
			was := w.mux
			w.mux = m
			defer func() { w.mux = was }()
			r := w.send(method, path, "")
			return r.status, []byte(r.body)
		}
		path := "/api/users/" + w.alice.ID + "/approvals"
		status, body := calls("GET", path, admin)
		var list api.Approvals
		if err := json.Unmarshal(body, &list); err != nil || status != 200 || len(list.Items) != 1 || list.Items[0].Application != "shop" {
			t.Errorf("%d %s", status, body)
		}
		one := path + "/" + w.shop.ClientID
		for want, c := range map[int]access.Caller{401: {}, 403: {Kind: access.Person, ID: w.bob.ID, Realm: "employees"}} {
			if status, body := calls("DELETE", one, c); status != want {
				t.Errorf("%d %s, want %d", status, body, want)
			}
		}
		if status, body := calls("DELETE", one, admin); status != 204 {
			t.Errorf("%d %s", status, body)
		}
		if status, _ := calls("DELETE", one, admin); status != 404 {
			t.Errorf("a second time: %d", status)
		}
	})
}
