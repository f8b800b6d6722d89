package rotation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/rotation"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	t0     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	policy = lifecycle.Policy{Period: 2 * time.Hour, Grace: 30 * time.Minute, MaxOverlap: 24 * time.Hour, MaxLive: 4}
	system = access.SystemCaller("test")
)

// world is a mint with a clock that stands still, a store that can be broken, and credentials that can be tried. Jobs are
// claimed and run by the test itself.
type world struct {
	t       testing.TB
	d       *db.DB
	clock   *clock.Fake
	keyring *seal.Keyring
	memory  *objstore.Memory
	kinds   []*testKind
	timeout time.Duration // of a put
}

func newWorld(t testing.TB, engine db.Engine) *world {
	t.Helper()
	c := clock.NewFake(t0)
	return newWorldOn(t, dbtest.Open(t, engine, c), c)
}

func newWorldOn(t testing.TB, d *db.DB, c *clock.Fake) *world {
	t.Helper()
	w := &world{t: t, clock: c, d: d, memory: objstore.NewMemory("alpha", "beta", "gamma", "delta"), timeout: 10 * time.Second}
	w.keyring = sealtest.New(t, w.d)
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		for _, q := range []string{
			`CREATE TABLE test_secrets (kind TEXT NOT NULL, app TEXT NOT NULL, version BIGINT NOT NULL, secret TEXT NOT NULL,
				accepted BOOLEAN NOT NULL, activated BOOLEAN NOT NULL, last_used BIGINT NOT NULL, PRIMARY KEY (kind, app, version))`,
			`CREATE TABLE test_claims (key TEXT PRIMARY KEY, epoch BIGINT NOT NULL)`,
			`CREATE TABLE test_applications (id TEXT PRIMARY KEY, active BOOLEAN NOT NULL)`,
		} {
			if _, err := tx.Exec(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
	w.kinds = []*testKind{{name: "service-password", object: "user.json"}, {name: "client-secret", object: "client.json"}}
	return w
}

// engines runs f in a fresh world on each engine.
func engines(t *testing.T, f func(t *testing.T, w *world)) {
	for _, e := range dbtest.Engines(t) {
		t.Run(string(e), func(t *testing.T) { f(t, newWorld(t, e)) })
	}
}

func (w *world) write(f func(ctx context.Context, tx db.WriteTx) error) {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	if err := w.d.Write(ctx, func(tx db.WriteTx) error { return f(ctx, tx) }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(f func(ctx context.Context, tx db.ReadTx) error) {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	if err := w.d.Read(ctx, func(tx db.ReadTx) error { return f(ctx, tx) }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) options() rotation.Options {
	kinds := make([]rotation.Kind, len(w.kinds))
	policies := map[string]lifecycle.Policy{}
	for i, k := range w.kinds {
		kinds[i] = k
		policies[k.name] = policy
	}
	return rotation.Options{Kinds: kinds, Applications: applications{}, Stores: w, Policies: policies, Clock: w.clock, CallTimeout: w.timeout}
}

// node is a server process that has just started.
func (w *world) node() *rotation.Service {
	w.t.Helper()
	s, err := rotation.New(w.d, w.keyring, w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	s.HoldBy(held)
	if err := s.Start(context.WithoutCancel(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// Open and Names make the world a rotation.Stores of one memory store.
func (w *world) Open(name string) (objstore.Store, error) {
	if name != "local" {
		return nil, fmt.Errorf("no store %s", name)
	}
	return w.memory, nil
}

func (*world) Names() []string { return []string{"local", "aws"} }

// application registers an active application with destinations in the memory store.
func (w *world) application(s *rotation.Service, app string, buckets ...string) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO test_applications (id, active) VALUES ($1, TRUE)`, app); err != nil {
			return err
		}
		if err := s.Plan(ctx, tx, app); err != nil {
			return err
		}
		for _, b := range buckets {
			if created, err := s.AddDestination(ctx, tx, system, app, rotation.Destination{Store: "local", Bucket: b}); err != nil || !created {
				return fmt.Errorf("add destination %s: created %v: %w", b, created, err)
			}
		}
		return nil
	})
}

func (w *world) activate(s *rotation.Service, app string, active bool) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		if _, err := tx.Exec(ctx, `UPDATE test_applications SET active = $2 WHERE id = $1`, app, active); err != nil {
			return err
		}
		if active {
			return s.Plan(ctx, tx, app)
		}
		return s.Deactivate(ctx, tx, app)
	})
}

// claim gives the caller the credential's job; whoever had it has lost it.
func (w *world) claim(app, kind string) jobs.Job {
	w.t.Helper()
	j := jobs.Job{Kind: rotation.JobKind, Key: app + "/" + kind}
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := tx.Exec(ctx, `INSERT INTO test_claims (key, epoch) VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET epoch = test_claims.epoch + 1`, j.Key)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, `SELECT epoch FROM test_claims WHERE key = $1`, j.Key).Scan(&j.Epoch)
	})
	return j
}

func held(ctx context.Context, tx db.WriteTx, j jobs.Job) error {
	var epoch int64
	if err := tx.QueryRow(ctx, `SELECT epoch FROM test_claims WHERE key = $1`, j.Key).Scan(&epoch); err != nil {
		return err
	}
	if epoch != j.Epoch {
		return jobs.ErrLost
	}
	return nil
}

// run claims the credential's job and runs it once.
func (w *world) run(s *rotation.Service, app, kind string) (jobs.Result, error) {
	w.t.Helper()
	return s.Rotate(w.t.Context(), w.claim(app, kind))
}

// mustRun runs every kind's job once.
func (w *world) mustRun(s *rotation.Service, app string) {
	w.t.Helper()
	for _, k := range w.kinds {
		if _, err := w.run(s, app, k.name); err != nil {
			w.t.Fatal(err)
		}
	}
}

// recover runs a job, and again when it says so, until it has nothing to do for at least half a minute.
func (w *world) recover(s *rotation.Service, app, kind string) {
	w.t.Helper()
	for range 20 {
		r, err := w.run(s, app, kind)
		if err != nil {
			w.clock.Advance(time.Second)
			continue
		}
		if r.Next.Sub(w.clock.Now()) > 30*time.Second {
			return
		}
		w.clock.Set(r.Next)
	}
	w.t.Fatalf("%s/%s does not come to rest: %+v", app, kind, w.status(s, app))
}

func (w *world) status(s *rotation.Service, app string) (r *api.Rotation) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx db.ReadTx) (err error) {
		r, err = s.Status(ctx, tx, system, app)
		return err
	})
	return r
}

// states is the versions of a kind as text, newest first, such as "2 active, 1 retiring".
func (w *world) states(s *rotation.Service, app, kind string) string {
	w.t.Helper()
	var all []string
	for _, v := range w.credential(s, app, kind).Versions {
		all = append(all, fmt.Sprintf("%d %s", v.Version, v.State))
	}
	return strings.Join(all, ", ")
}

func (w *world) credential(s *rotation.Service, app, kind string) api.RotatingCredential {
	w.t.Helper()
	for _, c := range w.status(s, app).Credentials {
		if c.Kind == kind {
			return c
		}
	}
	w.t.Fatalf("%s has no %s", app, kind)
	return api.RotatingCredential{}
}

func (w *world) expect(s *rotation.Service, app, kind, want string) {
	w.t.Helper()
	if got := w.states(s, app, kind); got != want {
		w.t.Fatalf("%s/%s is %q, want %q\n%+v", app, kind, got, want, w.credential(s, app, kind))
	}
}

// document is what user.json or client.json holds in this world.
type document struct {
	App     string `json:"app"`
	Version int64  `json:"version"`
	Secret  string `json:"secret"`
}

// published is the object of a kind in a bucket; false without one.
func (w *world) published(bucket, app string, k *testKind) (doc document, ok bool) {
	w.t.Helper()
	all := w.memory.Versions(bucket, app+"/"+k.object)
	if len(all) == 0 {
		return doc, false
	}
	if err := json.Unmarshal(all[len(all)-1].Body, &doc); err != nil {
		w.t.Fatalf("%s/%s/%s: %v", bucket, app, k.object, err)
	}
	return doc, true
}

// login tries a document as a service would, and notes the use.
func (w *world) login(k *testKind, doc document) bool {
	w.t.Helper()
	ok := false
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		n, err := tx.Exec(ctx, `UPDATE test_secrets SET last_used = $5 WHERE kind = $1 AND app = $2 AND version = $3 AND secret = $4 AND accepted`,
			k.name, doc.App, doc.Version, doc.Secret, db.Micros(tx.Now()))
		ok = n == 1
		return err
	})
	return ok
}

// accepted tries a document without noting a use.
func (w *world) accepted(k *testKind, doc document) bool {
	w.t.Helper()
	n := 0
	w.read(func(ctx context.Context, tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM test_secrets WHERE kind = $1 AND app = $2 AND version = $3 AND secret = $4 AND accepted`,
			k.name, doc.App, doc.Version, doc.Secret).Scan(&n)
	})
	return n == 1
}

// probe is the invariant: whatever lies in a bucket of the application authenticates.
func (w *world) probe(app string, buckets ...string) {
	w.t.Helper()
	for _, b := range buckets {
		for _, k := range w.kinds {
			if doc, ok := w.published(b, app, k); ok && !w.accepted(k, doc) {
				w.t.Fatalf("%s in bucket %s shows version %d, which is refused", k.object, b, doc.Version)
			}
		}
	}
}

// use logs in with what the bucket shows.
func (w *world) use(bucket, app string, k *testKind) {
	w.t.Helper()
	doc, ok := w.published(bucket, app, k)
	if !ok || !w.login(k, doc) {
		w.t.Fatalf("login with %s of bucket %s: there %v, version %d", k.object, bucket, ok, doc.Version)
	}
}

// noSealed checks that no row holds a sealed document but those of prepared versions.
func (w *world) noSealed(want int) {
	w.t.Helper()
	n := 0
	w.read(func(ctx context.Context, tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM rotation_versions WHERE sealed IS NOT NULL`).Scan(&n)
	})
	if n != want {
		w.t.Fatalf("%d sealed documents, want %d", n, want)
	}
}

// events counts the audit events of an action.
func (w *world) events(app, action string) (n int) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM audit_events WHERE target_id = $1 AND action = $2`, app, action).Scan(&n)
	})
	return n
}

// testKind is a credential in a table: its verifier is the secret itself.
type testKind struct {
	name, object string
	mu           sync.Mutex
	fail         error // what Prepare answers; owned by mu
	fixed        bool
}

func (k *testKind) Name() string   { return k.name }
func (k *testKind) Object() string { return k.object }

func (k *testKind) breakBy(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail = err
}

func (k *testKind) Fixed(context.Context, db.ReadTx, string) (bool, error) { return k.fixed, nil }

func (k *testKind) Prepare(ctx context.Context, tx db.WriteTx, app string, version int64) (redact.Secret, error) {
	k.mu.Lock()
	err := k.fail
	k.mu.Unlock()
	if err != nil {
		return redact.Secret{}, err
	}
	doc := document{app, version, seal.NewSecret("test_").Reveal()}
	body, err := json.Marshal(doc)
	if err != nil {
		return redact.Secret{}, err
	}
	n, err := tx.Exec(ctx, `INSERT INTO test_secrets (kind, app, version, secret, accepted, activated, last_used) VALUES ($1, $2, $3, $4, TRUE, FALSE, 0)`,
		k.name, app, version, doc.Secret)
	if err == nil && n != 1 {
		err = errors.New("not inserted")
	}
	return redact.FromBytes(body), err
}

func (k *testKind) Activate(ctx context.Context, tx db.WriteTx, app string, version int64) error {
	n, err := tx.Exec(ctx, `UPDATE test_secrets SET activated = TRUE WHERE kind = $1 AND app = $2 AND version = $3 AND accepted AND NOT activated`, k.name, app, version)
	if err == nil && n != 1 {
		err = fmt.Errorf("version %d is not prepared", version)
	}
	return err
}

func (k *testKind) Retire(ctx context.Context, tx db.WriteTx, app string, version int64) error {
	_, err := tx.Exec(ctx, `UPDATE test_secrets SET accepted = FALSE, secret = '' WHERE kind = $1 AND app = $2 AND version = $3`, k.name, app, version)
	return err
}

func (k *testKind) LastUsed(ctx context.Context, tx db.ReadTx, app string) (map[int64]time.Time, error) {
	rows, err := tx.Query(ctx, `SELECT version, last_used FROM test_secrets WHERE kind = $1 AND app = $2 AND last_used > 0`, k.name, app)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	used := map[int64]time.Time{}
	for rows.Next() {
		var version, at int64
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		used[version] = db.Time(at)
	}
	return used, rows.Err()
}

// applications all belong to team shop.
type applications struct{}

func (applications) Team(ctx context.Context, tx db.ReadTx, app string) (string, bool, error) {
	var active bool
	err := tx.QueryRow(ctx, `SELECT active FROM test_applications WHERE id = $1`, app).Scan(&active)
	if errors.Is(err, db.ErrNoRows) {
		return "", false, fault.New(fault.NotFound, "application_not_found", "There is no application %q.", app)
	}
	return "shop", active, err
}

// refuse makes the memory store refuse puts to these buckets; none heals it.
func (w *world) refuse(f objstore.Fault, buckets ...string) {
	w.memory.Break(func(c objstore.Call) objstore.Fault {
		if slices.Contains(buckets, c.Bucket) {
			return f
		}
		return objstore.None
	})
}

func mkdir(t testing.TB, root, bucket string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(root, bucket), 0o700); err != nil {
		t.Fatal(err)
	}
}
