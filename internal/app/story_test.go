package app_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
)

// The main job, from registration to a checked token, through the doors that people and programs use.
func TestOneApplicationFromRegistrationToACheckedToken(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		w.register(t, "sales-orders")
		w.bucket(t, "sales-orders", "shop-mint")
		bucket, key := w.storage(t, "sales-orders", "shop-mint")
		first := bucket.delivered(t, client.Credentials{})
		w.active(t, "sales-orders", 1)
		if first.Username != "sales-orders" || !strings.HasPrefix(first.ClientID, "cli_") {
			t.Errorf("service user %s, client %s", first.Username, first.ClientID)
		}

		token := checkSeedToken(t, w, first)
		checkIntrospectionAndRevocation(t, w, first, token)
		checkOwnCannotDoMore(t, w, first)

		// Rotation: both pairs, and each mix of an old half and a new one, are accepted.
		must[*api.Rotation](t, "rotate")(w.admin.Rotate(t.Context(), "sales-orders"))
		second := bucket.delivered(t, first)
		if second.Username != first.Username || second.ClientID != first.ClientID {
			t.Errorf("a rotation changed the names: %s %s", second.Username, second.ClientID)
		}
		w.active(t, "sales-orders", 2)
		for _, c := range []client.Credentials{first, second, mix(first, second), mix(second, first)} {
			if a := w.seedToken(t, "services", c); a.status != http.StatusOK {
				t.Errorf("after the rotation: %d %s", a.status, a.code())
			}
		}

		checkDeactivation(t, w, bucket, key, second)
		checkAudit(t, w)
	})
}

func mix(user, app client.Credentials) client.Credentials {
	user.ClientID, user.ClientSecret = app.ClientID, app.ClientSecret
	return user
}

// checkSeedToken gets a token by each spelling of the realm and compares what tokeninfo says with what its readers expect.
func checkSeedToken(t *testing.T, w *world, c client.Credentials) (token string) {
	t.Helper()
	for _, realm := range []string{"services", "/services"} {
		a := w.seedToken(t, realm, c)
		if a.status != http.StatusOK {
			t.Fatalf("realm=%s: %d %s", realm, a.status, a.code())
		}
		doc := a.document(t)
		token, _ = doc["access_token"].(string)
		if doc["token_type"] != "Bearer" || doc["expires_in"] != float64(8*60*60) || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("realm=%s: %v with %v", realm, doc, a.header)
		}
		status, body := fetch(t, w.config.Issuer+"/oauth2/tokeninfo?access_token="+url.QueryEscape(token))
		info := answered{status: status, body: []byte(body)}.document(t)
		if left, _ := info["expires_in"].(float64); left < 8*60*60-60 || left > 8*60*60 {
			t.Errorf("expires_in is %v", info["expires_in"])
		}
		delete(info, "expires_in")
		want := map[string]any{
			"token_type": "Bearer", "realm": "services", "scope": []any{"uid", "sales_order.read_all"}, "grant_type": "password",
			"uid": "sales-orders", "access_token": token,
			"sales_order.read_all": true, // as older resource servers look for a scope
		}
		if d := cmp.Diff(want, info); d != "" {
			t.Errorf("tokeninfo (-want +got):\n%s", d)
		}
	}
	return token
}

func checkIntrospectionAndRevocation(t *testing.T, w *world, c client.Credentials, token string) {
	t.Helper()
	ctx := t.Context()
	in := must[*client.Introspection](t, "introspect")(w.admin.Introspect(ctx, token, c))
	if !in.Active || in.Username != "sales-orders" || in.ClientID != c.ClientID || in.Issuer != w.config.Issuer || !slices.Contains(strings.Fields(in.Scope), "sales_order.read_all") {
		t.Errorf("introspection: %+v", in)
	}
	own := must[client.Token](t, "client_credentials")(w.admin.RequestToken(ctx, client.TokenRequest{
		Credentials: client.Credentials{ClientID: c.ClientID, ClientSecret: c.ClientSecret}, Scopes: []string{"sales_order.read_all"},
	}))
	if err := w.admin.RevokeToken(ctx, token, c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a revoked token is refused", func() error {
		if _, err := w.admin.TokenInfo(ctx, token); !errors.Is(err, api.ErrUnauthenticated) {
			return fmt.Errorf("tokeninfo: %w", err)
		}
		return nil
	})
	if in := must[*client.Introspection](t, "introspect")(w.admin.Introspect(ctx, token, c)); in.Active || in.Username != "" {
		t.Errorf("a revoked token: %+v", in)
	}
	if _, err := w.admin.TokenInfo(ctx, own.Value); err != nil {
		t.Errorf("revoking one token ended another: %v", err)
	}
}

// checkOwnCannotDoMore: with the token of its own service user an application is let in, and is no administrator.
func checkOwnCannotDoMore(t *testing.T, w *world, c client.Credentials) {
	t.Helper()
	token := must[client.Token](t, "token")(w.admin.RequestToken(t.Context(), client.TokenRequest{Credentials: c, Scopes: []string{"uid"}}))
	own := w.client(t, client.StaticToken(token.Value))
	if _, err := own.GrantScope(t.Context(), "sales-orders", "sales_order.read_all"); !errors.Is(err, api.ErrForbidden) {
		t.Errorf("an application granted itself a scope: %v", err)
	}
	if _, err := own.PutTeam(t.Context(), "mine", api.PutTeam{Name: "Mine"}); !errors.Is(err, api.ErrForbidden) {
		t.Errorf("an application made a team: %v", err)
	}
}

