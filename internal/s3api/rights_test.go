package s3api_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/s3api"
)

func (h *house) mintKey() (k accessKey) {
	h.t.Helper()
	var err error
	k.id, k.secret, err = s3api.EnsureMintKey(context.Background(), h.d, h.keyring)
	if err != nil {
		h.t.Fatal(err)
	}
	return k
}

func (h *house) applicationKey(app, team, bucket string) (k accessKey) {
	h.t.Helper()
	h.write(func(ctx context.Context, tx db.WriteTx) error {
		key, secret, err := h.storage.CreateApplicationKey(ctx, tx, system, app, team, bucket)
		k = accessKey{key.ID, secret}
		return err
	})
	return k
}

func TestRightsMatrix(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		for _, key := range []string{"sales-orders/user.json", "sales-orders/deep/x", "sales/user.json", "sales-orders", "other/user.json"} {
			h.put(key, "there")
		}
		h.do(h.root, "PUT", "/other-bucket/sales-orders/user.json", "there").is(t, "prepare", 200, "")
		mint, app := h.mintKey(), h.applicationKey("sales-orders", "shop", "shop-bucket")
		const denied = "AccessDenied"
		for _, c := range []struct {
			method, path string
			mint, app    string // "" is success, otherwise the code
		}{
			{"GET", "/shop-bucket/sales-orders/user.json", denied, ""},
			{"HEAD", "/shop-bucket/sales-orders/user.json", "403", ""},
			{"GET", "/shop-bucket/sales-orders/deep/x", denied, ""},
			{"GET", "/shop-bucket/sales-orders/absent", denied, "NoSuchKey"},
			{"GET", "/shop-bucket/sales/user.json", denied, denied},
			{"GET", "/shop-bucket/sales/absent", denied, denied},
			{"GET", "/shop-bucket/sales-orders", denied, denied},
			{"GET", "/shop-bucket/other/user.json", denied, denied},
			{"GET", "/other-bucket/sales-orders/user.json", denied, denied},
			{"GET", "/absent-bucket/sales-orders/user.json", denied, denied},
			{"PUT", "/shop-bucket/sales-orders/user.json", "", denied},
			{"PUT", "/other-bucket/mailer/client.json", "", denied},
			{"PUT", "/shop-bucket/new/test-mint-write", "", denied},
			{"PUT", "/shop-bucket/user.json", denied, denied},
			{"PUT", "/shop-bucket//user.json", denied, denied},
			{"PUT", "/shop-bucket/sales-orders/deep/user.json", denied, denied},
			{"PUT", "/shop-bucket/sales-orders/other.json", denied, denied},
			{"PUT", "/absent-bucket/sales-orders/user.json", "NoSuchBucket", denied},
			{"DELETE", "/shop-bucket/sales-orders/user.json", denied, denied},
			{"GET", "/shop-bucket?list-type=2", denied, denied},
			{"GET", "/shop-bucket?list-type=2&prefix=sales-orders%2F", denied, denied},
			{"HEAD", "/shop-bucket", "", ""},
			{"HEAD", "/other-bucket", "", "403"},
			{"GET", "/shop-bucket?location", "", ""},
			{"GET", "/other-bucket?location", "", denied},
			{"GET", "/absent-bucket?location", "NoSuchBucket", denied},
		} {
			for who, want := range map[string]string{"mint": c.mint, "app": c.app} {
				k := map[string]accessKey{"mint": mint, "app": app}[who]
				a := h.do(k, c.method, c.path, map[string]string{"PUT": "body"}[c.method])
				got := ""
				if a.status >= 300 {
					if got = fmt.Sprint(a.status); c.method != "HEAD" {
						got = a.code()
					}
				}
				if got != want {
					t.Errorf("%s: %s %s: %q, want %q", who, c.method, c.path, got, want)
				}
			}
		}
		h.do(mint, "PUT", "/shop-bucket/sales-orders/user.json", "x", "If-Match", "*").is(t, "a key that may only put asks what is there", 403, denied)
	})
}

func TestMintKeyIsMadeOnce(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		one, two := h.mintKey(), h.mintKey()
		if one.id != two.id || !one.secret.Equal(two.secret) || one.secret.Empty() {
			t.Fatalf("the mint has two keys: %s and %s", one.id, two.id)
		}
		h.write(func(ctx context.Context, tx db.WriteTx) error { // an older release's rules
			_, err := tx.Exec(ctx, `UPDATE s3_keys SET rules = '[]' WHERE id = $1`, one.id)
			return err
		})
		h.mintKey()
		h.do(one, "PUT", "/shop-bucket/sales-orders/user.json", "x").is(t, "put after an upgrade", 200, "")
		if n := h.events("key_rules_changed"); n != 1 {
			t.Errorf("%d audit events for one change of rights", n)
		}
		h.write(func(ctx context.Context, tx db.WriteTx) error { // damaged: must not be replaced
			_, err := tx.Exec(ctx, `UPDATE s3_keys SET secret = $2 WHERE id = $1`, one.id, []byte("damaged"))
			return err
		})
		if id, _, err := s3api.EnsureMintKey(t.Context(), d, h.keyring); err == nil {
			t.Fatalf("a new key %s was made because the old one could not be read", id)
		}
	})
}

