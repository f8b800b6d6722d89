package app_test

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/testport"
)

// patience bounds every wait for something that must happen. No test asserts that it takes long or short.
const patience = 20 * time.Second

// world is a whole server on loopback ports, as a stranger sees it: by its listeners, its log and its files.
type world struct {
	*app.App
	config app.Config
	log    *lines
	admin  *client.Client
	stop   func() error // ends the server in order, once, and answers what Run said
}

// lines is a log that a test can read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// onBoth runs f on each engine, at the same time: most of a test of the whole is waiting.
func onBoth(t *testing.T, f func(t *testing.T, engine db.Engine)) {
	t.Helper()
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			f(t, engine)
		})
	}
}

// configure makes the configuration of a new installation. What settings name, by dotted path, is set besides.
func configure(t *testing.T, url string, settings map[string]string) app.Config {
	t.Helper()
	return configureFile(t, url, "", settings)
}

// configureFile is configure with a configuration file, which alone can hold lists.
func configureFile(t *testing.T, url, file string, settings map[string]string) app.Config {
	t.Helper()
	values := map[string]string{
		"data_dir":      filepath.Join(t.TempDir(), "data"),
		"listen.public": testport.Addr(t), "listen.s3": testport.Addr(t), "listen.operations": testport.Addr(t),
		"shutdown_grace": "10s",
	}
	if !strings.HasPrefix(url, "sqlite:") { // else the default, in the data directory, like a user's
		values["database.url"] = url
	}
	for k, v := range settings {
		values[k] = v
	}
	path := filepath.Join(t.TempDir(), "mintmark.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := app.Load(app.Source{File: path, Values: values})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Keys.Also) != 2 { // beside the one of access tokens
		t.Errorf("by default, clients may have answers signed with %v as well", c.Keys.Also)
	}
	c.Keys.Also = nil // their keys are made behind a test's back, and an RSA key takes a while; see TestEveryAlgorithmSigns
	return c
}

// start starts a server with a fresh database.
func start(t *testing.T, engine db.Engine, settings map[string]string) *world {
	t.Helper()
	return startWith(t, configure(t, emptyURL(t, engine), settings))
}

// emptyURL names a new database. SQLite's is the default one, in the data directory.
func emptyURL(t *testing.T, engine db.Engine) string {
	t.Helper()
	if engine == db.SQLite {
		return "sqlite:"
	}
	return dbtest.EmptyURL(t, engine)
}

