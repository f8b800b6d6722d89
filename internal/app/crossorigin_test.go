package app_test

import (
	"net/http"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
)

// B7.139: the management API, the pages and what only services ask answer no script of another origin.
func TestB7_139_ManagementAnswersNoOrigin(t *testing.T) {
	w := start(t, db.SQLite, nil)
	key := "Bearer " + w.adminKey(t)
	for _, path := range []string{"/api/applications", "/api/users", "/api/openapi.json", "/account", "/login", "/device", "/oauth2/introspect", "/oauth2/tokeninfo", "/oauth2/authorize", "/oauth2/logout"} {
		for _, origin := range []string{"null", "https://localhost.evil.test", "https://evil.example", "http://localhost:3000", "http://sub." + w.config.Listen.Public, "http://" + w.config.Listen.Public} {
			for _, method := range []string{http.MethodGet, http.MethodOptions} {
				r, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.config.Listen.Public+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Origin", origin)
				r.Header.Set("Authorization", key)
				r.Header.Set("Access-Control-Request-Method", "POST")
				res, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods"} {
					if v := res.Header.Get(name); v != "" {
						t.Errorf("B7.139 %s %s from %s: %s: %s", method, path, origin, name, v)
					}
				}
			}
		}
	}
}
