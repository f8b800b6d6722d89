package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/outbound"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// network is what lies at other addresses. It judges these like the real one.
type network struct {
	*outbound.Client
	d *db.DB

	mu    sync.Mutex
	pages map[string]string // body by address
	asked []string
}

func (n *network) Do(ctx context.Context, r outbound.Request) (outbound.Answer, error) {
	// A transaction that waits for the network keeps everybody waiting: on SQLite there is one writer.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := n.d.Write(ctx, func(tx db.WriteTx) error { return nil }); err != nil {
		return outbound.Answer{}, errors.Join(errors.New("a transaction is open"), err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, r.URL)
	body, ok := n.pages[r.URL]
	if !ok {
		return outbound.Answer{}, errors.New("nobody answers")
	}
	if status, found := strings.CutPrefix(body, "status "); found {
		return outbound.Answer{Status: int(status[0]-'0') * 100, Body: []byte(`["https://a.example.org/cb"]`)}, nil
	}
	return outbound.Answer{Status: 200, Body: []byte(body)}, nil
}

func (n *network) put(address, body string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pages[address] = body
}

func (n *network) calls() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.asked)
}

// online is a world whose registry can call others, and that strangers can register with.
func online(t *testing.T, f func(t *testing.T, w *world, n *network)) {
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
			n := &network{Client: outbound.New(outbound.Options{}), d: d, pages: map[string]string{}}
			if w.r, err = registry.New(d, k, dir, registry.Options{Clock: c, Outbound: n, Registration: registry.RegistrationOptions{Issuer: "https://id.example.org", Anonymous: true}}); err != nil {
				t.Fatal(err)
			}
			f(t, w, n)
		})
	}
}

// A client keeps its keys in one place: here, or at an address of its own (RFC 7591 section 2).
func TestKeysElsewhere(t *testing.T) {
	online(t, func(t *testing.T, w *world, n *network) {
		h := w.serve()
		const elsewhere = `"jwks_uri":"https://keys.example.org/jwks","token_endpoint_auth_method":"private_key_jwt"`
		const body = `{"team_id":"shop","name":"Tool","confidential":true,"redirect_uris":["https://a.example.org/cb"],` + elsewhere + `}`
		made := decode[api.Client](t, call(h, "jane", "POST", "/api/clients", body), 200)
		c, err := w.r.Clients().Client(ctx, made.ClientID)
		if err != nil || c.Metadata.JWKSURI != "https://keys.example.org/jwks" || made.JWKSURI != c.Metadata.JWKSURI || made.Secret != "" || n.calls() != 0 {
			t.Errorf("made: %+v %v, %d calls", made, err, n.calls())
		}
		keyBody := `{"label":"here","jwk":` + keyOf(t, encryptingSet(t)) + `}`
		keys := "/api/clients/" + made.ClientID + "/keys"
		if got := call(h, "jane", "POST", keys, keyBody); got.status != 409 || !strings.Contains(got.body, "jwks_uri") {
			t.Errorf("a key here as well: %d %s", got.status, got.body)
		}
		put := func(members string) answer {
			return call(h, "jane", "PUT", "/api/clients/"+made.ClientID, `{"name":"Tool","redirect_uris":["https://a.example.org/cb"]`+members+`}`)
		}
		if got := put(`,"id_token_encrypted_response_alg":"ECDH-ES",` + elsewhere); got.status != 200 {
			t.Errorf("encrypted for a key that lies elsewhere: %d %s", got.status, got.body)
		}
		if got := put(`,"id_token_encrypted_response_alg":"ECDH-ES"`); got.status != 400 {
			t.Errorf("encrypted for no key: %d %s", got.status, got.body)
		}
		if got := put(""); got.status != 200 {
			t.Errorf("taken away: %d %s", got.status, got.body)
		}
		if got := call(h, "jane", "POST", keys, keyBody); got.status != 200 {
			t.Errorf("a key here instead: %d %s", got.status, got.body)
		}
		if got := put("," + elsewhere); got.status != 400 || !strings.Contains(got.body, "body.jwks_uri") {
			t.Errorf("elsewhere as well: %d %s", got.status, got.body)
		}
		w.app("kio")
		if got := call(h, "jane", "PUT", kioClient, `{"redirect_uris":["https://kio.example.org/cb"],`+elsewhere+`}`); got.status != 200 {
			t.Errorf("an application's client: %d %s", got.status, got.body)
		}
	})
}

