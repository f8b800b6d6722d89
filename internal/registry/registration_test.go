package registry_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	ours "github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// openTo is a world whose registry lets strangers register.
func openTo(t *testing.T, f func(t *testing.T, w *world)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			k := sealtest.New(t, d)
			w := newWorld(t, d, k, c)
			dir, err := identity.New(d, k, identity.Options{Clock: c})
			if err != nil {
				t.Fatal(err)
			}
			if w.r, err = registry.New(d, k, dir, registry.Options{Clock: c, Registration: registry.RegistrationOptions{
				Issuer: "https://id.example.org", Anonymous: true, SecretLife: 24 * time.Hour,
			}}); err != nil {
				t.Fatal(err)
			}
			f(t, w)
		})
	}
}

type registered struct {
	ClientID      string          `json:"client_id"`
	ClientSecret  string          `json:"client_secret"`
	SecretExpires *int64          `json:"client_secret_expires_at"`
	Token         string          `json:"registration_access_token"`
	URI           string          `json:"registration_client_uri"`
	ClientName    string          `json:"client_name"`
	GrantTypes    []string        `json:"grant_types"`
	ResponseTypes []string        `json:"response_types"`
	RedirectURIs  []string        `json:"redirect_uris"`
	AuthMethod    string          `json:"token_endpoint_auth_method"`
	Scope         string          `json:"scope"`
	JWKS          json.RawMessage `json:"jwks"`
	Error         string          `json:"error"`
	ErrorText     string          `json:"error_description"`
}

// knockFrom sends a request of the registration protocol from an address.
func knockFrom(t *testing.T, w *world, from, method, path, token, body string) (int, registered, *httptest.ResponseRecorder) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = from + ":1234"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	w.serve().ServeHTTP(rec, r)
	var out registered
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
			t.Fatalf("%s: %v", rec.Body, err)
		}
		if c := rec.Header().Get("Cache-Control"); c != "no-store" {
			t.Errorf("Cache-Control %q", c)
		}
	}
	return rec.Code, out, rec
}

func (w *world) initial(t *testing.T, body string) api.RegistrationToken {
	t.Helper()
	return decode[api.RegistrationToken](t, call(w.serve(), "admin", "POST", "/api/registration-tokens", body), 200)
}

const plainRegistration = `{"client_name":"Tool","redirect_uris":["https://tool.example.org/cb"]}`

func TestB7_121_AnonymousRegistration(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for name, token := range map[string]string{"nothing": "", "nonsense": "mmi_nonsense"} {
			if status, out, rec := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", token, plainRegistration); status != 401 || out.Error != "invalid_token" || rec.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("off, shown %s: %d %s", name, status, rec.Body)
			}
		}
		if status, _, rec := knockFrom(t, w, "192.0.2.1", "GET", "/oauth2/register", "", ""); status != 405 || rec.Header().Get("Allow") != "POST" {
			t.Errorf("GET: %d", status)
		}
	})
}

