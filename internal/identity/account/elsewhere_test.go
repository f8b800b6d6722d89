package account_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/redact"
)

// elsewhere stands for a directory that keeps the passwords of employees. Nobody signs in with it here.
type elsewhere struct{ page string }

func (e elsewhere) Policy() identity.SourcePolicy {
	return identity.SourcePolicy{Only: true, PasswordPage: e.page}
}
func (elsewhere) Pretend(context.Context, string) {}
func (elsewhere) Verify(context.Context, identity.SourceLogin) (identity.User, error) {
	return identity.User{}, identity.ErrCredentials
}

var addresses = regexp.MustCompile(`https?://[^\s"<>]+`)

// Whoever forgot a password that a directory keeps is told where it is, in the language of the page that asked, by a
// letter that leads nowhere but to the page that the operator named.
func TestForgottenPasswordOfADirectory(t *testing.T) {
	const page = "https://password.example.org/change"
	offices(t, func(t *testing.T, o *office) {
		o.dir.SetSource("employees", elsewhere{page})
		o.write(func(tx db.WriteTx) error {
			_, err := o.dir.EntryLogin(ctx, tx, access.SystemCaller("directory"), "employees", identity.Entry{Key: "entry-of-dora", Username: "dora", DisplayName: "Dora", Email: "dora@example.org"})
			return err
		})
		for _, c := range []struct{ language, name, page, subject, text, label string }{
			{"en", "dora", page, "Your password is kept elsewhere", "cannot be changed here", "Change it there:"},
			{"de", "dora@example.org", page, "Ihr Passwort wird anderswo verwaltet", "lässt sich hier nicht ändern", "Dort ändern:"},
			{"de", "dora", "", "Ihr Passwort wird anderswo verwaltet", "lässt sich hier nicht ändern", ""},
		} {
			o.dir.SetSource("employees", elsewhere{c.page})
			if err := o.accounts.AskReset(ctx, account.Asker{IP: "192.0.2.1", Language: c.language}, "employees", c.name); err != nil {
				t.Fatal(err)
			}
			j := o.job(account.JobKind, 1)
			if _, err := o.accounts.Handle(ctx, j); err != nil {
				t.Fatal(err)
			}
			o.write(func(tx db.WriteTx) error { return jobs.Cancel(ctx, tx, account.JobKind, j.Key) })
			if got := o.drain(); !slices.Equal(got, []string{c.subject + " dora@example.org"}) {
				t.Fatalf("%s: %q", c.language, got)
			}
			m := o.post.newest
			if m.Language != c.language || !strings.Contains(m.Text, c.text) || !strings.Contains(m.Text, c.label) {
				t.Errorf("%s: the letter in %q says\n%s", c.language, m.Language, m.Text)
			}
			for what, text := range map[string]string{"text": m.Text, "HTML": m.HTML} {
				found := addresses.FindAllString(text, -1)
				if (len(found) > 0) != (c.page != "") || slices.ContainsFunc(found, func(a string) bool { return a != c.page }) || strings.Contains(text, "mmw_") {
					t.Errorf("%s: the %s of the letter leads to %q", c.language, what, found)
				}
			}
		}
		// No more of these are sent than of letters with a link.
		o.asks("dora", "192.0.2.1", redact.Secret{})
		if got := o.drain(); len(got) != 0 {
			t.Errorf("one letter too many: %q", got)
		}
	})
}
