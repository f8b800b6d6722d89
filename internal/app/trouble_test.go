package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/testport"
)

// A bucket that refuses is trouble of its application alone: recorded, with the destination named, and over by itself
// once the bucket takes what it is given.
func TestABucketThatRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		files, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte("canary-secret-of-the-store\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(files, "not-a-directory"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		stores := fmt.Sprintf(`stores:
- {name: files, kind: directory, path: %q}
- {name: away, kind: s3, endpoint: "http://%s", path_style: true, access_key_id: AKIDNOBODY, secret_key_file: %q}
`, files, testport.Addr(t), secret)
		w := startWith(t, configureFile(t, emptyURL(t, engine), stores, map[string]string{
			"rotation.password_period": "3s", "rotation.secret_period": "3s", "rotation.grace": "2s", "rotation.max_overlap": "10s",
		}))
		w.register(t, "sales-orders")
		w.bucket(t, "sales-orders", "shop-mint")
		for application, where := range map[string][2]string{
			"no-bucket": {"files", "missing"}, "no-directory": {"files", "not-a-directory"}, "no-answer": {"away", "elsewhere"},
		} {
			w.registerApplication(t, application)
			must[*api.Destination](t, "destination")(w.admin.AddDestination(t.Context(), application, where[0], where[1]))
		}

		w.recorded(t, "no-bucket", "files/missing", "no_bucket")
		w.recorded(t, "no-directory", "files/not-a-directory", "no_bucket")
		w.recorded(t, "no-answer", "away/elsewhere", "unavailable")
		if log := w.log.String(); strings.Contains(log, "canary-secret") {
			t.Error("the log holds the secret key of the store")
		}

		// The next application is unaffected: it rotates again and again meanwhile, and is always let in.
		bucket, _ := w.storage(t, "sales-orders", "shop-mint")
		var last client.Credentials
		for range 3 {
			last = bucket.delivered(t, last)
			if a := w.seedToken(t, "services", last); a.status != 200 {
				t.Errorf("%d %s", a.status, a.code())
			}
		}
		if r := must[*api.Rotation](t, "status")(w.admin.Rotation(t.Context(), "sales-orders")); r.HasProblems {
			t.Errorf("the application beside has problems: %v", r.Problems)
		}

		// The bucket comes; the credentials follow by themselves, and the problem is over.
		if err := os.Mkdir(filepath.Join(files, "missing"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.active(t, "no-bucket", 1)
		if c, err := client.ReadCredentials(filepath.Join(files, "missing", "no-bucket")); err != nil || c.Username != "no-bucket" {
			t.Errorf("delivered: %v", err)
		}
		eventually(t, "the problem is over", func() error {
			if r, err := w.admin.Rotation(t.Context(), "no-bucket"); err != nil || r.HasProblems {
				return fmt.Errorf("%+v, %w", r, err)
			}
			return nil
		})
		w.recorded(t, "no-answer", "away/elsewhere", "unavailable")
	})
}

// recorded waits until the application's status names the destination as the trouble, on each of its credentials.
func (w *world) recorded(t *testing.T, application, destination, code string) {
	t.Helper()
	eventually(t, "the trouble of "+application+" is recorded", func() error {
		r, err := w.admin.Rotation(t.Context(), application)
		if err != nil {
			return err
		}
		if !r.HasProblems || !strings.Contains(strings.Join(r.Problems, "\n"), destination) {
			return fmt.Errorf("problems: %q", r.Problems)
		}
		for _, c := range r.Credentials {
			if len(c.Deliveries) != 1 {
				return fmt.Errorf("%s has %d deliveries", c.Kind, len(c.Deliveries))
			}
			d := c.Deliveries[0]
			if d.Store+"/"+d.Bucket != destination || d.Code != code || d.Error == "" || d.Failures == 0 || d.Version != 0 {
				return fmt.Errorf("%s: %+v", c.Kind, d)
			}
			if len(c.Versions) != 1 || c.Versions[0].State != "prepared" {
				return fmt.Errorf("%s: %+v", c.Kind, c.Versions)
			}
		}
		return nil
	})
}
