package oauth_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/identity/directory/directorytest"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// withDirectory is a world whose customers' passwords a directory keeps, and may be given to shop.
func withDirectory(t *testing.T, f func(t *testing.T, w *folk, server *directorytest.Server)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			server := directorytest.New(t)
			server.Entries = []directorytest.Entry{directorytest.Jane()}
			var w *folk
			w = newFolk(t, engine, func(o *oauth.Options) {
				o.People.Passwords = oauth.PersonPasswords{Realms: []string{"customers"},
					Verify: func(ctx context.Context, realm, name string, secret redact.Secret, origin identity.Origin) (identity.User, error) {
						return w.identity.VerifyPersonPassword(ctx, realm, name, secret, origin)
					}}
			})
			config := server.Config()
			config.Realm, config.Timeout = "customers", 250*time.Millisecond
			service, err := directory.New(w.db, w.identity, directory.Options{Realms: []directory.Config{config}, Clock: w.clock})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(service.Close)
			w.say(w.shop, func(c *oauth.Client) {
				c.GrantTypes = append(c.GrantTypes, registry.GrantPassword)
				c.Metadata.PersonPassword = true
			})
			f(t, w, server)
		})
	}
}

// The grant password of somebody whose password a directory keeps is answered as that of everybody: one answer to all
// that is wrong, counted; and one to a directory that cannot be asked, which counts nothing.
func TestPersonPasswordOfADirectory(t *testing.T) {
	withDirectory(t, func(t *testing.T, w *folk, server *directorytest.Server) {
		jane := func(secret string) reply {
			t.Helper()
			return w.byPassword(w.shop, "customers", "jane", secret, "scope", "openid sales_order.read")
		}
		first := jane(directorytest.Password)
		if first.status != 200 || first.text("refresh_token") == "" {
			t.Fatalf("%d %s", first.status, first.body)
		}
		userID, _ := payloadOf(t, first.text("access_token"))["sub"].(string)
		if second := jane(directorytest.Password); second.status != 200 || payloadOf(t, second.text("access_token"))["sub"] != userID {
			t.Errorf("%d %s", second.status, second.body)
		}

		wrong := jane(wrongPassword)
		w.expect(wrong, 400, "invalid_grant")
		server.Set(func() { server.Entries = nil })
		unknown := w.byPassword(w.shop, "customers", "nobody", wrongPassword)
		if unknown.status != wrong.status || unknown.body != wrong.body {
			t.Errorf("B5.88 %d %s, and %d %s", unknown.status, unknown.body, wrong.status, wrong.body)
		}
		server.Set(func() { server.Entries = []directorytest.Entry{directorytest.Jane()} })

		// A directory that cannot be asked: the same to a right password and a wrong one, and never a wait.
		right := server.Bind
		for what, spoil := range map[string]func(){
			"silent": func() { server.Silent = true },
			"busy":   func() { server.Code = ldap.LDAPResultBusy },
			"odd":    func() { server.Bind = func(string, string) (int, string) { return ldap.LDAPResultUnavailable, "" } },
		} {
			server.Set(spoil)
			for n := range 2 * (identity.FreeTries + 1) {
				r := jane([]string{directorytest.Password, wrongPassword}[n%2])
				w.expect(r, 503, "temporarily_unavailable")
				if r.header.Get("Retry-After") == "" {
					t.Fatalf("%s: nothing tells when to try again", what)
				}
			}
			server.Set(func() { server.Silent, server.Code, server.Bind = false, 0, right })
			w.clock.Advance(time.Minute) // the pause of a server that did not answer
			if r := jane(directorytest.Password); r.status != 200 {
				t.Fatalf("after it was %s: %d %s", what, r.status, r.body)
			}
		}

		// Who is disabled there is told nothing else than who mistyped, and what was given before goes on until the
		// comparison, or an administrator, ends it.
		server.Set(func() {
			server.Bind = func(dn, secret string) (int, string) {
				if dn == directorytest.Searcher {
					return 0, ""
				}
				return ldap.LDAPResultInvalidCredentials, "AcceptSecurityContext error, data 533, v2580"
			}
		})
		disabled := jane(directorytest.Password)
		if disabled.status != wrong.status || disabled.body != wrong.body {
			t.Errorf("disabled: %d %s", disabled.status, disabled.body)
		}
		kept := w.refresh(w.shop, first.text("refresh_token"))
		if kept.status != 200 {
			t.Errorf("what was given before: %d %s", kept.status, kept.body)
		}
		server.Set(func() { server.Bind = right })

		// Disabled here, with the right password of the directory.
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.identity.DisablePerson(ctx, tx, access.SystemCaller("test"), userID)
		})
		if r := jane(directorytest.Password); r.status != wrong.status || r.body != wrong.body {
			t.Errorf("disabled here: %d %s", r.status, r.body)
		}
		w.expect(w.refresh(w.shop, kept.text("refresh_token")), 400, "invalid_grant")
	})
}

// B5.88: guesses at a password of a directory wait like those at any other.
func TestB5_88_GuessesAtADirectory(t *testing.T) {
	withDirectory(t, func(t *testing.T, w *folk, server *directorytest.Server) {
		for range identity.FreeTries {
			w.expect(w.byPassword(w.shop, "customers", "jane", wrongPassword), 400, "invalid_grant")
		}
		r := w.byPassword(w.shop, "customers", "jane", directorytest.Password)
		if r.status != 429 || r.header.Get("Retry-After") == "" {
			t.Errorf("B5.88 the sixth: %d %s", r.status, r.body)
		}
		w.clock.Advance(2 * time.Second)
		if r := w.byPassword(w.shop, "customers", "jane", directorytest.Password); r.status != 200 {
			t.Errorf("after the wait: %d %s", r.status, r.body)
		}
	})
}
