//go:build faultinject

package account_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/mail"
)

// TestAnswerIsWholeOrNothing fails the answer to a request at each place: before it is claimed, when all of it is written
// and nothing committed, and after another node has taken it over. In the end there is one letter.
func TestAnswerIsWholeOrNothing(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		o.person("jane", "jane@example.org")
		if err := o.accounts.AskReset(ctx, account.Asker{IP: "192.0.2.1"}, "employees", "jane"); err != nil {
			t.Fatal(err)
		}
		state := func(requests, links, mails int) {
			t.Helper()
			if r, l, m := o.count("account_requests"), o.count("account_links"), o.count("mails"); r != requests || l != links || m != mails {
				t.Fatalf("%d requests, %d links, %d letters; want %d, %d, %d", r, l, m, requests, links, mails)
			}
		}
		state(1, 0, 0)
		zombie := o.job(account.JobKind, 1)
		j := o.job(account.JobKind, 2)
		if _, err := o.accounts.Handle(ctx, zombie); !errors.Is(err, jobs.ErrLost) {
			t.Errorf("a claim that was lost: %v", err)
		}
		state(1, 0, 0)
		clear := failpoint.Set("account.answered", 0, func() error { return failpoint.ErrInjected })
		if _, err := o.accounts.Handle(ctx, j); !errors.Is(err, failpoint.ErrInjected) {
			t.Errorf("%v", err)
		}
		clear()
		state(1, 0, 0)
		for range 2 { // the second time is that of a node that did not hear of its own commit
			if _, err := o.accounts.Handle(ctx, j); err != nil {
				t.Fatal(err)
			}
			state(0, 1, 1)
		}
		o.delivery()
	})
}

// delivery fails the sending of the one letter that there is: a server that is down loses nothing, and a crash between
// sending and noting it sends the letter again under the same name.
func (o *office) delivery() {
	o.Helper()
	j := o.job(mail.JobKind, 1)
	o.post.fails = errors.New("down")
	if _, err := o.outbox.Deliver(ctx, j); err == nil || o.count("mails") != 1 {
		o.Errorf("a server that is down: %v, %d letters", err, o.count("mails"))
	}
	o.post.fails = nil
	next := o.job(mail.JobKind, 2) // another node took over while the first was sending
	if _, err := o.outbox.Deliver(ctx, j); !errors.Is(err, jobs.ErrLost) || o.count("mails") != 1 {
		o.Errorf("%v, %d letters", err, o.count("mails"))
	}
	if _, err := o.outbox.Deliver(ctx, next); err != nil || o.count("mails") != 0 {
		o.Errorf("%v, %d letters", err, o.count("mails"))
	}
	if len(o.post.sent) != 2 || o.post.sent[0] != o.post.sent[1] || !strings.HasSuffix(o.post.sent[0], "@mint.example.org Choose a new password jane@example.org") {
		o.Errorf("sent: %q", o.post.sent)
	}
}