func keyOf(t *testing.T, set string) string {
	t.Helper()
	var keys struct{ Keys []json.RawMessage }
	if err := json.Unmarshal([]byte(set), &keys); err != nil {
		t.Fatal(err)
	}
	return string(keys.Keys[0])
}

// Clients that register themselves keep their keys elsewhere too, and stay once they have used them.
func TestRegisteredKeysElsewhere(t *testing.T) {
	online(t, func(t *testing.T, w *world, n *network) {
		const rest = `"redirect_uris":["https://a.example.org/cb"],"token_endpoint_auth_method":"private_key_jwt"`
		const address = `"jwks_uri":"https://keys.example.org/jwks"`
		status, out, rec := knockFrom(t, w, "198.51.100.1", "POST", "/oauth2/register", "", `{`+rest+`,`+address+`}`)
		if status != 201 || out.ClientSecret != "" || !strings.Contains(rec.Body.String(), address) || out.JWKS != nil {
			t.Fatalf("%d %s", status, rec.Body)
		}
		for name, members := range map[string]string{
			"both":    `,` + address + `,"jwks":` + encryptingSet(t),
			"neither": "",
		} {
			if status, out, rec := knockFrom(t, w, "198.51.100.2", "POST", "/oauth2/register", "", `{`+rest+members+`}`); status != 400 || out.Error != "invalid_client_metadata" {
				t.Errorf("%s: %d %s", name, status, rec.Body)
			}
		}
		path := "/oauth2/register/" + out.ClientID
		for name, members := range map[string]string{"to here": `,"jwks":` + encryptingSet(t), "and back": `,` + address} {
			if status, _, rec := knockFrom(t, w, "198.51.100.1", "PUT", path, out.Token, `{"client_id":"`+out.ClientID+`",`+rest+members+`}`); status != 200 {
				t.Errorf("%s: %d %s", name, status, rec.Body)
			}
		}
		if n.calls() != 0 {
			t.Errorf("to register an address calls it: %v", n.asked)
		}
		// It has used a key that has no row here.
		w.r.Clients().NoteUse(out.ClientID)
		w.clock.Advance(31 * 24 * time.Hour)
		if err := w.r.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := w.r.Clients().Client(ctx, out.ClientID); err != nil {
			t.Errorf("a client that was used is gone: %v", err)
		}
	})
}

// B7.122: what leads inside is refused when it is registered, whoever does.
func TestB7_122_AddressesOfKeysAndSectors(t *testing.T) {
	online(t, func(t *testing.T, w *world, n *network) {
		h := w.serve()
		token := w.initial(t, `{"label":"x","team_id":"shop","max_uses":100}`).Token
		for _, address := range []string{
			"http://a.example.org/", "https://127.0.0.1/", "https://169.254.169.254/latest/", "https://[::1]/", "https://2130706433/", "https://a.example.org:22/",
			"https://user@a.example.org/", "https://a.example.org/#x", "file:///etc/passwd", "javascript:alert(1)", "//a.example.org/", "a", "https://" + strings.Repeat("a", 1000) + ".example.org/",
		} {
			for _, member := range []string{"jwks_uri", "sector_identifier_uri"} {
				body := `{"name":"Tool","team_id":"shop","redirect_uris":["https://a.example.org/cb"],"` + member + `":"` + address + `"}`
				if got := call(h, "jane", "POST", "/api/clients", body); got.status != 400 && got.status != 422 || !strings.Contains(got.body, member) {
					t.Errorf("%s %s: %d %s", member, address, got.status, got.body)
				}
				for _, as := range []string{token, ""} {
					from := "198.51.100.9"
					if status, out, rec := knockFrom(t, w, from, "POST", "/oauth2/register", as, `{"redirect_uris":["https://a.example.org/cb"],"`+member+`":"`+address+`"}`); status != 400 || out.Error != "invalid_client_metadata" {
						t.Errorf("%s %s by %q: %d %s", member, address, as, status, rec.Body)
					}
				}
			}
		}
		if n.calls() != 0 {
			t.Errorf("called: %v", n.asked)
		}
	})
}

