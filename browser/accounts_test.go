package browser_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mintmark/mintmark/api"
)

// TestAccountPages goes the ways of people who have no account yet, or no way into it, by the letters that they get.
func TestAccountPages(t *testing.T) {
	w := start(t)
	for _, l := range []string{"en", "de"} {
		t.Run(l, func(t *testing.T) {
			b := open(t, l)
			name := "jo" + l
			person, err := w.admin.CreateUser(t.Context(), api.CreateUser{Realm: "employees", Username: name, DisplayName: longName, Email: name + "@example.org", Password: secret})
			if err != nil {
				t.Fatal(err)
			}
			w.forgetting(b, name)
			w.verifying(t, b, person)
			w.registering(b, "new"+l+"@example.org")
			w.invited(t, b, "guest"+l)
			b.visit(w.issuer + "/mailbox")
			b.look("mailbox")
		})
	}
}

// letter opens the link of the newest letter of a kind to somebody, once it came.
func (w *world) letter(b *tab, kind, to, wait string) {
	b.t.Helper()
	link, found := fmt.Sprintf(`[data-kind="%s"][data-to="%s"]`, kind, to), 0
	for range 200 {
		b.visit(w.issuer + "/mailbox")
		b.run("look for the letter", chromedp.Evaluate(fmt.Sprintf(`document.querySelectorAll(%q).length`, link), &found))
		if found > 0 {
			b.click(link, wait)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.t.Fatalf("no letter of kind %s", kind)
}

func (b *tab) choose(password, submit, wait string) {
	b.t.Helper()
	b.fill("#new-password", password)
	b.fill("#new-password-again", password)
	b.click(submit, wait)
}

func (w *world) forgetting(b *tab, name string) {
	b.t.Helper()
	b.visit(w.issuer + "/login")
	b.click("#login-reset", "#reset-submit")
	b.look("reset")
	b.fill("#username", name)
	b.click("#reset-submit", "#reset-asked")
	b.look("reset asked")
	w.letter(b, "reset", name+"@example.org", "#new-password")
	b.look("reset with a link")
	b.choose("password12345678", "#reset-submit", "#reset-problem")
	b.look("reset refused")
	b.choose(secret+" again", "#reset-submit", "#login-done")
	b.look("login after reset")
	b.visit(w.issuer + "/reset?token=mmw_nothing")
	b.look("reset with a dead link")
}

func (w *world) verifying(t *testing.T, b *tab, person *api.User) {
	b.t.Helper()
	other := "other-" + person.Email
	if _, err := w.admin.UpdateUser(t.Context(), person.ID, api.UpdateUser{Email: &other}); err != nil {
		t.Fatal(err)
	}
	b.visit(w.issuer + "/login?return_to=/verify")
	b.fill("#username", person.Username)
	b.fill("#password", secret+" again")
	b.click("#login-submit", "#verify-submit")
	b.look("verify")
	b.click("#verify-submit", "#verify-asked")
	b.look("verify asked")
	w.letter(b, "verify", other, "#verify-submit")
	b.look("verify with a link")
	b.click("#verify-submit", "#verify-done")
	b.look("verified")
	b.visit(w.issuer + "/logout")
	b.click("#logout-confirm", `a[href="/login"]`)
}

func (w *world) registering(b *tab, email string) {
	b.t.Helper()
	b.visit(w.issuer + "/login")
	b.click("#login-register", "#email")
	b.look("register")
	b.fill("#email", email)
	b.click("#register-submit", "#register-asked")
	b.look("register asked")
	w.letter(b, "register", email, "#display-name")
	b.look("register with a link")
	b.fill("#display-name", "New Person")
	b.run("a size", chromedp.SetValue("#attribute-shirt", "l"))
	b.choose(secret, "#register-submit", `a[href="/account/security"]`)
	b.visit(w.issuer + "/logout")
	b.click("#logout-confirm", `a[href="/login"]`)
}

func (w *world) invited(t *testing.T, b *tab, name string) {
	b.t.Helper()
	u, err := w.admin.CreateUser(t.Context(), api.CreateUser{Realm: "employees", Username: name, DisplayName: "Gina Guest", Email: name + "@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.admin.InviteUser(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	w.letter(b, "invite", name+"@example.org", "#invitation-submit")
	b.look("invitation")
	b.choose(secret, "#invitation-submit", `a[href="/account/security"]`)
	b.visit(w.issuer + "/logout")
	b.click("#logout-confirm", `a[href="/login"]`)
}
