package mithril_test

import (
	"strings"
	"testing"
)

// What a database cannot hold, or look for, is the caller's mistake and never the server's.
func TestNobodySendsWhatNoDatabaseHolds(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, path := range []string{"users?email=%00", "users?email=%ff", "clients?name=%00", "clients?name=%ff", "roles?name=%00", "roles?scope=%00", "roles?scope=%ff", "tokens?name=%00", "tokens?names=%ff",
			"tokens?value=%00", "tokens?value=abcde%00", "tokens?value=abcde%ff", "users/" + w.user + "/roles?role_name=%00", "users/" + w.user + "/roles?role_name=%ff", "apps?client_id=%00"} {
			if a := w.do("GET", "/mithril/"+path, ""); a.status >= 500 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		for path, body := range map[string]string{
			"PATCH /mithril/users/" + w.user + "/actions/block": `{"user":{"block_reason":"\u0000"}}`,
			"PATCH /mithril/users/" + w.user:                    `{"user":{"settings":{"a":"\u0000"},"email":"\u0000@x.io"}}`,
			"POST /mithril/clients":                             `{"client":{"name":"\u0000","user_id":"` + w.user + `","client_type_id":"` + w.kind + `","redirect_uri":"` + back + `?\u0000"}}`,
			"PATCH /mithril/clients/" + w.client:                `{"client":{"settings":{"a":"\u0000"},"name":"a\u0000"}}`,
			"POST /mithril/roles":                               `{"role":{"name":"\u0000","scope":"a"}}`,
			"POST /mithril/tokens":                              `{"token":{"grant_type":"password","email":"\u0000","password":"\u0000","client_id":"` + w.client + `","scope":"user:read"}}`,
			"POST /mithril/oauth/tokens":                        `{"token":{"grant_type":"authorization_code","client_id":"` + w.client + `","client_secret":"` + w.secret + `","code":"\u0000","redirect_uri":"\u0000"}}`,
		} {
			method, path, _ := strings.Cut(path, " ")
			if a := w.do(method, path, body); a.status >= 500 {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	})
}
