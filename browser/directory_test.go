package browser_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/identity/directory/directorytest"
)

// TestDirectoryPages looks at what somebody sees whose password a directory keeps: the login, the pages of the account
// that say less or other things for it, and what is said while the directory is away.
func TestDirectoryPages(t *testing.T) {
	server := directorytest.New(t)
	jane := directorytest.Jane()
	jane.Attributes["displayName"] = longName
	server.Entries = []directorytest.Entry{jane}
	key := filepath.Join(t.TempDir(), "searcher")
	if err := os.WriteFile(key, []byte(directorytest.SearcherPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	w := startAt(t, "http", nil, app.Realm{Name: "staff", Attributes: keeps, Directory: &app.RealmDirectory{
		Kind: "active-directory", URLs: server.Config().URLs, Plain: true, Timeout: app.Duration(time.Second), BindDN: directorytest.Searcher, BindPasswordFile: key,
		Base: directorytest.People, PasswordPage: "https://password.example.org/",
	}})
	for _, l := range []string{"en", "de"} {
		t.Run(l, func(t *testing.T) {
			b := open(t, l)
			b.visit(w.issuer + "/login?realm=staff&return_to=/account/profile")
			b.look("directory login")
			b.fill("#username", "jane")
			b.fill("#password", "not the password")
			b.click("#login-submit", "#login-problem")
			b.look("directory login refused")
			b.signIn("jane", "#profile-save")
			b.look("directory profile")
			b.visit(w.issuer + "/account")
			b.look("directory account")
			b.visit(w.issuer + "/account/security")
			b.look("directory security")
			b.visit(w.issuer + "/account/password")
			b.look("directory password")
			b.visit(w.issuer + "/logout")
			b.click("#logout-confirm", `a[href="/login"]`)

			server.Set(func() { server.Silent = true })
			defer server.Set(func() { server.Silent = false })
			b.visit(w.issuer + "/login?realm=staff")
			b.signIn("jane", "#login-problem")
			b.look("directory away")
		})
	}
}
