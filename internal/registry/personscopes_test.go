package registry_test

import (
	"strings"
	"testing"
)

// Scopes of what is said of people have names of their own, which no scope of the catalog and no common one has.
func TestPersonScopes(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.app("kio")
		for scopes, want := range map[string]int{
			`"groups","department"`: 200, `"groups","groups"`: 200, `"openid"`: 400, `"profile"`: 400, `"offline_access"`: 400, `"uid"`: 400, `"azp"`: 400,
			`"sales_order.read"`: 400, `"claim:email"`: 400, `""`: 400, `"A"`: 400, `"a b"`: 400, `"` + strings.Repeat("x", 51) + `"`: 400,
		} {
			got := call(h, "admin", "PUT", kioClient, `{"redirect_uris":["https://kio.example.org/cb"],"person_scopes":[`+scopes+`]}`)
			if got.status != want || want == 200 && !strings.Contains(got.body, `"groups"`) || strings.Count(got.body, `"groups"`) > 1 {
				t.Errorf("%s: %d %s", scopes, got.status, got.body)
			}
		}
	})
}
