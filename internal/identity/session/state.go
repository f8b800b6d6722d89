package session

import (
	"encoding/base64"
	"net/http"

	"github.com/mintmark/mintmark/internal/redact"
)

// The browser state tells the pages of clients that who is signed in has changed (OpenID Connect Session Management
// section 3.2). It follows from the session and proves nothing: scripts of ours can read it, and it comes along when
// another site frames us, which the session's own cookie never does.

const stateKind = "browser-state"

// StateCookie is the name of the cookie that holds the browser state.
func (m *Manager) StateCookie() string { return m.state }

// BrowserState is the browser state of a session, which the browser is given if it has another one.
func (m *Manager) BrowserState(w http.ResponseWriter, r *http.Request, s Session) string {
	// The term of the key stands before each MAC, and a new term makes a new value: the client asks once more then.
	value := base64.RawURLEncoding.EncodeToString(m.keyring.MAC(stateKind, redact.New(s.ID)))
	if found := r.CookiesNamed(m.state); len(found) != 1 || found[0].Value != value {
		m.setState(w, value, 0)
	}
	return value
}

// setState sets the browser state, or, with a negative age, takes it away. Without TLS browsers take no cookie that goes
// with other sites' frames.
func (m *Manager) setState(w http.ResponseWriter, value string, age int) {
	same := http.SameSiteLaxMode
	if m.o.Secure {
		same = http.SameSiteNoneMode
	}
	http.SetCookie(w, &http.Cookie{Name: m.state, Value: value, Path: "/", MaxAge: age, Secure: m.o.Secure, SameSite: same})
}