func TestB7_121_AnonymousRegistrationWhenOn(t *testing.T) {
	openTo(t, func(t *testing.T, w *world) {
		var first registered
		for i := range 6 {
			status, out, rec := knockFrom(t, w, "2001:db8::"+fmt.Sprint(i+1), "POST", "/oauth2/register", "", plainRegistration)
			if i < 5 && status != 201 || i == 5 && (status != 429 || rec.Header().Get("Retry-After") == "") {
				t.Errorf("registration %d from one network: %d %s", i, status, rec.Body)
			}
			if i == 0 {
				first = out
			}
		}
		// To delete one makes no room.
		if status, _, _ := knockFrom(t, w, "2001:db8::1", "DELETE", "/oauth2/register/"+first.ClientID, first.Token, ""); status != 204 {
			t.Errorf("delete: %d", status)
		}
		if status, _, _ := knockFrom(t, w, "2001:db8::1", "POST", "/oauth2/register", "", plainRegistration); status != 429 {
			t.Errorf("deleted and registered again: %d", status)
		}
		status, out, rec := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", "", strings.Replace(plainRegistration, "{", `{"scope":"openid sales_order.read",`, 1))
		if status != 201 {
			t.Fatalf("from elsewhere: %d %s", status, rec.Body)
		}
		c, err := w.r.Clients().Client(ctx, out.ClientID)
		if err != nil || !c.Untrusted || c.Team != "" || len(c.OwnerScopes) != 0 || !slices.Equal(c.GrantTypes, []string{"authorization_code"}) {
			t.Errorf("in memory: %+v %v", c, err)
		}
		w.clock.Advance(time.Hour + time.Second)
		if status, _, rec := knockFrom(t, w, "2001:db8::1", "POST", "/oauth2/register", "", plainRegistration); status != 201 {
			t.Errorf("an hour later: %d %s", status, rec.Body)
		}
		for _, grant := range []string{"client_credentials", "password", "implicit", "urn:ietf:params:oauth:grant-type:device_code"} {
			if status, out, _ := knockFrom(t, w, "192.0.2.9", "POST", "/oauth2/register", "", `{"redirect_uris":["https://a.example.org/"],"grant_types":["`+grant+`"]}`); status != 400 || out.Error != "invalid_client_metadata" {
				t.Errorf("grant %s: %d %+v", grant, status, out)
			}
		}
	})
}

// From the initial access token to the end of a registration (RFC 7591, RFC 7592).
func TestRegistration(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for who, want := range map[string]int{"": 401, "jane": 403, "robot": 403} {
			if got := call(w.serve(), who, "POST", "/api/registration-tokens", `{"label":"x"}`); got.status != want {
				t.Errorf("a token for %q: %d", who, got.status)
			}
		}
		it := w.initial(t, `{"label":"partners","team_id":"shop","scopes":["sales_order.read","sales_order.read_all","gone.scope"],"redirect_hosts":[".example.org"],"max_uses":2}`)
		post := func(body string) (int, registered) {
			t.Helper()
			status, out, _ := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", it.Token, body)
			return status, out
		}
		if status, out := post(`{"redirect_uris":["https://tool.example.com/cb"]}`); status != 400 || out.Error != "invalid_redirect_uri" {
			t.Errorf("a host that is not allowed: %d %+v", status, out)
		}
		status, out := post(`{"client_name":"Tool","redirect_uris":["https://tool.example.org/cb"],"grant_types":["authorization_code","refresh_token"],
			"scope":"openid sales_order.read sales_order.read_all sales_order.write gone.scope","token_endpoint_auth_method":"client_secret_post","made_up":{"a":1},"contacts":["a@example.org"],
			"client_id":"cli_x","client_secret":"mine","first_party":true,"team_id":"other","CLIENT_NAME":"x"}`)
		if status != 201 || out.ClientSecret == "" || out.ClientSecret == "mine" || out.ClientID == "cli_x" || out.SecretExpires == nil || *out.SecretExpires != 0 {
			t.Fatalf("registered: %d %+v", status, out)
		}
		if out.AuthMethod != "client_secret_post" || !slices.Equal(out.ResponseTypes, []string{"code"}) || !slices.Contains(out.GrantTypes, "refresh_token") ||
			!strings.Contains(out.Scope, "sales_order.read") || strings.Contains(out.Scope, "write") || out.ClientName != "Tool" {
			t.Errorf("told: %+v", out)
		}
		c, err := w.r.Clients().Client(ctx, out.ClientID)
		if err != nil || c.Untrusted || c.Team != "shop" || c.Metadata.FirstParty || !slices.Equal(c.OwnerScopes, []string{"sales_order.read"}) || !c.May("refresh_token") {
			t.Errorf("in memory: %+v %v", c, err)
		}
		if !w.accepted(out.ClientID, redact.New(out.ClientSecret)) {
			t.Error("its secret is refused")
		}
		path := "/oauth2/register/" + out.ClientID
		for name, token := range map[string]string{"nothing": "", "the initial token": it.Token, "its secret": out.ClientSecret} {
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				if status, no, _ := knockFrom(t, w, "192.0.2.1", method, path, token, ""); status != 401 || no.Error != "invalid_token" {
					t.Errorf("%s with %s: %d %+v", method, name, status, no)
				}
			}
		}
		status, got, rec := knockFrom(t, w, "192.0.2.1", "GET", path, out.Token, "")
		if status != 200 || got.ClientSecret != "" || strings.Contains(rec.Body.String(), out.ClientSecret) || got.Token != out.Token || !strings.HasSuffix(got.URI, path) {
			t.Errorf("B7.127 read: %d %s", status, rec.Body)
		}
		put := func(body string) (int, registered) {
			t.Helper()
			status, out, _ := knockFrom(t, w, "192.0.2.1", "PUT", path, out.Token, body)
			return status, out
		}
		for name, body := range map[string]string{
			"no id":           plainRegistration,
			"another's id":    `{"client_id":"cli_x","redirect_uris":["https://tool.example.org/cb"]}`,
			"a wrong secret":  `{"client_id":"` + out.ClientID + `","client_secret":"mine","redirect_uris":["https://tool.example.org/cb"]}`,
			"its own token":   `{"client_id":"` + out.ClientID + `","registration_access_token":"x","redirect_uris":["https://tool.example.org/cb"]}`,
			"issued":          `{"client_id":"` + out.ClientID + `","client_id_issued_at":1,"redirect_uris":["https://tool.example.org/cb"]}`,
			"B7.124 type":     `{"client_id":"` + out.ClientID + `","token_endpoint_auth_method":"none","redirect_uris":["https://tool.example.org/cb"]}`,
			"beyond policy":   `{"client_id":"` + out.ClientID + `","grant_types":["client_credentials"]}`,
			"no redirect URI": `{"client_id":"` + out.ClientID + `"}`,
		} {
			if status, no := put(body); status != 400 || no.Error == "" {
				t.Errorf("%s: %d %+v", name, status, no)
			}
		}
		status, changed := put(`{"client_id":"` + out.ClientID + `","client_secret":"` + out.ClientSecret + `","client_name":"Tool 2","redirect_uris":["https://tool2.example.org/cb"]}`)
		if status != 200 || changed.ClientName != "Tool 2" || changed.ClientSecret != "" || slices.Contains(changed.GrantTypes, "refresh_token") || strings.Contains(changed.Scope, "sales_order") {
			t.Errorf("changed: %d %+v", status, changed)
		}
		if c, err = w.r.Clients().Client(ctx, out.ClientID); err != nil || c.May("refresh_token") || len(c.OwnerScopes) != 0 || c.MayRedirect("https://tool.example.org/cb") {
			t.Errorf("what was not said again is gone: %+v %v", c, err)
		}
		// Another way to prove itself gives it another secret, and ends the old one.
		status, signs := put(`{"client_id":"` + out.ClientID + `","redirect_uris":["https://tool.example.org/cb"],"token_endpoint_auth_method":"client_secret_jwt"}`)
		if status != 200 || signs.ClientSecret == "" || w.accepted(out.ClientID, redact.New(out.ClientSecret)) {
			t.Errorf("signs: %d %+v", status, signs)
		}
		if keys, err := w.r.Clients().HMACSecrets(ctx, out.ClientID); err != nil || len(keys) != 1 || keys[0].Reveal() != signs.ClientSecret {
			t.Errorf("to sign with: %d %v", len(keys), err)
		}
		if status, _, _ := knockFrom(t, w, "192.0.2.1", "DELETE", path, out.Token, ""); status != 204 {
			t.Errorf("delete: %d", status)
		}
		if status, _, _ := knockFrom(t, w, "192.0.2.1", "GET", path, out.Token, ""); status != 401 {
			t.Errorf("deleted: %d", status)
		}
		if _, err := w.r.Clients().Client(ctx, out.ClientID); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted: %v", err)
		}
		if status, _ := post(plainRegistration); status != 201 {
			t.Errorf("the second use: %d", status)
		}
		if status, no := post(plainRegistration); status != 401 || no.Error != "invalid_token" {
			t.Errorf("the third of two uses: %d %+v", status, no)
		}
		list := call(w.serve(), "admin", "GET", "/api/registration-tokens", "")
		if strings.Contains(list.body, it.Token) || !strings.Contains(list.body, `"uses":2`) {
			t.Errorf("listed: %s", list.body)
		}
		if got := call(w.serve(), "admin", "DELETE", "/api/registration-tokens/"+it.ID, ""); got.status != 204 {
			t.Errorf("delete the token: %d", got.status)
		}
	})
}

