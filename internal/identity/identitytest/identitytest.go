// Package identitytest sends requests to the endpoints of packages that keep people, for their tests: by an administrator,
// by somebody who is none, and by nobody.
package identitytest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// Admin is an administrator.
var Admin = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}

// Desk answers requests. Register routes with its Mux.
type Desk struct {
	*testing.T
	Mux *route.Mux
	d   *db.DB
}

// New makes a Desk on a database.
func New(t *testing.T, d *db.DB) *Desk {
	t.Helper()
	return &Desk{t, route.New(route.Options{DB: d, Authenticate: func(r *http.Request) (access.Caller, error) {
		who := Admin
		switch r.Header.Get("Authorization") {
		case "":
			return access.Caller{}, nil
		case "Bearer admin":
		default:
			who.Admin = false
		}
		return who, nil
	}}), d}
}

// Call sends a request as admin, as anybody else (who is no administrator), or as nobody (""). It answers the document, which
// into gets too unless it is nil, if the status is as wanted.
func (w *Desk) Call(want int, method, target, as, body string, into any) string {
	w.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+as)
	}
	a := httptest.NewRecorder()
	w.Mux.ServeHTTP(a, r)
	if a.Code != want {
		w.Fatalf("%s %s %s: %d, not %d\n%s", method, target, body, a.Code, want, a.Body)
	}
	if into != nil {
		if err := json.Unmarshal(a.Body.Bytes(), into); err != nil {
			w.Fatal(err)
		}
	}
	return a.Body.String()
}

// Person makes somebody without a password.
func (w *Desk) Person(dir *identity.Directory, realm, name string) (u identity.User) {
	w.Helper()
	if err := w.d.Write(w.Context(), func(tx db.WriteTx) (err error) {
		u, err = dir.CreatePerson(w.Context(), tx, Admin, identity.NewPerson{Realm: realm, Username: name}, redact.Secret{})
		return err
	}); err != nil {
		w.Fatal(err)
	}
	return u
}
