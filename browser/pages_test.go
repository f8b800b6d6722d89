package browser_test

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestEveryPage looks at each page, in each language.
func TestEveryPage(t *testing.T) {
	w := start(t)
	for _, l := range []struct{ tag, person string }{{"en", "alice"}, {"de", "long"}} {
		t.Run(l.tag, func(t *testing.T) {
			b := open(t, l.tag)
			b.noOffer()
			b.authenticator()
			w.strangersPages(b)
			w.signingIn(b, l.person)
			w.account(b)
			w.secondStep(b, l.person)
			w.devices(t, b)
			b.visit(w.issuer + "/logout")
			b.look("logout")
			b.click("#logout-confirm", `a[href="/login"]`)
			b.look("logged out")
			w.enrolment(b)
		})
	}
}

func (w *world) strangersPages(b *tab) {
	b.t.Helper()
	b.visit(w.issuer + "/")
	b.look("home")
	b.visit(w.issuer + "/nowhere")
	b.look("nowhere")
	b.visit(w.issuer + "/login?realm=customers")
	b.look("login of a realm")
	b.visit(w.issuer + "/oauth2/authorize?client_id=nobody")
	b.look("error")
	b.visit(w.issuer + "/login")
	b.look("login")
}

// signingIn goes from the shop to the shop.
func (w *world) signingIn(b *tab, person string) {
	b.t.Helper()
	b.visit(w.authorize())
	b.fill("#username", person)
	b.fill("#password", "not the password")
	b.click("#login-submit", "#login-problem")
	b.look("login refused")
	b.signIn(person, "#consent-allow")
	b.look("consent")
	b.click("#consent-allow", "#shop")
	b.visit(w.authorize("prompt", "select_account"))
	b.look("select")
	b.click("#select-continue", "#shop")
}

// account adds all that one can sign in with, and looks at the pages on which that is done.
func (w *world) account(b *tab) {
	b.t.Helper()
	b.visit(w.issuer + "/account")
	b.look("account")
	b.visit(w.issuer + "/account/security")
	b.look("security, empty")
	b.fill("#passkey-name", "My laptop "+longName[:40])
	b.click("#passkey-add", "#recovery-codes")
	b.look("recovery codes")
	b.click("#codes-continue", "#passkey-list")
	b.click("#totp-begin", "#totp-secret")
	b.look("app")
	b.visit(w.issuer + "/account/security")
	b.look("security")
	b.visit(w.issuer + "/account/password")
	b.look("password")
	b.visit(w.issuer + "/account/sessions")
	b.look("sessions")
	for _, page := range []struct{ name, has string }{{"profile", "#profile-save"}, {"email", "#email-submit"}, {"approvals", "#approval-list"}, {"activity", "#activity-list"}} {
		b.visit(w.issuer + "/account/" + page.name)
		b.run("see "+page.name, chromedp.WaitVisible(page.has))
		b.look("account " + page.name)
	}
	b.visit(w.issuer + "/account/profile")
	b.run("wrong numbers", chromedp.SetValue("#attribute-desk", "12"), chromedp.SetValue("#attribute-hobbies", "1\n2\n3\n4\n5\n6"), chromedp.SetValue("#attribute-shirt", "l"))
	b.click("#profile-save", "#attribute-hobbies-problem")
	b.look("account profile, refused")
	b.run("one less", chromedp.SetValue("#attribute-hobbies", "1\n2\n3"))
	b.click("#profile-save", "#profile-done")
	b.look("account profile, saved")
	b.visit(w.issuer + "/account/data")
	b.look("account data")
	b.click("#data-erase", "#erase-confirm")
	b.look("erase")
	b.fill("#confirm", "somebody else")
	b.click("#erase-confirm", "#erase-problem")
	b.look("erase, refused")
	b.visit(w.issuer + "/account/activity")
	b.click(`#activity-list a[href*="/help"]`, "#not-me-steps")
	b.look("account activity help")
	b.visit(w.issuer + "/account/approvals")
	b.click("#approval-list a.button", "#withdraw-confirm")
	b.look("withdraw")
}

// secondStep signs out, and in with a password and a passkey, then with the passkey alone.
func (w *world) secondStep(b *tab, person string) {
	b.t.Helper()
	b.visit(w.issuer + "/logout")
	b.click("#logout-confirm", `a[href="/login"]`)
	b.visit(w.issuer + "/login?realm=employees")
	b.signIn(person, "#passkey-verify")
	b.look("verify")
	b.click("#passkey-verify", "#account-username")
	b.visit(w.issuer + "/logout")
	b.click("#logout-confirm", `a[href="/login"]`)
	b.visit(w.issuer + "/login")
	b.click("#passkey-login", "#account-username")
	b.visit(w.issuer + "/login?step=again&return_to=/account/security")
	b.look("login again")
}

func (w *world) devices(t *testing.T, b *tab) {
	b.t.Helper()
	for _, answer := range []string{"allow", "deny"} {
		b.visit(w.issuer + "/device")
		if answer == "allow" {
			b.look("device")
			b.fill("#user-code", "BBBB-BBBB")
			b.click("#device-submit", "#device-problem")
			b.look("device, wrong code")
		}
		b.fill("#user-code", w.device(t))
		b.click("#device-submit", "#device-"+answer)
		if answer == "allow" {
			b.look("device, asked")
		}
		b.click("#device-"+answer, "#device-done")
		b.look("device, " + answer)
	}
}

func (w *world) enrolment(b *tab) {
	b.t.Helper()
	b.visit(w.issuer + "/login?realm=employees")
	b.signIn("root", "#totp-secret")
	b.look("enrol")
}

// TestByKeyboard signs in and allows with Tab and Enter alone.
func TestByKeyboard(t *testing.T) {
	w, b := start(t), open(t, "en")
	to := func(id string) {
		t.Helper()
		for range 20 {
			var focused string
			var ring bool
			b.run("focus", chromedp.Evaluate(`document.activeElement.id`, &focused), chromedp.Evaluate(`parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2`, &ring))
			if focused == id {
				if !ring {
					t.Errorf("nobody sees that %s has the focus", id)
				}
				return
			}
			b.run("tab", chromedp.KeyEvent(kb.Tab))
		}
		t.Fatalf("Tab does not lead to %s", id)
	}
	b.visit(w.authorize())
	to("username")
	b.run("type", chromedp.KeyEvent("alice"))
	to("password")
	b.run("type", chromedp.KeyEvent(secret))
	to("login-submit")
	b.run("enter", chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#consent-allow"))
	to("consent-allow")
	b.run("enter", chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible("#shop"))
}

// TestWithoutScripts signs in, allows, and connects a device with JavaScript off.
func TestWithoutScripts(t *testing.T) {
	w, b := start(t), open(t, "en")
	b.run("no scripts", emulation.SetScriptExecutionDisabled(true))
	b.visit(w.authorize())
	b.signIn("alice", "#consent-allow")
	b.click("#consent-allow", "#shop")
	b.visit(w.issuer + "/device")
	b.fill("#user-code", w.device(t))
	b.click("#device-submit", "#device-allow")
	b.click("#device-allow", "#device-done")
	b.visit(w.issuer + "/login?lang=de")
	b.run("the language", chromedp.WaitVisible(`html[lang="de"]`))
	b.click("#language-en", `html[lang="en"]`)
}