// A token for one registration makes one, however many come at once.
func TestRegistrationTokenIsCounted(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		it := w.initial(t, `{"label":"once"}`)
		var made atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				r := httptest.NewRequest("POST", "/oauth2/register", strings.NewReader(plainRegistration))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+it.Token)
				rec := httptest.NewRecorder()
				w.serve().ServeHTTP(rec, r)
				if rec.Code == 201 {
					made.Add(1)
				} else if rec.Code != 401 {
					t.Errorf("%d %s", rec.Code, rec.Body)
				}
			})
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Errorf("%d clients by a token for one", made.Load())
		}
		expired := w.initial(t, `{"label":"short","expires":"2026-11-22T12:30:00Z"}`)
		w.clock.Advance(time.Hour)
		if status, _, _ := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", expired.Token, plainRegistration); status != 401 {
			t.Errorf("expired: %d", status)
		}
	})
}

// B1.11, B7.122, B7.123, B7.126: what strangers send.
// encryptingSet is a key set that one can encrypt for by ECDH-ES.
func encryptingSet(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "e", Use: "enc"}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The audit log names the keys that came and went by their thumbprints (RFC 7638), and those that stay keep their history.
func TestRegisteredKeysAreReplaced(t *testing.T) {
	openTo(t, func(t *testing.T, w *world) {
		one, two := encryptingSet(t), encryptingSet(t)
		body := func(clientID, jwks string) string {
			return `{"client_id":"` + clientID + `","redirect_uris":["https://a.example.org/cb"],"jwks":` + jwks + "}"
		}
		recorded := func() (list []map[string]any) {
			t.Helper()
			w.read(func(tx db.ReadTx) error {
				list = nil
				rows, err := tx.Query(ctx, `SELECT details FROM audit_events WHERE action = 'client_key.replace' ORDER BY at, id`)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var text string
					if err := rows.Scan(&text); err != nil {
						return err
					}
					var details map[string]any
					if err := json.Unmarshal([]byte(text), &details); err != nil {
						return err
					}
					list = append(list, details)
				}
				return rows.Err()
			})
			return list
		}
		status, out, rec := knockFrom(t, w, "198.51.100.1", "POST", "/oauth2/register", "", body("", one))
		if status != 201 {
			t.Fatalf("%d %s", status, rec.Body)
		}
		first, err := w.r.Clients().Client(ctx, out.ClientID)
		if err != nil || len(first.Keys) != 1 {
			t.Fatalf("%+v %v", first.Keys, err)
		}
		for _, step := range []struct {
			jwks    string
			records int
		}{{one, 1}, {two, 2}} {
			w.clock.Advance(time.Second)
			if status, _, rec := knockFrom(t, w, "198.51.100.1", "PUT", "/oauth2/register/"+out.ClientID, out.Token, body(out.ClientID, step.jwks)); status != 200 {
				t.Fatalf("%d %s", status, rec.Body)
			}
			if got := recorded(); len(got) != step.records {
				t.Errorf("recorded %v, want %d", got, step.records)
			}
			if c, err := w.r.Clients().Client(ctx, out.ClientID); err != nil || (c.Keys[0].ID == first.Keys[0].ID) != (step.jwks == one) {
				t.Errorf("%+v %v", c.Keys, err)
			}
		}
		list := recorded()
		was, is := []any{thumbprintOf(t, one)}, []any{thumbprintOf(t, two)}
		if !cmp.Equal(list[0]["added"], any(was)) || list[0]["removed"] != nil || !cmp.Equal(list[1]["added"], any(is)) || !cmp.Equal(list[1]["removed"], any(was)) {
			t.Errorf("recorded %v; the thumbprints are %v and %v", list, was, is)
		}
	})
}

