package web

import (
	"crypto/subtle"
	"net/http"

	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/route"
)

// signOutSeconds is how long somebody may take at a provider to sign out there.
const signOutSeconds = 15 * 60

// offerSignOut is where whoever is signed in with the browser can sign out as well. It is asked before the session ends, and
// nothing that goes wrong with it keeps anybody signed in.
func (p *Pages) offerSignOut(r *http.Request) (federation.SignOutOffer, bool) {
	if p.info.Upstream == nil {
		return federation.SignOutOffer{}, false
	}
	s, ok, err := p.info.Sessions.Current(r.Context(), r)
	if err != nil || !ok {
		return federation.SignOutOffer{}, false
	}
	f, ok, err := p.info.Upstream.OfferSignOut(r.Context(), s.ID)
	if err != nil {
		route.NoteError(r.Context(), "offer_sign_out", err)
		return federation.SignOutOffer{}, false
	}
	return f, ok
}

// UpstreamSignedOut is where a provider sends people who have signed out there: GET /login/upstream/{id}/signed-out. It
// says so only to the browser that was sent there from here, leads nowhere else, and ends nothing.
func (p *Pages) UpstreamSignedOut(w http.ResponseWriter, r *http.Request) {
	kept := r.CookiesNamed(p.cookieName(signOutCookie))
	state := r.URL.Query()["state"]
	if p.info.Upstream == nil || len(kept) != 1 || len(state) != 1 || kept[0].Value == "" || subtle.ConstantTimeCompare([]byte(kept[0].Value), []byte(r.PathValue("id")+"."+state[0])) != 1 {
		p.leave(w, "/logout")
		return
	}
	p.setCookie(w, signOutCookie, "", -1)
	name := ""
	if offers, err := p.info.Upstream.Offers(r.Context(), ""); err == nil {
		for _, o := range offers {
			if o.ID == r.PathValue("id") {
				name = o.Name
			}
		}
	}
	p.show(w, r, http.StatusOK, "goodbye", goodbyeData{frame: p.frame("Signed out"), There: name})
}