func TestSecretsAreSealedInTheirRow(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		one, two := h.newKey(nil), h.newKey(s3api.ApplicationRules("sales-orders", "shop-bucket"))
		var box []byte
		h.write(func(ctx context.Context, tx db.WriteTx) error {
			if err := tx.QueryRow(ctx, `SELECT secret FROM s3_keys WHERE id = $1`, one.id).Scan(&box); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `UPDATE s3_keys SET secret = $2 WHERE id = $1`, two.id, box)
			return err
		})
		if string(box) == one.secret.Reveal() {
			t.Fatal("the secret lies open")
		}
		stolen := accessKey{two.id, one.secret}
		if a := h.do(stolen, "GET", "/shop-bucket/sales-orders/x", ""); a.status != 500 || a.code() != "InternalError" {
			t.Errorf("a secret that was moved to another row opens: %d %s", a.status, a.body)
		}
	})
}

func TestDisabledAndExpiredKeys(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		h.put("sales-orders/user.json", "x")
		app := h.applicationKey("sales-orders", "shop", "shop-bucket")
		get := func(k accessKey) answer { return h.do(k, "GET", "/shop-bucket/sales-orders/user.json", "") }
		get(app).is(t, "before", 200, "")
		for range 2 {
			h.write(func(ctx context.Context, tx db.WriteTx) error { return h.storage.DisableKey(ctx, tx, system, app.id) })
		}
		get(app).is(t, "disabled", 403, "SignatureDoesNotMatch")
		var told int // when it was made, and each time it was disabled: the first time may have had an unknown outcome
		h.write(func(ctx context.Context, tx db.WriteTx) error {
			return tx.QueryRow(ctx, `SELECT count(*) FROM changes WHERE item = $1`, app.id).Scan(&told)
		})
		if told != 3 {
			t.Errorf("the nodes were told %d times, want 3", told)
		}

		var k accessKey
		h.write(func(ctx context.Context, tx db.WriteTx) (err error) {
			k.id, k.secret, err = h.storage.CreateKey(ctx, tx, system, s3api.Key{Owner: "test", Rules: s3api.ApplicationRules("sales-orders", "shop-bucket"), Expires: h.clock.Now().Add(time.Hour)})
			return err
		})
		get(k).is(t, "before it expires", 200, "")
		h.clock.Advance(time.Hour)
		get(k).is(t, "expired", 403, "SignatureDoesNotMatch")

		again := h.applicationKey("sales-orders", "shop", "shop-bucket")
		get(again).is(t, "another key", 200, "")
		h.write(func(ctx context.Context, tx db.WriteTx) error {
			return s3api.DisableApplicationKeys(ctx, tx, system, "sales-orders")
		})
		get(again).is(t, "the application was set inactive", 403, "SignatureDoesNotMatch")
		if n := h.events("key_disabled"); n != 2 {
			t.Errorf("%d audit events for 2 disabled keys", n)
		}
	})
}

