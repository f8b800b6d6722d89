package mithril_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/identity/directory/directorytest"
)

// A session for somebody whose password a directory keeps: what is wrong is the one answer of fact 18 and counted, and a
// directory that cannot be asked is an answer of its own, which counts nothing.
func TestPasswordsOfADirectory(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		server := directorytest.New(t)
		server.Entries = []directorytest.Entry{directorytest.Jane()}
		config := server.Config()
		config.Realm, config.Timeout = "customers", 250*time.Millisecond
		service, err := directory.New(w.db, w.identity, directory.Options{Realms: []directory.Config{config}, Clock: w.clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(service.Close)
		jane := func(pass string) answer {
			t.Helper()
			return w.signIn("jane@example.org", pass, "app:authorize")
		}
		plain := func(a answer) string {
			return strings.ReplaceAll(a.body, a.at("meta.request_id"), "")
		}

		session := jane(directorytest.Password).want(201)
		w.verify(session.at("data.value")).want(200)
		wrong := jane("wrong horse battery staple").refused(401, "invalid_grant")
		server.Set(func() { server.Entries = nil })
		unknown := w.signIn("nobody@example.org", directorytest.Password, "app:authorize").refused(401, "invalid_grant")
		server.Set(func() { server.Entries = []directorytest.Entry{directorytest.Jane()} })
		if plain(unknown) != plain(wrong) {
			t.Errorf("%s\n%s", unknown.body, wrong.body)
		}

		right := server.Bind
		server.Set(func() {
			server.Bind = func(dn, _ string) (int, string) {
				if dn == directorytest.Searcher {
					return 0, ""
				}
				return ldap.LDAPResultInvalidCredentials, "AcceptSecurityContext error, data 533, v2580"
			}
		})
		if disabled := jane(directorytest.Password).refused(401, "invalid_grant"); plain(disabled) != plain(wrong) {
			t.Errorf("disabled in the directory: %s", disabled.body)
		}
		for what, spoil := range map[string]func(){
			"silent": func() { server.Silent = true },
			"busy":   func() { server.Code = ldap.LDAPResultBusy },
			"odd":    func() { server.Bind = func(string, string) (int, string) { return ldap.LDAPResultUnavailable, "" } },
		} {
			server.Set(func() { server.Bind = right })
			server.Set(spoil)
			for n := range 2 * (identity.FreeTries + 1) {
				a := jane([]string{directorytest.Password, "wrong horse battery staple"}[n%2]).refused(http.StatusServiceUnavailable, "temporarily_unavailable")
				if a.header.Get("Retry-After") == "" {
					t.Fatalf("%s: nothing tells when to try again", what)
				}
			}
			server.Set(func() { server.Silent, server.Code, server.Bind = false, 0, right })
			w.clock.Advance(time.Minute) // the pause of a server that did not answer
			jane(directorytest.Password).want(201)
		}

		// The count, after all that: as for anybody.
		for range identity.FreeTries {
			jane("wrong horse battery staple").refused(401, "invalid_grant")
		}
		if a := jane(directorytest.Password).refused(http.StatusTooManyRequests, "too_many_requests"); a.header.Get("Retry-After") == "" {
			t.Error("nothing tells how long to wait")
		}
		w.clock.Advance(2 * time.Second)
		jane(directorytest.Password).want(201)
	})
}