func thumbprintOf(t *testing.T, set string) string {
	t.Helper()
	keys, err := ours.ParseKeySet([]byte(set))
	if err != nil {
		t.Fatal(err)
	}
	return keys[0].Thumbprint()
}

// A client that wants its answers encrypted brings the key along, and keeps one.
func TestRegistrationToEncryptFor(t *testing.T) {
	openTo(t, func(t *testing.T, w *world) {
		const wish = `{"redirect_uris":["https://a.example.org/cb"],"id_token_encrypted_response_alg":"ECDH-ES","jwks":`
		status, out, rec := knockFrom(t, w, "198.51.100.1", "POST", "/oauth2/register", "", wish+encryptingSet(t)+"}")
		if status != 201 {
			t.Fatalf("%d %s", status, rec.Body)
		}
		path := "/oauth2/register/" + out.ClientID
		update := func(jwks string) string {
			return `{"client_id":"` + out.ClientID + `",` + wish[1:] + jwks + "}"
		}
		if status, _, rec := knockFrom(t, w, "198.51.100.1", "PUT", path, out.Token, update(encryptingSet(t))); status != 200 {
			t.Errorf("another key: %d %s", status, rec.Body)
		}
		without := `{"client_id":"` + out.ClientID + `","redirect_uris":["https://a.example.org/cb"],"id_token_encrypted_response_alg":"ECDH-ES"}`
		if status, refused, rec := knockFrom(t, w, "198.51.100.1", "PUT", path, out.Token, without); status != 400 || refused.Error != "invalid_client_metadata" {
			t.Errorf("without a key: %d %s", status, rec.Body)
		}
	})
}