func (h *house) events(reason string) (n int) {
	h.t.Helper()
	h.write(func(ctx context.Context, tx db.WriteTx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM audit_events WHERE reason = $1 AND outcome = 'success'`, reason).Scan(&n)
	})
	return n
}

func TestWhoMayIssueKeys(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		shop := access.Caller{Kind: access.Person, Realm: "employees", ID: "usr_1", Name: "alice", Teams: []string{"shop"}}
		other := access.Caller{Kind: access.Person, Realm: "employees", ID: "usr_2", Name: "bob", Teams: []string{"other"}}
		admin := access.Caller{Kind: access.Person, Realm: "employees", ID: "usr_3", Name: "root", Admin: true}
		for _, c := range []struct {
			who               access.Caller
			app, team, bucket string
			want              fault.Kind
			ok                bool
		}{
			{shop, "sales-orders", "shop", "shop-bucket", 0, true},
			{admin, "sales-orders", "shop", "shop-bucket", 0, true},
			{admin, "sales-orders", "shop", "other-bucket", 0, true},
			{shop, "sales-orders", "shop", "other-bucket", fault.Forbidden, false},
			{other, "sales-orders", "shop", "shop-bucket", fault.Forbidden, false},
			{access.Caller{}, "sales-orders", "shop", "shop-bucket", fault.Unauthenticated, false},
			{shop, "sales-orders", "shop", "absent-bucket", fault.NotFound, false},
			{shop, "../x", "shop", "shop-bucket", fault.Invalid, false},
			{shop, "", "shop", "shop-bucket", fault.Invalid, false},
		} {
			err := d.Write(t.Context(), func(tx db.WriteTx) error {
				_, _, err := h.storage.CreateApplicationKey(t.Context(), tx, c.who, c.app, c.team, c.bucket)
				return err
			})
			if c.ok != (err == nil) || err != nil && fault.Of(err).Kind != c.want {
				t.Errorf("%s, %s, %s: %v", c.who.Name, c.app, c.bucket, err)
			}
		}
		app := h.applicationKey("sales-orders", "shop", "shop-bucket")
		for _, c := range []struct {
			who  access.Caller
			id   string
			want fault.Kind
		}{
			{other, app.id, fault.Forbidden}, {other, "MMAAAAAAAAAAAAAAAAAA", fault.Forbidden}, {admin, "MMAAAAAAAAAAAAAAAAAA", fault.NotFound}, {shop, h.mintKey().id, fault.Forbidden},
		} {
			err := d.Write(t.Context(), func(tx db.WriteTx) error { return h.storage.DisableKey(t.Context(), tx, c.who, c.id) })
			if !fault.Is(err, c.want) {
				t.Errorf("%s disables %s: %v", c.who.Name, c.id, err)
			}
		}
		if err := d.Write(t.Context(), func(tx db.WriteTx) error { return h.storage.DisableKey(t.Context(), tx, shop, app.id) }); err != nil {
			t.Error(err)
		}
		for range 30 {
			err := d.Write(t.Context(), func(tx db.WriteTx) error {
				_, _, err := h.storage.CreateApplicationKey(t.Context(), tx, shop, "sales", "shop", "shop-bucket")
				return err
			})
			if fault.Code(err) == "too_many_keys" {
				return
			}
		}
		t.Error("an application may have any number of keys")
	})
}

func TestBucketRecords(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		create := func(c access.Caller, name, team string) error {
			return d.Write(t.Context(), func(tx db.WriteTx) error {
				_, err := h.storage.CreateBucket(t.Context(), tx, c, s3api.Bucket{Name: name, Team: team})
				return err
			})
		}
		if err := create(system, "shop-bucket", "shop"); err != nil {
			t.Errorf("again: %v", err)
		}
		if err := create(system, "shop-bucket", "other"); fault.Code(err) != "bucket_exists" {
			t.Errorf("another team: %v", err)
		}
		if err := create(system, "new-bucket", "nobody"); fault.Code(err) != "team_not_found" {
			t.Errorf("unknown team: %v", err)
		}
		if err := create(access.Caller{Kind: access.Person, Realm: "employees", Teams: []string{"shop"}}, "new-bucket", "shop"); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a team member makes a bucket: %v", err)
		}
		for _, name := range []string{"", "ab", "Upper", "a..b", "-abc", "abc-", ".abc", "10.0.0.1", "1.2", "a/b", "a_b", "ünder", "a b", "tmp\x00"} {
			if err := create(system, name, "shop"); fault.Code(err) != "invalid_bucket_name" {
				t.Errorf("%q: %v", name, err)
			}
		}
		if n := h.events("bucket_created"); n != 2 {
			t.Errorf("%d audit events for 2 buckets", n)
		}
	})
}

func TestLastUseIsWrittenInBatches(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		app := h.applicationKey("sales-orders", "shop", "shop-bucket")
		read := func() (k s3api.Key) {
			err := d.Read(t.Context(), func(tx db.ReadTx) error {
				keys, err := h.storage.ApplicationKeys(t.Context(), tx, system, "sales-orders", "shop")
				if err == nil {
					k = keys[0]
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		if !read().LastUsed.IsZero() {
			t.Error("a key that was never used has been used")
		}
		for range 3 {
			h.clock.Advance(time.Second)
			h.do(app, "GET", "/shop-bucket/sales-orders/x", "").is(t, "use", 404, "NoSuchKey")
		}
		used := h.clock.Now()
		h.clock.Advance(time.Second)
		wrong := accessKey{app.id, h.root.secret}
		h.do(wrong, "GET", "/shop-bucket/sales-orders/x", "").is(t, "a wrong secret is no use", 403, "")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.server.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := read().LastUsed; !got.Equal(used) {
			t.Errorf("last used %v, want %v", got, used)
		}
	})
}