// startWith starts a server and waits until it is ready.
func startWith(t *testing.T, c app.Config) *world {
	t.Helper()
	w := &world{config: c, log: &lines{}}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	w.App, err = app.Start(ctx, c, app.Build{Version: "test"}, slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
		if t.Failed() {
			t.Logf("what the server's log warns of:\n%s", warnings(w.log.String(), 20))
		}
	})
	eventually(t, "the server is ready", func() error {
		status, body := w.readyz(t)
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	w.admin = w.client(t, func(context.Context) (string, error) { return w.adminKey(t), nil })
	return w
}

func (w *world) client(t *testing.T, token func(context.Context) (string, error)) *client.Client {
	t.Helper()
	c, err := client.New(w.config.Issuer, client.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) adminKey(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(w.config.AdminKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (w *world) readyz(t *testing.T) (status int, body string) {
	t.Helper()
	return fetch(t, "http://"+w.config.Listen.Operations+"/readyz")
}

// databaseURL is where the data is.
func (w *world) databaseURL() string { return w.config.Database.URL.Reveal() }

// warnings are the last n lines of a log that tell of trouble.
func warnings(text string, n int) string {
	var all []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`) {
			all = append(all, line)
		}
	}
	return strings.Join(all[max(0, len(all)-n):], "")
}

// fetch answers status 0 when nobody does.
func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// eventually tries until f is content.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in %s: %v", what, patience, err)
		case <-tick.C:
		}
	}
}

// must is for calls whose failure ends the test.
func must[T any](t *testing.T, what string) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return v
	}
}

// register makes team shop, the resource type with its scopes, and the application with the scope that it may use.
func (w *world) register(t *testing.T, application string) {
	t.Helper()
	ctx := t.Context()
	must[*api.Team](t, "team")(w.admin.PutTeam(ctx, "shop", api.PutTeam{Name: "Shop"}))
	must[*api.ResourceType](t, "type")(w.admin.PutResourceType(ctx, "sales_order", api.PutResourceType{Name: "sales order", TeamID: "shop", ResourceOwners: []string{"employees", "customers"}}))
	for id, byOwner := range map[string]bool{"read": true, "write": true, "read_all": false} {
		must[*api.Scope](t, "scope")(w.admin.PutScope(ctx, "sales_order", id, api.PutScope{Summary: "grants " + id, IsResourceOwnerScope: byOwner}))
	}
	w.registerApplication(t, application)
}

func (w *world) registerApplication(t *testing.T, application string) {
	t.Helper()
	ctx := t.Context()
	team, active := "shop", true
	must[*api.Application](t, "application")(w.admin.PutApplication(ctx, application, api.PutApplication{TeamID: &team, Active: &active, Name: &application}))
	must[*api.Grant](t, "grant")(w.admin.GrantScope(ctx, application, "sales_order.read_all"))
}

// bucket makes the bucket of the embedded store and adds it to the application.
func (w *world) bucket(t *testing.T, application, bucket string) {
	t.Helper()
	must[*api.Bucket](t, "bucket")(w.admin.PutBucket(t.Context(), bucket, api.PutBucket{TeamID: "shop"}))
	must[*api.Destination](t, "destination")(w.admin.AddDestination(t.Context(), application, "local", bucket))
}

// objects reads an application's two files from the S3 listener, with the key that was issued for it.
type objects struct {
	s3          *s3.Client
	bucket, app string
}

func (w *world) storage(t *testing.T, application, bucket string) (objects, *api.IssuedStorageKey) {
	t.Helper()
	key := must[*api.IssuedStorageKey](t, "storage key")(w.admin.IssueStorageKey(t.Context(), application, api.IssueStorageKey{Bucket: bucket}))
	return objects{bucket: bucket, app: application, s3: s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.config.Listen.S3), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key.ID, key.SecretAccessKey, ""),
	})}, key
}

func (o objects) get(ctx context.Context, name string) ([]byte, error) {
	out, err := o.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.bucket, Key: aws.String(o.app + "/" + name)})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// read answers the credentials that the bucket shows. Each document must have exactly the members that it is known for.
func (o objects) read(ctx context.Context) (c client.Credentials, err error) {
	for name, into := range map[string]map[string]*string{
		client.UserFile:   {"application_username": &c.Username, "application_password": &c.Password},
		client.ClientFile: {"client_id": &c.ClientID, "client_secret": &c.ClientSecret},
	} {
		b, err := o.get(ctx, name)
		if err != nil {
			return c, err
		}
		var doc map[string]string
		if err := json.Unmarshal(b, &doc); err != nil {
			return c, fmt.Errorf("%s: %w", name, err)
		}
		for member, p := range into {
			if *p = doc[member]; *p == "" {
				return c, fmt.Errorf("%s lacks %s", name, member)
			}
		}
		if len(doc) != len(into) {
			return c, fmt.Errorf("%s has %d members, not %d", name, len(doc), len(into))
		}
	}
	return c, nil
}

// delivered waits until the bucket shows a pair whose halves both differ from old.
func (o objects) delivered(t *testing.T, old client.Credentials) (c client.Credentials) {
	t.Helper()
	eventually(t, "credentials of "+o.app+" are delivered", func() (err error) {
		if c, err = o.read(t.Context()); err != nil {
			return err
		}
		if c.Password == old.Password || c.ClientSecret == old.ClientSecret {
			return fmt.Errorf("the bucket still shows an old half")
		}
		return nil
	})
	return c
}

// active waits until every credential of the application has settled with its newest version active.
func (w *world) active(t *testing.T, application string, version int64) *api.Rotation {
	t.Helper()
	var r *api.Rotation
	eventually(t, fmt.Sprintf("version %d of %s is active", version, application), func() (err error) {
		if r, err = w.admin.Rotation(t.Context(), application); err != nil {
			return err
		}
		for _, c := range r.Credentials {
			if len(c.Versions) == 0 || c.Versions[0].Version < version || c.Versions[0].State != "active" {
				return fmt.Errorf("%s: %+v", c.Kind, c.Versions)
			}
		}
		if len(r.Credentials) != 2 {
			return fmt.Errorf("%d credentials", len(r.Credentials))
		}
		return nil
	})
	return r
}

// answered is an answer of the server with all that a stranger sees of it.
type answered struct {
	status int
	header http.Header
	body   []byte
}

func (a answered) document(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(a.body, &doc); err != nil {
		t.Fatalf("%d with a body that is no JSON object: %s", a.status, a.body)
	}
	return doc
}

// code is the stable name of the refusal, in whichever of the two forms it came.
func (a answered) code() string {
	var doc struct{ Code, Error string }
	if json.Unmarshal(a.body, &doc) != nil {
		return ""
	}
	return cmp.Or(doc.Code, doc.Error)
}

// seedToken asks for a token as curl -u … -d @request.json does: JSON under the content type of a form, in the spelling
// of a person.
func (w *world) seedToken(t *testing.T, realm string, c client.Credentials) answered {
	t.Helper()
	user, _ := json.Marshal(c.Username)
	password, _ := json.Marshal(c.Password)
	body := fmt.Sprintf(`{
    "grant_type": "password",
    "username": %s,
    "password": %s,
    "scope": "uid sales_order.read_all"
}
`, user, password)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.config.Issuer+"/oauth2/access_token?realm="+realm, strings.NewReader(strings.ReplaceAll(body, "\n", "")))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(c.ClientID, c.ClientSecret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "*/*")
	return do(t, req)
}

func do(t *testing.T, req *http.Request) answered {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, b}
}

// dump is every row of every table as text, by table. It is the whole of what a database holds for us.
func dump(t *testing.T, url string) map[string][]string {
	t.Helper()
	driver, source, tables := "pgx", url, `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'`
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, source, tables = "sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(10000)", `SELECT name FROM sqlite_master WHERE type = 'table'`
	}
	pool, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	out := map[string][]string{}
	for _, name := range query(t, pool, tables) {
		name = strings.TrimSpace(name)
		out[name] = query(t, pool, `SELECT * FROM "`+name+`"`)
	}
	return out
}

func query(t *testing.T, pool *sql.DB, text string) (all []string) {
	t.Helper()
	rows, err := pool.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var row strings.Builder
		for _, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			fmt.Fprintf(&row, "%v ", v)
		}
		all = append(all, row.String())
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}
