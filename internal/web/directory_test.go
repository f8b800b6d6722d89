package web_test

import (
	"context"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

// source stands for a directory that keeps the passwords of employees.
type source struct {
	s    *site
	away bool
}

func (o *source) Policy() identity.SourcePolicy {
	return identity.SourcePolicy{Only: true, PasswordPage: "https://password.example.org", Keeps: []string{"email"}}
}

func (o *source) Pretend(context.Context, string) {}

func (o *source) Verify(ctx context.Context, l identity.SourceLogin) (u identity.User, err error) {
	if o.away {
		return u, fault.New(fault.Unavailable, "directory_unavailable", "Try later.").Retry(5e9)
	}
	if err := l.Count(ctx, "", "entry-of-"+l.Name); err != nil {
		return u, err
	}
	if l.Secret.Reveal() != janes {
		return u, identity.ErrCredentials
	}
	err = o.s.d.Write(ctx, func(tx db.WriteTx) error {
		u, err = o.s.dir.EntryLogin(ctx, tx, access.SystemCaller("directory"), "employees", identity.Entry{Key: "entry-of-" + l.Name, Username: l.Name, DisplayName: "Dora", EmailVerified: true, Email: l.Name + "@example.org"})
		return err
	})
	return u, err
}

func TestPeopleOfADirectory(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		directory := &source{s: s}
		s.dir.SetSource("employees", directory)
		b := s.browser()
		b.signIn("/login", "dora", janes).leads(t, "/account")

		page := b.get("/account/password")
		for _, text := range []string{"Your password is the one of your organisation", `href="https://password.example.org"`} {
			if page.Code != 200 || !strings.Contains(page.body, text) {
				t.Errorf("%d: the page does not say %s\n%s", page.Code, text, page.body)
			}
		}
		if strings.Contains(page.body, `type="password"`) {
			t.Error("the page asks for a password")
		}
		if security := b.get("/account/security"); !strings.Contains(security.body, "Kept by your organisation") {
			t.Error(security.body)
		}
		// What the directory says of her has no field, and is refused to who sends it all the same.
		profile := b.get("/account/profile")
		if profile.Code != 200 || strings.Contains(profile.body, "profile-change-email") || !strings.Contains(profile.body, `id="phone"`) || !strings.Contains(profile.body, `id="profile-limited"`) {
			t.Errorf("%d\n%s", profile.Code, profile.body)
		}
		if a := b.post(profile, "/account/email", "email", "other@example.org"); a.Code != 404 || !strings.Contains(a.body, "in the directory of your organisation") {
			t.Errorf("another address is asked for: %d\n%s", a.Code, a.body)
		}
		form := b.get("/account/security")
		if a := b.post(form, "/account/password", "password", "another walk in the rain", "again", "another walk in the rain"); a.Code != 409 || !strings.Contains(a.body, "password_elsewhere") {
			t.Errorf("a password is set beside the directory's: %d\n%s", a.Code, a.body)
		}

		// While the directory is away that is said, with a number, and nothing is counted.
		directory.away = true
		for range identity.FreeTries + 2 {
			a := s.browser().signIn("/login", "dora", janes)
			if a.Code != 503 || a.Header().Get("Retry-After") == "" || !strings.Contains(a.body, "Nothing was counted against you") || !strings.Contains(a.body, a.Header().Get("X-Request-Id")) {
				t.Fatalf("%d %v\n%s", a.Code, a.Header(), a.body)
			}
		}
		directory.away = false
		s.browser().signIn("/login", "dora", janes).leads(t, "/account")
	})
}