func TestBadRegistrations(t *testing.T) {
	openTo(t, func(t *testing.T, w *world) {
		w.app("kio")
		host := 0
		uris := make([]string, 51)
		for i := range uris {
			uris[i] = fmt.Sprintf(`"https://a.example.org/%d"`, i)
		}
		for name, c := range map[string]struct{ members, code string }{
			"B7.126 http":                     {`"redirect_uris":["http://a.example.org/cb"]`, "invalid_redirect_uri"},
			"B7.126 wildcard":                 {`"redirect_uris":["https://*.example.org/cb"]`, "invalid_redirect_uri"},
			"B7.126 fragment":                 {`"redirect_uris":["https://a.example.org/cb#x"]`, "invalid_redirect_uri"},
			"B7.126 many":                     {`"redirect_uris":[` + strings.Join(uris, ",") + `]`, "invalid_redirect_uri"},
			"B7.126 long":                     {`"redirect_uris":["https://a.example.org/` + strings.Repeat("a", 2048) + `"]`, "invalid_redirect_uri"},
			"B7.126 not strings":              {`"redirect_uris":[7]`, "invalid_redirect_uri"},
			"B7.126 a hole":                   {`"redirect_uris":["https://a.example.org/",null]`, "invalid_redirect_uri"},
			"B7.126 an object":                {`"redirect_uris":{"0":"https://a.example.org/"}`, "invalid_redirect_uri"},
			"B7.126 none":                     {`"client_name":"a"`, "invalid_redirect_uri"},
			"B1.11 javascript":                {`"redirect_uris":["javascript:alert(1)"]`, "invalid_redirect_uri"},
			"B1.11 JaVaScRiPt":                {`"redirect_uris":["JaVaScRiPt:alert(1)"]`, "invalid_redirect_uri"},
			"B1.11 data":                      {`"redirect_uris":["data:text/html,x"]`, "invalid_redirect_uri"},
			"B1.11 vbscript":                  {`"redirect_uris":["vbscript:x"]`, "invalid_redirect_uri"},
			"B1.11 blob":                      {`"redirect_uris":["blob:https://a.example.org/x"]`, "invalid_redirect_uri"},
			"B1.11 logo":                      {`"logo_uri":"javascript:alert(1)"`, "invalid_client_metadata"},
			"B1.11 tos":                       {`"tos_uri":"data:text/html,x"`, "invalid_client_metadata"},
			"B1.11 after logout":              {`"post_logout_redirect_uris":["javascript:alert(1)"]`, "invalid_redirect_uri"},
			"B7.122 jwks_uri":                 {`"jwks_uri":"http://169.254.169.254/"`, "invalid_client_metadata"},
			"B7.122 sector_identifier_uri":    {`"sector_identifier_uri":"https://127.0.0.1/"`, "invalid_client_metadata"},
			"B7.122 request_uris":             {`"request_uris":["https://10.0.0.1/"]`, "invalid_client_metadata"},
			"B7.122 loopback":                 {`"backchannel_logout_uri":"http://127.0.0.1/x"`, "invalid_client_metadata"},
			"B7.122 link-local":               {`"backchannel_logout_uri":"https://169.254.169.254/x"`, "invalid_client_metadata"},
			"B7.122 RFC 1918":                 {`"backchannel_logout_uri":"https://10.0.0.1/x"`, "invalid_client_metadata"},
			"B7.122 IPv4-mapped":              {`"backchannel_logout_uri":"https://[::ffff:127.0.0.1]/x"`, "invalid_client_metadata"},
			"B7.122 a number":                 {`"backchannel_logout_uri":"https://0x7f000001/x"`, "invalid_client_metadata"},
			"B7.122 decimal":                  {`"backchannel_logout_uri":"https://2130706433/x"`, "invalid_client_metadata"},
			"B7.122 octal":                    {`"backchannel_logout_uri":"https://0177.0.0.1/x"`, "invalid_client_metadata"},
			"B7.122 a name inside":            {`"backchannel_logout_uri":"https://metadata.internal/x"`, "invalid_client_metadata"},
			"B7.123 HTML":                     {`"client_name":"<b>Tool</b>"`, "invalid_client_metadata"},
			"B7.123 right to left":            {`"client_name":"Tool\u202elooT"`, "invalid_client_metadata"},
			"B7.123 zero width":               {`"client_name":"To\u200bol"`, "invalid_client_metadata"},
			"B7.123 two scripts":              {`"client_name":"Kiо"`, "invalid_client_metadata"},
			"B7.123 full width":               {`"client_name":"Ｋｉｏ"`, "invalid_client_metadata"},
			"B7.123 10 kB":                    {`"client_name":"` + strings.Repeat("a", 10<<10) + `"`, "invalid_client_metadata"},
			"B7.123 129 characters":           {`"client_name":"` + strings.Repeat("ä", 129) + `"`, "invalid_client_metadata"},
			"B7.123 an application's name":    {`"client_name":"5ales-0rders"`, "invalid_client_metadata"},
			"B7.123 our own name":             {`"client_name":"M1ntmark account"`, "invalid_client_metadata"},
			"B7.123 contacts":                 {`"contacts":["a\u202eb"]`, "invalid_client_metadata"},
			"software statement":              {`"software_statement":"e30.e30."`, "invalid_software_statement"},
			"jwks, private":                   {`"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}`, "invalid_client_metadata"},
			"jwks, empty":                     {`"jwks":{"keys":[]}`, "invalid_client_metadata"},
			"jwks, a text":                    {`"jwks":"{}"`, "invalid_client_metadata"},
			"a key needs jwks":                {`"token_endpoint_auth_method":"private_key_jwt"`, "invalid_client_metadata"},
			"unknown method":                  {`"token_endpoint_auth_method":"tls_client_auth"`, "invalid_client_metadata"},
			"alg none":                        {`"id_token_signed_response_alg":"none"`, "invalid_client_metadata"},
			"encrypted for nobody":            {`"id_token_encrypted_response_alg":"RSA-OAEP"`, "invalid_client_metadata"},
			"encrypted for another kind":      {`"userinfo_encrypted_response_alg":"RSA-OAEP","jwks":` + encryptingSet(t), "invalid_client_metadata"},
			"RSA1_5":                          {`"id_token_encrypted_response_alg":"RSA1_5"`, "invalid_client_metadata"},
			"implicit":                        {`"response_types":["token"]`, "invalid_client_metadata"},
			"application type":                {`"application_type":"robot"`, "invalid_client_metadata"},
			"a member twice":                  {`"client_name":"a","client_name":"b"`, "invalid_client_metadata"},
			"wrong type":                      {`"client_name":7`, "invalid_client_metadata"},
			"not JSON":                        {`,`, "invalid_client_metadata"},
			"frontchannel on another's pages": {`"frontchannel_logout_uri":"https://evil.test/"`, "invalid_client_metadata"},
		} {
			body := "{" + c.members + "}"
			if !strings.Contains(c.members, `"redirect_uris"`) && name != "B7.126 none" {
				body = `{"redirect_uris":["https://a.example.org/cb"],` + c.members + `}`
			}
			host++
			status, out, rec := knockFrom(t, w, fmt.Sprintf("198.51.100.%d", host), "POST", "/oauth2/register", "", body)
			if status != 400 || out.Error != c.code {
				t.Errorf("%s: %d %s", name, status, rec.Body)
			}
		}
		var n int
		w.read(func(tx db.ReadTx) error {
			return tx.QueryRow(ctx, `SELECT count(*) FROM clients WHERE application IS NULL`).Scan(&n)
		})
		if n != 0 {
			t.Errorf("%d clients were made", n)
		}
	})
}

