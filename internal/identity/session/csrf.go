package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Field is the name of the form field that carries the token.
const Field = "csrf"

const (
	tokenKind     = "csrf-token"
	visitorPrefix = "mmv_"
	nonceSize     = 16
	maxToken      = 200
)

// ErrForm is the answer to a form that did not come from a page of ours in this browser.
var ErrForm error = fault.New(fault.Forbidden, "form_not_ours", "This form is out of date, or does not come from a page of this server. Please open the page again and repeat what you did.")

// Token makes what a form of the answer must carry in Field. It is bound to the session of the browser, or, when nobody
// is signed in, to a cookie of the browser that it sets; so it must be called before the answer begins.
func (m *Manager) Token(w http.ResponseWriter, r *http.Request) string {
	to, ok := m.binding(r.Context(), r)
	if !ok {
		value := seal.NewSecret(visitorPrefix)
		m.setCookie(w, m.visitor, value.Reveal(), 0)
		to = "visitor " + value.Reveal()
	}
	var nonce [nonceSize]byte
	rand.Read(nonce[:]) // never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(append(nonce[:], m.keyring.MAC(tokenKind, redact.New(to+"\n"+string(nonce[:])))...))
}

// binding is what a token for this browser is bound to. Each token is different, because it goes over the wire beside
// what a stranger may choose; all of one browser are good until its session changes.
func (m *Manager) binding(ctx context.Context, r *http.Request) (string, bool) {
	if s, ok, err := m.Current(ctx, r); err == nil && ok {
		return "session " + s.ID, true
	}
	found := r.CookiesNamed(m.visitor)
	if len(found) != 1 || len(found[0].Value) != len(visitorPrefix)+43 || found[0].Value[:len(visitorPrefix)] != visitorPrefix {
		return "", false
	}
	return "visitor " + found[0].Value, true
}

// Browser names the browser that sent r, by its session or, when nobody is signed in, by the cookie that Token gave it:
// for what must be finished where it was begun. It is a secret then.
func (m *Manager) Browser(r *http.Request) (redact.Secret, bool) {
	to, ok := m.binding(r.Context(), r)
	return redact.New(to), ok
}

// CheckToken tells whether a form comes from a page that Token was called for, in the same browser and with the same
// session, and is sent by a page of ours. The answer to anything else is ErrForm. It reads the form.
func (m *Manager) CheckToken(r *http.Request) error {
	if m.LedBy(r) != Ours {
		return ErrForm
	}
	if err := r.ParseForm(); err != nil {
		return fault.Wrap(err, fault.Invalid, "malformed_form", "The form could not be read.")
	}
	for name, list := range r.PostForm {
		for _, text := range append(slices.Clone(list), name) {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) { // which not every database stores, or looks for
				return fault.New(fault.Invalid, "malformed_form", "The form holds what is no text.")
			}
		}
	}
	values := r.PostForm[Field]
	if len(values) != 1 || len(values[0]) > maxToken {
		return ErrForm
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(values[0])
	if err != nil || len(raw) <= nonceSize {
		return ErrForm
	}
	to, ok := m.binding(r.Context(), r)
	if !ok || !m.keyring.VerifyMAC(tokenKind, redact.New(to+"\n"+string(raw[:nonceSize])), raw[nonceSize:]) {
		return ErrForm
	}
	return nil
}
