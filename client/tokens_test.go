package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

// issuer is a token endpoint that accepts the passwords it is told to.
type issuer struct {
	mu       sync.Mutex
	accepts  map[string]bool
	lifetime time.Duration
	down     bool
	requests int
	before   func() // runs before each answer, without the lock
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	before := i.before
	i.mu.Unlock()
	if before != nil {
		before()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests++
	if i.down {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(503)
		io.WriteString(w, `{"error":"temporarily_unavailable"}`)
		return
	}
	id, secret, _ := r.BasicAuth()
	if r.URL.Path != "/oauth2/token" || r.FormValue("realm") != "services" || r.FormValue("grant_type") != "password" || id != "shop" || secret != "s%3A%2F%25" {
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"error":"invalid_request","error_description":"%s %s"}`, r.URL, id)
		return
	}
	if !i.accepts[r.FormValue("password")] {
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_grant"}`)
		return
	}
	fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":%d,"scope":%q,"realm":"services"}`, i.requests, int(i.lifetime.Seconds()), r.FormValue("scope"))
}

func (i *issuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

func writeCredentials(t *testing.T, dir, password string) {
	t.Helper()
	for name, text := range map[string]string{
		client.UserFile:   fmt.Sprintf(`{"application_username":"shop","application_password":%q}`, password),
		client.ClientFile: `{"client_id":"shop","client_secret":"s:/%"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func source(t *testing.T, i *issuer, dir string, renewed func(error)) *client.TokenSource {
	t.Helper()
	s, err := client.NewTokenSource(client.TokenOptions{Server: "http://auth.test", Directory: dir, Scopes: []string{"uid", "sales_order.read_all"},
		HTTPClient: &http.Client{Transport: inProcess{i}}, Renewed: renewed})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func token(t *testing.T, s *client.TokenSource) client.Token {
	t.Helper()
	got, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTokenIsKeptAndRenewedEarly(t *testing.T) {
	dir := t.TempDir()
	writeCredentials(t, dir, "p1")
	for name, c := range map[string]struct{ lifetime, renewedAfter time.Duration }{
		"a fifth is left":                {time.Hour, 48 * time.Minute},
		"a minute is left":               {3 * time.Minute, 2 * time.Minute},
		"not before half the life":       {time.Minute, 30 * time.Second},
		"nor in the life of a few beats": {2 * time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{accepts: map[string]bool{"p1": true}, lifetime: c.lifetime}
				s := source(t, i, dir, nil)
				first := token(t, s)
				if first.Value != "token-1" || first.Realm != "services" || !cmp.Equal(first.Scopes, []string{"uid", "sales_order.read_all"}) {
					t.Errorf("token %q of %q with %q", first.Value, first.Realm, first.Scopes)
				}
				time.Sleep(c.renewedAfter - time.Millisecond)
				if got := token(t, s).Value; got != "token-1" || i.count() != 1 {
					t.Errorf("before: %s after %d requests", got, i.count())
				}
				time.Sleep(time.Millisecond)
				// The one who finds it due is not kept waiting.
				if got := token(t, s).Value; got != "token-1" {
					t.Errorf("when due: %s", got)
				}
				synctest.Wait()
				if got := token(t, s).Value; got != "token-2" || i.count() != 2 {
					t.Errorf("after: %s after %d requests", got, i.count())
				}
			})
		})
	}
}

func TestOneRequestForAllWhoWait(t *testing.T) {
	dir := t.TempDir()
	writeCredentials(t, dir, "p1")
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{accepts: map[string]bool{"p1": true}, lifetime: time.Hour, before: func() { time.Sleep(time.Second) }}
		s := source(t, i, dir, nil)
		// The first to ask gives up; the others still get what was asked for then.
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := s.Token(ctx); !errors.Is(err, gone) {
				t.Errorf("the one who gave up got %v", err)
			}
		})
		synctest.Wait()
		cancel(gone)
		for range 20 {
			all.Go(func() {
				if got, err := s.Token(t.Context()); err != nil || got.Value != "token-1" {
					t.Errorf("%q, %v", got.Value, err)
				}
			})
		}
		all.Wait()
		if i.count() != 1 {
			t.Errorf("%d requests", i.count())
		}
	})
}

func TestOldTokenServesWhileRenewalFails(t *testing.T) {
	dir := t.TempDir()
	writeCredentials(t, dir, "p1")
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{accepts: map[string]bool{"p1": true}, lifetime: time.Hour}
		var failures int
		s := source(t, i, dir, func(err error) {
			if err != nil {
				failures++
			}
		})
		token(t, s)
		i.set(func() { i.down = true })
		for range 59 {
			time.Sleep(time.Minute)
			if got := token(t, s).Value; got != "token-1" {
				t.Fatalf("got %s while the server was away", got)
			}
			synctest.Wait()
		}
		// Asked each millisecond for a second, it still tries only as often as the pause allows.
		before := i.count()
		for range 1000 {
			time.Sleep(time.Millisecond)
			token(t, s)
		}
		synctest.Wait()
		if n := i.count() - before; n > 1 {
			t.Errorf("%d requests in a second to a server that is away", n)
		}
		time.Sleep(time.Minute)
		var refusal *client.OAuthError
		if _, err := s.Token(t.Context()); !errors.Is(err, api.ErrUnavailable) || !errors.As(err, &refusal) || refusal.RetryAfter != 7*time.Second {
			t.Errorf("after it expired: %v", err)
		}
		if failures == 0 {
			t.Error("no failure was reported")
		}
		// No pause stands between an expired token and a server that is back.
		i.set(func() { i.down = false })
		if got := token(t, s).Value; got == "token-1" {
			t.Errorf("got the expired %s", got)
		}
	})
}

func TestRefusedPairIsReadAgain(t *testing.T) {
	t.Run("replaced meanwhile", func(t *testing.T) {
		dir := t.TempDir()
		writeCredentials(t, dir, "old")
		i := &issuer{accepts: map[string]bool{"new": true}, lifetime: time.Hour}
		i.before = func() { writeCredentials(t, dir, "new") }
		if got := token(t, source(t, i, dir, nil)).Value; got != "token-2" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("still the same", func(t *testing.T) {
		dir := t.TempDir()
		writeCredentials(t, dir, "old")
		i := &issuer{accepts: map[string]bool{"new": true}, lifetime: time.Hour}
		_, err := source(t, i, dir, nil).Token(t.Context())
		if !errors.Is(err, api.ErrUnauthenticated) || i.count() != 1 {
			t.Errorf("error %v after %d requests", err, i.count())
		}
	})
}

func TestForgottenTokenIsAskedForAnew(t *testing.T) {
	dir := t.TempDir()
	writeCredentials(t, dir, "p1")
	s := source(t, &issuer{accepts: map[string]bool{"p1": true}, lifetime: time.Hour}, dir, nil)
	first := token(t, s).Value
	s.Forget("another")
	if got := token(t, s).Value; got != first {
		t.Errorf("forgot %s for another", first)
	}
	s.Forget(first)
	if got := token(t, s).Value; got == first {
		t.Errorf("still has %s", got)
	}
}

func TestCredentialsThatAreNotThere(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"empty directory": {},
		"one file":        {client.UserFile: `{"application_username":"u","application_password":"p"}`},
		"not JSON":        {client.UserFile: `{"application_password":"canary`, client.ClientFile: `{"client_id":"c"}`},
		"wrong type":      {client.UserFile: `{"application_password":["canary"]}`, client.ClientFile: `{"client_id":"c"}`},
		"no password":     {client.UserFile: `{"application_username":"u"}`, client.ClientFile: `{"client_id":"c"}`},
		"no client id":    {client.UserFile: `{"application_username":"u","application_password":"canary"}`, client.ClientFile: `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := client.ReadCredentials(dir)
			if !errors.Is(err, client.ErrNoCredentials) || strings.Contains(err.Error(), "canary") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// While another process swaps the files by rename, a reader never gets half of one or an error.
func TestCredentialsWhileTheyAreSwapped(t *testing.T) {
	dir := t.TempDir()
	writeCredentials(t, dir, "p0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := range 300 {
			tmp := filepath.Join(dir, ".tmp")
			if err := os.WriteFile(tmp, fmt.Appendf(nil, `{"application_username":"shop","application_password":"p%d"}`, n), 0o600); err != nil {
				t.Error(err)
			}
			if err := os.Rename(tmp, filepath.Join(dir, client.UserFile)); err != nil {
				t.Error(err)
			}
		}
	}()
	for {
		c, err := client.ReadCredentials(dir)
		if err != nil || !strings.HasPrefix(c.Password, "p") || c.ClientSecret != "s:/%" {
			t.Fatalf("read %q, %v", c.Password, err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestPublicClientHasNoSecret(t *testing.T) {
	dir := t.TempDir()
	writeCredentials(t, dir, "p")
	if err := os.WriteFile(filepath.Join(dir, client.ClientFile), []byte(`{"client_id":"shop","client_secret":null}`), 0o600); err != nil {
		t.Fatal(err)
	}
	credentials, err := client.ReadCredentials(dir)
	if err != nil || credentials.ClientSecret != "" {
		t.Fatal(credentials.ClientSecret, err)
	}
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.FormValue("client_id") != "shop" {
			t.Errorf("Authorization %q, client_id %q", r.Header.Get("Authorization"), r.FormValue("client_id"))
		}
		io.WriteString(w, `{"access_token":"x","token_type":"Bearer","expires_in":60}`)
	}, client.Options{})
	if _, err := c.RequestToken(t.Context(), client.TokenRequest{Credentials: credentials}); err != nil {
		t.Error(err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	credentials := client.Credentials{Username: "u", Password: "canary", ClientID: "c", ClientSecret: "canary"}
	tok := client.Token{Value: "canary"}
	for _, v := range []any{credentials, &credentials, tok, &tok, struct{ C client.Credentials }{credentials}, []client.Token{tok}} {
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		for _, text := range []string{fmt.Sprint(v), fmt.Sprintf("%s %v %+v %#v %q %x", v, v, v, v, v, v), string(b), log.String()} {
			if strings.Contains(text, "canary") || strings.Contains(text, fmt.Sprintf("%x", "canary")) {
				t.Errorf("%T prints its secret: %s", v, text)
			}
		}
	}
}

func TestTokenAnswersThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"empty object": {200, `{}`},
		"no lifetime":  {200, `{"access_token":"canary"}`},
		"wrong type":   {200, `{"access_token":["canary"]}`},
		"not JSON":     {200, `canary`},
		"not ours":     {500, `canary`},
		"no code":      {400, `{"error_description":"canary"}`},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}, client.Options{})
			if _, err := cl.RequestToken(t.Context(), client.TokenRequest{}); err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestOAuthErrorIsASentinel(t *testing.T) {
	for code, c := range map[string]struct {
		status int
		is     error
	}{
		"invalid_grant":           {400, api.ErrUnauthenticated},
		"invalid_client":          {401, api.ErrUnauthenticated},
		"invalid_token":           {401, api.ErrUnauthenticated},
		"unauthorized_client":     {400, api.ErrForbidden},
		"invalid_scope":           {400, api.ErrInvalid},
		"slow_down":               {429, api.ErrLimited},
		"temporarily_unavailable": {503, api.ErrUnavailable},
	} {
		if err := error(&client.OAuthError{Status: c.status, Code: code}); !errors.Is(err, c.is) {
			t.Errorf("%s is not %v", code, c.is)
		}
	}
}

func TestIntrospectAndTokenInfo(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/oauth2/tokeninfo":
			if r.Header.Get("Authorization") != "Bearer tok" {
				w.WriteHeader(401)
				io.WriteString(w, `{"error":"invalid_token"}`)
				return
			}
			io.WriteString(w, `{"uid":"shop","realm":"/services","scope":["uid"],"expires_in":10,"token_type":"Bearer","grant_type":"password","uid.x":true}`)
		case "/oauth2/introspect":
			id, secret, _ := r.BasicAuth()
			io.WriteString(w, fmt.Sprintf(`{"active":%t,"aud":"one","sub":"shop"}`, id == "rs" && secret == "s" && r.FormValue("token") == "tok"))
		case "/oauth2/revoke":
			if r.FormValue("token") != "tok" {
				t.Error("no token to revoke")
			}
		}
	}, client.Options{})
	info, err := c.TokenInfo(t.Context(), "tok")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&client.TokenInfo{UID: "shop", Realm: "/services", Scope: []string{"uid"}, ExpiresIn: 10, TokenType: "Bearer", GrantType: "password"}, info); diff != "" {
		t.Error(diff)
	}
	if _, err := c.TokenInfo(t.Context(), "other"); !errors.Is(err, api.ErrUnauthenticated) {
		t.Errorf("an invalid token: %v", err)
	}
	as := client.Credentials{ClientID: "rs", ClientSecret: "s"}
	in, err := c.Introspect(t.Context(), "tok", as)
	if err != nil || !in.Active || !cmp.Equal(in.Audience, client.Audience{"one"}) {
		t.Errorf("introspection %+v, %v", in, err)
	}
	if err := c.RevokeToken(t.Context(), "tok", as); err != nil {
		t.Error(err)
	}
}