// What registered itself and was never used is removed; what was used stays.
func TestUnusedRegistrationsExpire(t *testing.T) {
	openTo(t, func(t *testing.T, w *world) {
		used := map[string]bool{}
		w.r.ClientUsed(func(_ context.Context, _ db.ReadTx, clientID string) (bool, error) { return used[clientID], nil })
		var made []registered
		for i := range 3 {
			status, out, rec := knockFrom(t, w, fmt.Sprintf("192.0.2.%d", i), "POST", "/oauth2/register", "", plainRegistration)
			if status != 201 || out.SecretExpires == nil || *out.SecretExpires != start.Add(24*time.Hour).Unix() {
				t.Fatalf("%d %s", status, rec.Body)
			}
			made = append(made, out)
		}
		if !w.accepted(made[0].ClientID, redact.New(made[0].ClientSecret)) {
			t.Fatal("refused")
		}
		used[made[1].ClientID] = true
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{time.Hour, 3}, {30 * 24 * time.Hour, 2}, {300 * 24 * time.Hour, 2}} {
			w.clock.Advance(step.after)
			if err := w.r.Sweep(ctx); err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, m := range made {
				if _, err := w.r.Clients().Client(ctx, m.ClientID); err == nil {
					n++
				}
			}
			if n != step.want {
				t.Errorf("after %v: %d clients", step.after, n)
			}
		}
		if w.accepted(made[0].ClientID, redact.New(made[0].ClientSecret)) {
			t.Error("a secret is good after client_secret_expires_at")
		}
		var n int
		w.read(func(tx db.ReadTx) error {
			return tx.QueryRow(ctx, `SELECT count(*) FROM client_registrations`).Scan(&n)
		})
		if n != 2 {
			t.Errorf("%d registrations are left", n)
		}
	})
}
