package oauth_test

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/oauth"
)

func seconds(at int64) string { return strconv.FormatInt(at, 10) }

// How a session ends says which grants end with it: those of the session, of the person, of the realm, or all; those that
// may go on stay in any case.
func TestWhichGrantsASessionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		which func(w *folk, id string) session.Which
		ended []string
	}{
		"one":    {func(_ *folk, id string) session.Which { return session.Which{ID: id} }, []string{"here"}},
		"person": {func(w *folk, _ string) session.Which { return session.Which{UserID: w.alice.ID} }, []string{"elsewhere", "here"}},
		"realm":  {func(*folk, string) session.Which { return session.Which{Realm: "customers"} }, []string{"elsewhere", "here"}},
		"all":    {func(*folk, string) session.Which { return session.Which{All: true} }, []string{"another's", "elsewhere", "here"}},
		"none":   {func(*folk, string) session.Which { return session.Which{} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			folks(t, func(t *testing.T, w *folk) {
				b := w.browser().login(w.alice)
				tokens := map[string]string{
					"here":      w.exchange(w.shop, b.allow(asks(w.shop))).text("refresh_token"),
					"offline":   w.exchange(w.shop, b.allow(asks(w.shop, "scope", "openid offline_access"))).text("refresh_token"),
					"elsewhere": w.signIn(w.shop).text("refresh_token"),
					"another's": w.exchange(w.shop, w.browser().login(w.bob).allow(asks(w.shop))).text("refresh_token"),
				}
				id, _ := w.sessionID(b)
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					return w.server.SessionsEnding(ctx, tx, c.which(w, id), "test")
				})
				var ended []string
				for name, token := range tokens {
					if r := w.refresh(w.shop, token); r.status != 200 {
						ended = append(ended, name)
					}
				}
				if slices.Sort(ended); !slices.Equal(ended, c.ended) {
					t.Errorf("%v ended, want %v", ended, c.ended)
				}
			})
		})
	}
}

// Taking back what many hold ends what they could be renewed with, whichever kind it is.
func TestRevokingManyEndsTheirGrants(t *testing.T) {
	for kind, c := range map[string]struct {
		id    func(w *folk) string
		ended []string
	}{
		"client":     {func(w *folk) string { return w.shop.ClientID }, []string{"another's", "hers"}},
		"realm":      {func(*folk) string { return "customers" }, []string{"hers", "other client's"}},
		"everything": {func(*folk) string { return "" }, []string{"another's", "hers", "other client's"}},
	} {
		t.Run(kind, func(t *testing.T) {
			folks(t, func(t *testing.T, w *folk) {
				offline := []string{"scope", "openid offline_access"} // no sign-out would end them
				bobs := w.exchange(w.shop, w.browser().login(w.bob).allow(asks(w.shop, offline...)))
				tokens := map[string]reply{"hers": w.signIn(w.shop, offline...), "other client's": w.signIn(w.other, offline...), "another's": bobs}
				w.clock.Advance(time.Second)
				body := object{"kind": kind, "reason": "a leak"}
				if id := c.id(w); id != "" {
					body["id"] = id
				}
				if r := w.manage("POST", "/api/revocations", body); r.status != 201 {
					t.Fatalf("%d %s", r.status, r.body)
				}
				w.clock.Advance(2 * time.Second)
				var ended []string
				for name, x := range tokens {
					client := w.shop
					if name == "other client's" {
						client = w.other
					}
					r := w.refresh(client, x.text("refresh_token"))
					if r.status != 200 {
						ended = append(ended, name)
					}
					if active := w.active(client, x.text("access_token")); active != (r.status == 200) {
						t.Errorf("%s: refresh %d, access token active %v", name, r.status, active)
					}
				}
				if slices.Sort(ended); !slices.Equal(ended, c.ended) {
					t.Errorf("%v ended, want %v", ended, c.ended)
				}
			})
		})
	}
}

// Who may revoke shows a token for this installation, asks for nothing beside it, and says of a token nothing that is not
// so.
func TestRevocationsThatAreRefused(t *testing.T) {
	w := aWorldOfPeople(t)
	const elsewhere = "https://orders.example.org"
	w.say(w.shop, func(c *oauth.Client) { c.Metadata.Resources = []string{elsewhere} })
	token := w.exchange(w.shop, w.browser().login(w.alice).allow(asks(w.shop, "resource", elsewhere))).text("access_token")
	own := `{"type":"TOKEN","data":{"token":"` + token + `"}}`
	if r := w.revokes(own, bearer(token)); r.status != 401 || !w.active(w.shop, token) {
		t.Errorf("a token for another resource revokes: %d %s", r.status, r.body)
	}
	token = w.exchange(w.shop, w.browser().login(w.alice).allow(asks(w.shop))).text("access_token")
	for name, body := range map[string]string{
		"issued before it was": `{"type":"TOKEN","data":{"token":"` + token + `","issued_before":` + seconds(w.clock.Now().Unix()-10) + `}}`,
	} {
		if r := w.revokes(body, bearer(token)); r.status != 400 || !w.active(w.shop, token) {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	now := w.clock.Now().Unix()
	for name, query := range map[string]url.Values{
		"more than from": {"from": {seconds(now - 60)}, "to": {seconds(now)}}, "twice": {"from": {seconds(now), seconds(now)}}, "nothing": {}, "no number": {"from": {"x"}},
		"too old": {"from": {seconds(now - 31*86400 - 1)}},
	} {
		if r := w.send("GET", "/oauth2/revocations?"+query.Encode(), ""); r.status != 400 {
			t.Errorf("the feed, %s: %d %s", name, r.status, r.body)
		}
	}
	for name, value := range map[string]string{"in the future": seconds(now + 60), "too old": seconds(now - 31*86400 - 1), "no number": "x"} {
		if r := w.send("POST", "/oauth2/notifications/REFRESH_FROM?value="+value, "", admin); r.status != 400 {
			t.Errorf("refresh, %s: %d %s", name, r.status, r.body)
		}
	}
	if r := w.send("POST", "/oauth2/notifications/REFRESH_FROM?value="+seconds(now-60), "", admin); r.status != 201 {
		t.Errorf("refresh: %d %s", r.status, r.body)
	}
}