// The host of a sector identifier URI is the sector, if the list there holds all redirect URIs (OpenID Connect Core section
// 8.1, Registration section 5).
func TestSectorIdentifier(t *testing.T) {
	online(t, func(t *testing.T, w *world, n *network) {
		h := w.serve()
		const address = "https://group.example.org/sector.json"
		n.put(address, `["https://a.example.org/cb","https://b.example.org/cb"]`)
		both := `"redirect_uris":["https://a.example.org/cb","https://b.example.org/cb"],"subject_type":"pairwise","sector_identifier_uri":"` + address + `"`
		made := decode[api.Client](t, call(h, "jane", "POST", "/api/clients", `{"team_id":"shop","name":"Shop",`+both+`}`), 200)
		if made.Sector != "group.example.org" || made.SectorURI != address || n.calls() != 1 {
			t.Fatalf("made: %+v after %d calls", made, n.calls())
		}
		change := func(members string) answer {
			return call(h, "jane", "PUT", "/api/clients/"+made.ClientID, `{`+members+`}`)
		}
		if got := change(`"name":"Shop 2","sector":"group.example.org",` + both); got.status != 200 || n.calls() != 1 {
			t.Errorf("nothing of it changed: %d %s, %d calls", got.status, got.body, n.calls())
		}
		if got := change(`"name":"Shop","redirect_uris":["https://a.example.org/cb"],"subject_type":"pairwise","sector_identifier_uri":"` + address + `"`); got.status != 200 || n.calls() != 1 {
			t.Errorf("one less: %d %s, %d calls", got.status, got.body, n.calls())
		}
		if got := change(`"name":"Shop",` + strings.Replace(both, "b.example.org", "c.example.org", 1)); got.status != 400 || !strings.Contains(got.body, "https://c.example.org/cb") || n.calls() != 2 {
			t.Errorf("one that is not listed: %d %s, %d calls", got.status, got.body, n.calls())
		}
		if got := change(`"name":"Shop","sector":"a.example.org",` + both); got.status != 400 {
			t.Errorf("another sector than it shows: %d %s", got.status, got.body)
		}
		calls := n.calls()
		if got := call(h, "joe", "PUT", "/api/clients/"+made.ClientID, `{"name":"Mine",`+both+`}`); got.status != 403 || n.calls() != calls {
			t.Errorf("who may not change it has nothing fetched: %d, %d calls", got.status, n.calls()-calls)
		}
		n.put(address, `["https://a.example.org/cb","https://b.example.org/cb","https://c.example.org/cb"]`)
		// The very list by which the others are in the sector proves that another team's client belongs there; another file
		// on that host does not, nor is it enough for what goes to a device.
		n.put(address+"2", `["https://b.example.org/cb","https://c.example.org/cb"]`)
		third := `"redirect_uris":["https://c.example.org/cb"],"subject_type":"pairwise","sector_identifier_uri":"` + address
		const device = `,"grant_types":["authorization_code","urn:ietf:params:oauth:grant-type:device_code"]`
		for name, members := range map[string]string{"another list": third + `2"`, "a device": third + `"` + device, "no list": `"redirect_uris":["https://group.example.org/cb"],"subject_type":"pairwise"`} {
			if got := call(h, "joe", "POST", "/api/clients", `{"team_id":"other","name":"Other",`+members+`}`); got.status != 403 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
		other := decode[api.Client](t, call(h, "joe", "POST", "/api/clients", `{"team_id":"other","name":"Other",`+third+`"}`), 200)
		for name, members := range map[string]string{
			"another list": third + `2"`, "a device": third + `"` + device,
			"no list": `"redirect_uris":["https://group.example.org/cb","https://evil.example/cb"],"subject_type":"pairwise","sector":"group.example.org"`,
		} {
			if got := call(h, "joe", "PUT", "/api/clients/"+other.ClientID, `{"name":"Other",`+members+`}`); got.status != 403 {
				t.Errorf("%s afterwards: %d %s", name, got.status, got.body)
			}
		}
		one, err1 := w.r.Clients().Client(ctx, made.ClientID)
		two, err2 := w.r.Clients().Client(ctx, other.ClientID)
		if err1 != nil || err2 != nil || one.Metadata.Sector != two.Metadata.Sector {
			t.Errorf("sectors %q and %q: %v %v", one.Metadata.Sector, two.Metadata.Sector, err1, err2)
		}
	})
}

// A list that is none, and one that nobody sends, are one refusal; and the token of a registration is not used up by it.
func TestSectorListsThatAreNone(t *testing.T) {
	online(t, func(t *testing.T, w *world, n *network) {
		token := w.initial(t, `{"label":"x","team_id":"shop","max_uses":1}`).Token
		const address = "https://group.example.org/sector"
		const body = `{"redirect_uris":["https://a.example.org/cb"],"subject_type":"pairwise","sector_identifier_uri":"` + address + `"}`
		for name, page := range map[string]string{
			"no JSON": "<html>", "an object": `{"https://a.example.org/cb":1}`, "no texts": `[1]`, "null": `null`, "more behind": `["https://a.example.org/cb"] []`, "status 4": "status 4", "status 2xx": "",
			"nobody": "-", "another": `["https://a.example.org/cb/"]`, "none": `[]`,
		} {
			n.put(address, page)
			if page == "-" {
				delete(n.pages, address)
			}
			if status, out, rec := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", token, body); status != 400 || out.Error != "invalid_client_metadata" || !strings.Contains(out.ErrorText, "sector_identifier_uri") {
				t.Errorf("%s: %d %s", name, status, rec.Body)
			}
		}
		calls := n.calls()
		for name, as := range map[string]string{"a stranger": "", "a wrong token": "mmi_x"} {
			if status, _, rec := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", as, body); status < 400 || n.calls() != calls {
				t.Errorf("%s: %d %s, %d calls", name, status, rec.Body, n.calls()-calls)
			}
		}
		n.put(address, `["https://a.example.org/cb"]`)
		status, out, rec := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", token, body)
		if status != 201 || !strings.Contains(rec.Body.String(), `"sector_identifier_uri":"`+address+`"`) {
			t.Fatalf("%d %s", status, rec.Body)
		}
		if c, err := w.r.Clients().Client(ctx, out.ClientID); err != nil || c.Metadata.Sector != "group.example.org" {
			t.Errorf("sector %q: %v", c.Metadata.Sector, err)
		}
		update := `{"client_id":"` + out.ClientID + `","redirect_uris":["https://b.example.org/cb"],` + body[strings.Index(body, `"subject_type"`):]
		if status, out, rec := knockFrom(t, w, "192.0.2.1", "PUT", "/oauth2/register/"+out.ClientID, out.Token, update); status != 400 || out.Error != "invalid_client_metadata" {
			t.Errorf("a redirect URI that is not listed: %d %s", status, rec.Body)
		}
		n.put(address, `["https://b.example.org/cb"]`)
		if status, _, rec := knockFrom(t, w, "192.0.2.1", "PUT", "/oauth2/register/"+out.ClientID, out.Token, update); status != 200 {
			t.Errorf("listed by now: %d %s", status, rec.Body)
		}
	})
}
