package app_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/testport"
)

// A realm whose directory does not answer: its people are told to come back, and whoever is kept here signs in.
func TestRealmWithADirectory(t *testing.T) {
	file := fmt.Sprintf("realms:\n- name: customers\n  directory:\n    urls: [ldap://%s]\n    plain: true\n    base: ou=people,dc=example,dc=org\n", testport.Addr(t))
	w := startWith(t, configureFile(t, emptyURL(t, db.SQLite), file, nil))
	ctx := t.Context()
	for name, isAdmin := range map[string]bool{"keeper": true, "guest": false} {
		if _, err := w.admin.CreateUser(ctx, api.CreateUser{Realm: "customers", Username: name, Admin: isAdmin, Password: alicePassword}); err != nil {
			t.Fatal(err)
		}
	}
	b := newBrowser(t)
	signIn := func(name string) webPage {
		return b.submit(t, b.open(t, w.config.Issuer+"/login?realm=customers"), url.Values{"realm": {"customers"}, "username": {name}, "password": {alicePassword}})
	}
	if page := signIn("alice"); page.status != http.StatusServiceUnavailable || !strings.Contains(page.body, "Nothing was counted against you") {
		t.Errorf("%d\n%s", page.status, page.body)
	}
	if page := signIn("guest"); page.status != http.StatusUnauthorized {
		t.Errorf("an account that only administrators may have: %d", page.status)
	}
	if page := signIn("keeper"); page.status >= 400 || page.at == "/login" {
		t.Errorf("an administrator without an entry: %d %s", page.status, page.at)
	}
	list, err := w.admin.Directories(ctx)
	if err != nil || len(list.Items) != 1 || list.Items[0].Realm != "customers" || list.Items[0].ServersDown != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if test, err := w.admin.TestDirectory(ctx, "customers", api.TestDirectory{Username: "alice"}); err != nil || test.OK {
		t.Errorf("%+v %v", test, err)
	}
	if _, err := w.admin.SyncDirectory(ctx, "customers", api.SyncDirectory{DryRun: true}); err == nil || !strings.Contains(err.Error(), "directory_unavailable") {
		t.Errorf("%v", err)
	}
	if _, err := w.admin.TestDirectory(ctx, "employees", api.TestDirectory{}); err == nil || !strings.Contains(err.Error(), "no_directory") {
		t.Errorf("%v", err)
	}
}

func TestDirectorySettings(t *testing.T) {
	for name, c := range map[string]struct{ settings, want string }{
		"in clear over a network":     {"urls: [ldap://ldap.example.org]\n    plain: true\n    base: dc=x", "in clear"},
		"no base":                     {"urls: [ldaps://ldap.example.org]", "base"},
		"an attribute of no realm":    {"urls: [ldaps://ldap.example.org]\n    base: dc=x\n    keeps: {department: departmentNumber}", "attribute"},
		"a group that is no DN":       {"urls: [ldaps://ldap.example.org]\n    base: dc=x\n    groups:\n      map: {engineering: engineering}", "not the DN"},
		"a filter without a name":     {"urls: [ldaps://ldap.example.org]\n    base: dc=x\n    filter: (uid=jane)", "{name}"},
		"another kind":                {"kind: x500\n    urls: [ldaps://ldap.example.org]\n    base: dc=x", "kind"},
		"a searcher without password": {"urls: [ldaps://ldap.example.org]\n    base: dc=x\n    bind_dn: cn=x", "bind_password_file"},
		"a password file that is not": {"urls: [ldaps://ldap.example.org]\n    base: dc=x\n    bind_dn: cn=x\n    bind_password_file: /does/not/exist", "bind_password_file"},
		"a page in clear":             {"urls: [ldaps://ldap.example.org]\n    base: dc=x\n    password_page: http://x.example", "password_page"},
		"adopting beside":             {"urls: [ldaps://ldap.example.org]\n    base: dc=x\n    adopt: true\n    local_accounts: beside", "adopt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := app.Load(app.Source{File: writeFile(t, "realms:\n- name: employees\n  directory:\n    "+c.settings+"\n")})
			if !errors.Is(err, app.ErrConfig) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an ErrConfig that names %s", err, c.want)
			}
		})
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mintmark.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
