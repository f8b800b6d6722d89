package app_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/db"
)

// No secret that the server has shown once, or was shown, lies anywhere else: not in its log at the most talkative
// level, not in the audit log, not in the words of a refusal, not in the metrics, and not in its database.
func TestNoSecretIsKeptInPlainText(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, map[string]string{"log.level": "debug"})
		s := &sweep{texts: map[string]string{}}
		s.secret("the administrator's access key", w.adminKey(t))
		w.register(t, "sales-orders")
		w.bucket(t, "sales-orders", "shop-mint")
		bucket, key := w.storage(t, "sales-orders", "shop-mint")
		s.secret("the secret access key", key.SecretAccessKey)

		first := bucket.delivered(t, client.Credentials{})
		w.active(t, "sales-orders", 1)
		must[*api.Rotation](t, "rotate")(w.admin.Rotate(t.Context(), "sales-orders"))
		second := bucket.delivered(t, first)
		w.active(t, "sales-orders", 2)
		for i, c := range []client.Credentials{first, second} {
			s.secret(fmt.Sprintf("password %d", i+1), c.Password)
			s.secret(fmt.Sprintf("client secret %d", i+1), c.ClientSecret)
			doc := w.seedToken(t, "services", c).document(t)
			token, _ := doc["access_token"].(string)
			s.secret(fmt.Sprintf("token %d", i+1), token)
			if _, err := w.admin.TokenInfo(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			if err := w.admin.RevokeToken(t.Context(), token, c); err != nil {
				t.Fatal(err)
			}
			s.refusals(t, w, c, token)
		}
		root, err := os.ReadFile(w.config.RootKey.File)
		if err != nil {
			t.Fatal(err)
		}
		s.secret("the root key", strings.Fields(string(root))[len(strings.Fields(string(root)))-1])

		s.collect(t, w, bucket)
		if err := w.stop(); err != nil { // so that everything is written that will be
			t.Fatal(err)
		}
		s.texts["the log"] = w.log.String()
		s.files(t, w)
		if len(s.secrets) != 9 || len(s.texts) < 20 {
			t.Fatalf("%d secrets were looked for in %d places", len(s.secrets), len(s.texts))
		}
		s.search(t)
	})
}

// sweep is what to look for and where.
type sweep struct {
	secrets []secret
	texts   map[string]string // by place
}

type secret struct {
	name  string
	forms []string // that it could be written in
}

// secret adds one to look for, with the ways in which a careless program writes bytes.
func (s *sweep) secret(name, text string) {
	forms := []string{text, url.QueryEscape(text), hex.EncodeToString([]byte(text)), base64.StdEncoding.EncodeToString([]byte(text))}
	// The random part alone: what follows the last mark of a token, or the prefix of a generated secret.
	if at := strings.LastIndexAny(text, "."); at > 0 {
		forms = append(forms, text[at+1:])
	}
	if _, rest, ok := strings.Cut(text, "_"); ok && len(rest) > 20 {
		forms = append(forms, rest)
		if raw, err := base64.RawURLEncoding.DecodeString(rest); err == nil {
			forms = append(forms, string(raw), hex.EncodeToString(raw))
		}
	}
	if len(text) < 32 {
		panic("too short to be a secret: " + name)
	}
	forms = slices.DeleteFunc(forms, func(f string) bool { return len(f) < 16 }) // chance would find them
	s.secrets = append(s.secrets, secret{name, forms})
}