// checkDeactivation: both credentials and the storage key are refused, and stay so when the application comes back.
func checkDeactivation(t *testing.T, w *world, bucket objects, key *api.IssuedStorageKey, old client.Credentials) {
	t.Helper()
	ctx := t.Context()
	// Tokens are dated by full seconds, and never before the second after their application was enabled.
	created := must[*api.Application](t, "application")(w.admin.Application(ctx, "sales-orders")).Created
	eventually(t, "the second after the registration has come", func() error {
		if clock.Since(clock.System, created) < 2*time.Second {
			return errors.New("not yet")
		}
		return nil
	})
	token := must[client.Token](t, "token")(w.admin.RequestToken(ctx, client.TokenRequest{Credentials: old, Scopes: []string{"uid"}}))
	setActive := func(active bool) {
		t.Helper()
		must[*api.Application](t, "put")(w.admin.PutApplication(ctx, "sales-orders", api.PutApplication{Active: &active}))
	}
	refused := func() error {
		if a := w.seedToken(t, "services", old); a.status != http.StatusUnauthorized && a.status != http.StatusBadRequest {
			return fmt.Errorf("password grant: %d", a.status)
		}
		_, err := w.admin.RequestToken(ctx, client.TokenRequest{Credentials: client.Credentials{ClientID: old.ClientID, ClientSecret: old.ClientSecret}})
		if !errors.Is(err, api.ErrUnauthenticated) {
			return fmt.Errorf("client_credentials: %w", err)
		}
		if _, err := bucket.get(ctx, client.UserFile); err == nil || !strings.Contains(err.Error(), "403") {
			return fmt.Errorf("the storage key: %w", err)
		}
		return nil
	}
	setActive(false)
	eventually(t, "a deactivated application is refused", refused)
	eventually(t, "its tokens are refused", func() error {
		if _, err := w.admin.TokenInfo(ctx, token.Value); !errors.Is(err, api.ErrUnauthenticated) {
			return fmt.Errorf("tokeninfo of a token made before: %w", err)
		}
		return nil
	})

	setActive(true)
	fresh, issued := w.storage(t, "sales-orders", "shop-mint")
	if issued.ID == key.ID {
		t.Error("the old storage key came back")
	}
	third := fresh.delivered(t, old)
	eventually(t, "the new pair is accepted", func() error {
		if a := w.seedToken(t, "services", third); a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.code())
		}
		return nil
	})
	if err := refused(); err != nil {
		t.Errorf("old credentials came back with the application: %v", err)
	}
	if _, err := w.admin.TokenInfo(ctx, token.Value); !errors.Is(err, api.ErrUnauthenticated) {
		t.Errorf("an old token came back with the application: %v", err)
	}
}

// checkAudit: the log has all of it, names who did it, and is whole.
func checkAudit(t *testing.T, w *world) {
	t.Helper()
	want := []string{
		"team.create success", "resource_type.create success", "scope.create success", "application.create success", "scope.grant success",
		"storage.manage success", "destination.add success", "storage.issue_key success",
		"credential.prepare success", "credential.deliver success", "credential.activate success", "credential.rotate success",
		"application.change success", "credential.retire success", "access.deny denied",
		"token.revoke success",
	}
	eventually(t, "everything has its place in the audit log", func() error {
		seen := map[string]bool{}
		for q := (client.AuditQuery{OldestFirst: true}); ; {
			page, err := w.admin.AuditEvents(t.Context(), q)
			if err != nil {
				return err
			}
			for _, e := range page.Items {
				seen[e.Action+" "+e.Outcome] = true
				if e.Action == "team.create" && (e.Actor.Name != "admin" || e.Actor.Kind != "person" || e.RequestID == "" || e.IP != "127.0.0.1") {
					return fmt.Errorf("who did it: %+v", e)
				}
			}
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				break
			}
		}
		for _, action := range want {
			if !seen[action] {
				return fmt.Errorf("no %s among %v", action, seen)
			}
		}
		return nil
	})
	if r, err := w.VerifyAudit(t.Context(), "", nil); err != nil || r.Problem != nil || r.Size < 20 {
		t.Errorf("verify while the server runs: %+v, %v", r, err)
	}

	// What is counted in memory is written at the latest when the server ends.
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	events := strings.Join(dump(t, w.databaseURL())["audit_events"], "\n")
	for _, action := range []string{"token.issue", "token.verify"} {
		if !strings.Contains(events, " "+action+" ") {
			t.Errorf("no %s in the audit log", action)
		}
	}
	a := must[*app.App](t, "open again")(app.Inspect(t.Context(), w.config, app.Build{}, slog.New(slog.DiscardHandler)))
	defer a.Close()
	if r, err := a.VerifyAudit(t.Context(), "", nil); err != nil || r.Problem != nil || r.Trusted < 20 {
		t.Errorf("verify after the end: %+v, %v", r, err)
	}
}
