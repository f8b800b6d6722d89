//go:build faultinject

package s3api_test

import (
	"testing"

	"github.com/mintmark/mintmark/internal/failpoint"
)

// TestPutThatFailsBetweenItsSteps: whatever step fails, a reader sees the old object or the new one, whole, and nothing
// is left over.
func TestPutThatFailsBetweenItsSteps(t *testing.T) {
	for _, c := range []struct{ point, want string }{
		{"s3api.beforeRename", "old"}, // lost
		{"s3api.afterRename", "new"},  // done, and reported as failed
	} {
		h := newHouse(t)
		h.put("k", "old")
		clear := failpoint.Set(c.point, 1, func() error { return failpoint.ErrInjected })
		h.do(h.root, "PUT", "/shop-bucket/k", "new").is(t, c.point, 500, "InternalError")
		clear()
		if failpoint.Fired(c.point) == 0 {
			t.Fatalf("%s was never hit", c.point)
		}
		if a := h.do(h.root, "GET", "/shop-bucket/k", ""); a.body != c.want {
			t.Errorf("after %s the object is %q, want %q", c.point, a.body, c.want)
		}
		h.do(h.root, "PUT", "/shop-bucket/k", "newer").is(t, "the next put", 200, "")
	}
}