// refusals puts the secrets where they do not belong and keeps what is said about that.
func (s *sweep) refusals(t *testing.T, w *world, c client.Credentials, token string) {
	t.Helper()
	admin := "Bearer " + w.adminKey(t)
	wrong := c
	wrong.Username = "somebody-else"
	crossed := client.Credentials{Username: c.Username, Password: c.ClientSecret, ClientID: c.ClientID, ClientSecret: c.Password}
	form := map[string]string{"Content-Type": asForm}
	for i, k := range []knock{
		put("", "/api/teams/x", `{"name":"x","password":"`+c.Password+`"}`, 0, ""),
		put("", "/api/teams/x", `{"name":["`+c.ClientSecret+`"]}`, 0, ""),
		put("", "/api/teams/x", `{"`+token+`"`, 0, ""),
		put("", "/api/teams/"+c.Password, `{"name":"`+token+`"}`, 0, ""),
		look("", "GET", "/api/teams?limit="+c.ClientSecret, 0, ""),
		look("", "GET", "/api/teams?cursor="+token, 0, ""),
		look("", "GET", "/"+c.Password, 0, ""),
		look("", "GET", "/oauth2/tokeninfo?access_token="+token, 0, ""), // revoked
		look("", "GET", "/oauth2/tokeninfo?access_token="+token+"x", 0, ""),
		{method: "POST", path: "/oauth2/token?client_secret=" + c.ClientSecret, body: "grant_type=client_credentials&password=%zz" + c.Password, header: form},
		{method: "POST", path: "/oauth2/token?realm=" + c.ClientSecret, body: "grant_type=password&username=" + c.Password + "&password=" + token, header: form},
		{method: "POST", path: "/oauth2/introspect", body: "token=" + token, header: form},
		{method: "GET", path: "/api/teams", header: map[string]string{"Authorization": "Bearer " + c.Password}},
		{method: "GET", path: "/api/teams", header: map[string]string{"Authorization": c.ClientSecret}},
		{method: c.Password[:30], path: "/api/teams"},
	} {
		a := w.knock(t, w.config.Issuer, admin, k)
		if a.status >= 500 || a.status < 400 {
			t.Errorf("refusal %d: %d %s", i, a.status, a.body)
		}
		s.texts[fmt.Sprintf("refusal %d of %.8s", i, c.Password)] = fmt.Sprint(a.header, string(a.body))
	}
	for name, x := range map[string]client.Credentials{"another user": wrong, "crossed": crossed} {
		a := w.seedToken(t, "services", x)
		if a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d", name, a.status)
		}
		s.texts["login refused, "+name+" "+c.Password[:8]] = fmt.Sprint(a.header, string(a.body))
	}
	for i, k := range []knock{ // the names of objects are logged; they are no place for secrets
		look("", "GET", "/shop-mint/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature="+token+"&X-Amz-Credential="+c.ClientSecret, 0, ""),
		{method: "GET", path: "/shop-mint/x", header: map[string]string{"Authorization": "Bearer " + token}},
		{method: "PUT", path: "/shop-mint/x", body: c.Password, header: map[string]string{"Authorization": basic(c)}},
	} {
		a := w.knock(t, "http://"+w.config.Listen.S3, "", k)
		if a.status < 400 || a.status >= 500 {
			t.Errorf("object store %d: %d %s", i, a.status, a.body)
		}
		s.texts[fmt.Sprintf("object store, refusal %d of %.8s", i, c.Password)] = fmt.Sprint(a.header, string(a.body))
	}
}

// collect reads everything that the server tells.
func (s *sweep) collect(t *testing.T, w *world, bucket objects) {
	t.Helper()
	for _, path := range []string{"/readyz", "/metrics", "/livez"} {
		_, s.texts[path] = fetch(t, "http://"+w.config.Listen.Operations+path)
	}
	for _, path := range []string{
		"/api/teams", "/api/applications", "/api/applications/sales-orders", "/api/applications/sales-orders/rotation", "/api/applications/sales-orders/storage-keys",
		"/api/applications/sales-orders/destinations", "/api/buckets", "/api/keys", "/api/audit/events?limit=500", "/api/audit/checkpoint", "/", "/oauth2/jwks",
	} {
		a := w.knock(t, w.config.Issuer, "Bearer "+w.adminKey(t), look("", "GET", path, 200, ""))
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		s.texts[path] = string(a.body)
	}
	if b, err := bucket.get(t.Context(), "something-else.json"); err == nil {
		t.Errorf("an object that is not there: %s", b)
	} else {
		s.texts["the object store on an object that is not there"] = err.Error()
	}
	configuration, err := json.Marshal(w.config)
	if err != nil {
		t.Fatal(err)
	}
	s.texts["the configuration"] = string(configuration)
}

// files reads the database, by its rows and by its bytes, and what else lies in the data directory. Three places are
// there to hold secrets: the root key, the file that hands the administrator his key, and the objects of the store.
func (s *sweep) files(t *testing.T, w *world) {
	t.Helper()
	for table, rows := range dump(t, w.databaseURL()) {
		s.texts["table "+table] = strings.Join(rows, "\n")
	}
	err := filepath.WalkDir(w.config.DataDir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || path == w.config.RootKey.File || path == w.config.AdminKeyFile() || strings.HasPrefix(path, filepath.Join(w.config.DataDir, "s3", "shop-mint")) {
			return err
		}
		b, err := os.ReadFile(path)
		s.texts["file "+path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *sweep) search(t *testing.T) {
	t.Helper()
	for place, text := range s.texts {
		for _, x := range s.secrets {
			for _, form := range x.forms {
				if at := strings.Index(text, form); at >= 0 {
					around := text[max(0, at-120):min(len(text), at+len(form)+40)]
					t.Errorf("%s holds %s: …%q…", place, x.name, strings.ReplaceAll(around, form, "<here>"))
				}
			}
		}
	}
}
