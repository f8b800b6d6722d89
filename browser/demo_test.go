package browser_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// transcript is what a program prints while it runs.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// playDemo runs the shipped program's demo until the test ends, and answers what it printed when it had told its story.
func playDemo(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "mintmark")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/mintmark").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	said := &transcript{}
	demo := exec.Command(program, "demo", "--watch", "8s")
	demo.Stdout, demo.Stderr = said, said
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- demo.Wait() }()
	t.Cleanup(func() {
		_ = demo.Process.Signal(syscall.SIGINT) // it may have ended already
		if err := <-ended; err != nil {
			t.Errorf("the demo ended with %v:\n%s", err, said)
		}
	})
	for deadline := time.After(2 * time.Minute); !strings.Contains(said.String(), "until you press Ctrl-C"); {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the demo ended by itself: %v\n%s", err, said)
		case <-deadline:
			t.Fatalf("the demo does not come to its end:\n%s", said)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return said.String()
}

// TestNewcomer follows the README's tour for people: somebody who knows nothing but what the demo prints signs in as alice,
// then makes an account, adds a passkey, signs in with it, takes back what he allowed, loses the device and recovers.
func TestNewcomer(t *testing.T) {
	story := playDemo(t)
	line := regexp.MustCompile(`Sign in +(http\S+) as customers/alice, password: (.*)`).FindStringSubmatch(story)
	home := regexp.MustCompile(`(?m)^ +Open +(http\S+)$`).FindStringSubmatch(story)
	if line == nil || home == nil {
		t.Fatalf("the demo does not say where to sign in:\n%s", story)
	}
	shop, w := line[1], &world{issuer: home[1]}

	b := open(t, "en")
	b.visit(shop)
	b.click("#shop-login", "#login-submit")
	b.enter("customers", "alice", line[2], "#consent-allow")
	b.click("#consent-allow", "#shop-welcome")
	b.shows("#shop-welcome", "Welcome, Alice.")

	b = open(t, "en")
	b.noOffer()
	b.authenticator()
	codes := w.newcomer(b, shop)

	lost := open(t, "en") // a browser that has neither the passkey nor a session
	lost.visit(shop)
	lost.click("#shop-login", "#login-submit")
	lost.enter("customers", "nina", secret, "#recovery-show")
	lost.click("#recovery-show", "#recovery-code")
	lost.fill("#recovery-code", codes[0])
	lost.click("#recovery-submit", "#consent-allow")
	lost.click("#consent-allow", "#shop-welcome")
	lost.shows("#shop-welcome", "Welcome, Nina New.")
}

// newcomer makes the account of Nina, with all that belongs to it, and answers her recovery codes.
func (w *world) newcomer(b *tab, shop string) (codes []string) {
	b.t.Helper()
	const email = "nina@example.org"
	b.visit(shop)
	b.click("#shop-login", "#login-submit")
	b.click("#login-register", "#email")
	b.fill("#email", email)
	b.click("#register-submit", "#register-asked")
	w.letter(b, "register", email, "#display-name")
	b.fill("#display-name", "Nina New")
	b.fill("#username", "nina")
	b.choose(secret, "#register-submit", "#consent-allow") // and on to where she came from
	b.click("#consent-allow", "#shop-welcome")
	b.shows("#shop-email", email)

	b.visit(w.issuer + "/account")
	b.click("#to-security", "#passkey-add")
	b.fill("#passkey-name", "My laptop")
	b.click("#passkey-add", "#recovery-codes")
	b.run("read the codes", chromedp.Evaluate(`[...document.querySelectorAll("#recovery-codes li")].map(e => e.innerText.trim())`, &codes))
	if len(codes) < 8 {
		b.t.Fatalf("recovery codes: %q", codes)
	}
	b.click("#codes-continue", "#passkey-list")

	b.visit(w.issuer + "/logout")
	b.click("#logout-confirm", `a[href="/login"]`)
	b.visit(shop)
	b.click("#shop-login", "#passkey-login")
	b.click("#passkey-login", "#shop-welcome") // she is not asked again for what she has allowed
	b.visit(w.issuer + "/account/approvals")
	b.click(`#approval-list a[aria-label*="Web shop"]`, "#withdraw-confirm")
	b.click("#withdraw-confirm", "#approvals-none")
	b.visit(shop)
	b.click("#shop-login", "#consent-allow") // but now she is
	return codes
}

// enter fills in the login page.
func (b *tab) enter(realm, name, password, wait string) {
	b.t.Helper()
	b.run("choose the realm", chromedp.SetValue("#realm", realm))
	b.fill("#username", name)
	b.fill("#password", password)
	b.click("#login-submit", wait)
}

func (b *tab) shows(selector, text string) {
	b.t.Helper()
	var is string
	b.run("read "+selector, chromedp.Text(selector, &is))
	if is != text {
		b.t.Errorf("%s is %q, want %q", selector, is, text)
	}
}
