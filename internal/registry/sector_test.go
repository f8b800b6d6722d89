package registry_test

import (
	"testing"

	"github.com/mintmark/mintmark/api"
)

// By naming another's host among its redirect URIs, and taking its codes elsewhere, nobody learns what that one's clients
// call people.
func TestNobodyJoinsAnothersSector(t *testing.T) {
	openTo(t, func(t *testing.T, w *world) {
		h := w.serve()
		const host = `"redirect_uris":["https://shop.example.org/cb"],"subject_type":"pairwise"`
		const both = `"redirect_uris":["https://shop.example.org/cb","https://other.example.org/cb"],"subject_type":"pairwise","sector":"shop.example.org"`
		made := decode[api.Client](t, call(h, "jane", "POST", "/api/clients", `{"team_id":"shop","name":"Shop",`+host+`}`), 200)
		decode[api.Client](t, call(h, "jane", "POST", "/api/clients", `{"team_id":"shop","name":"Shop 2",`+both+`}`), 200)
		if got := call(h, "joe", "POST", "/api/clients", `{"team_id":"other","name":"Other",`+both+`}`); got.status != 403 {
			t.Errorf("another team makes one: %d %s", got.status, got.body)
		}
		own := decode[api.Client](t, call(h, "joe", "POST", "/api/clients", `{"team_id":"other","name":"Other","redirect_uris":["https://other.example.org/cb"],"subject_type":"pairwise"}`), 200)
		if got := call(h, "joe", "PUT", "/api/clients/"+own.ClientID, `{"name":"Other",`+both+`}`); got.status != 403 {
			t.Errorf("another team changes its own: %d %s", got.status, got.body)
		}
		if got := call(h, "admin", "PUT", "/api/clients/"+own.ClientID, `{"name":"Other",`+both+`}`); got.status != 200 {
			t.Errorf("an administrator: %d %s", got.status, got.body)
		}
		if got := call(h, "joe", "PUT", "/api/clients/"+own.ClientID, `{"name":"Otherwise",`+both+`}`); got.status != 200 {
			t.Errorf("the team keeps what was given: %d %s", got.status, got.body)
		}
		token := w.initial(t, `{"label":"x","team_id":"other","max_uses":2}`).Token
		status, out, _ := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", token, `{"client_name":"Tool","redirect_uris":["https://shop.example.org/cb","http://localhost/cb"],"subject_type":"pairwise"}`)
		if status != 400 || out.Error != "invalid_client_metadata" {
			t.Errorf("by registration with a token: %d %+v", status, out)
		}
		// A stranger's client is in no sector but its own, whatever it says.
		status, out, _ = knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", "", `{"client_name":"Tool","redirect_uris":["https://shop.example.org/cb","http://localhost/cb"],"subject_type":"pairwise"}`)
		if status != 201 {
			t.Fatalf("a stranger: %d %+v", status, out)
		}
		theirs, err1 := w.r.Clients().Client(ctx, out.ClientID)
		shop, err2 := w.r.Clients().Client(ctx, made.ClientID)
		if err1 != nil || err2 != nil || theirs.Metadata.Sector == shop.Metadata.Sector || theirs.Metadata.Sector == "" {
			t.Errorf("a stranger is in sector %q, %v %v", theirs.Metadata.Sector, err1, err2)
		}
	})
}

// B7.123: a stranger's client passes for no client that stands alone either.
func TestB7_123_NamesOfClientsThatStandAlone(t *testing.T) {
	openTo(t, func(t *testing.T, w *world) {
		decode[api.Client](t, call(w.serve(), "jane", "POST", "/api/clients", `{"team_id":"shop","name":"Payroll","redirect_uris":["https://pay.example.org/cb"]}`), 200)
		if status, out, _ := knockFrom(t, w, "192.0.2.1", "POST", "/oauth2/register", "", `{"client_name":"PayroII","redirect_uris":["https://evil.example/cb"]}`); status != 400 {
			t.Errorf("%d %+v", status, out)
		}
	})
}
