package mail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
	"github.com/mintmark/mintmark/internal/testport"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

const secretLink = "https://mint.example.org/reset?token=hidden-value"

func letter() Letter {
	return Letter{Kind: "reset", To: "jane@example.org", Name: "Jane", Subject: "Choose a new password", Lines: []string{"One <b>line</b>."},
		Label: "Choose", Link: secretLink, After: []string{"Or not."}, Expires: start.Add(time.Hour)}
}

func message(t *testing.T, l Letter) Message {
	t.Helper()
	m, err := l.Render(nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// server speaks as much SMTP as a client needs. say maps a command to its answer; "" ends the connection.
func server(t *testing.T, say map[string]string) (address string, got chan string) {
	t.Helper()
	l := testport.Listen(t)
	got = make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveSMTP(c, say, got)
		}
	}()
	return l.Addr().String(), got
}

func serveSMTP(c net.Conn, say map[string]string, got chan string) {
	_, _ = fmt.Fprint(c, "220 test\r\n")
	talkSMTP(c, say, got)
}

func talkSMTP(c net.Conn, say map[string]string, got chan string) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		command := strings.ToUpper(strings.Fields(line + " x")[0])
		answer, set := say[command]
		switch {
		case set:
		case command == "DATA":
			_, _ = fmt.Fprint(c, "354 go on\r\n")
			var text strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				text.WriteString(l)
			}
			got <- text.String()
			answer = "250 taken"
		default:
			answer = "250 fine"
		}
		_, _ = fmt.Fprint(c, answer+"\r\n")
		if command == "QUIT" {
			return
		}
	}
}

func TestSMTP(t *testing.T) {
	address, got := server(t, nil)
	s, err := NewSMTP(SMTPOptions{Server: address, From: "mint@example.org", FromName: "mintmark", Clock: clock.NewFake(start)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(ctx, "mai_1@mint.example.org", message(t, letter())); err != nil {
		t.Fatal(err)
	}
	text := <-got
	for _, want := range []string{"To: <jane@example.org>", `From: "mintmark" <mint@example.org>`, "Message-ID: <mai_1@mint.example.org>", "Subject: Choose a new password",
		"Auto-Submitted: auto-generated", "text/plain", "text/html", "&lt;b&gt;line"} {
		if !strings.Contains(text, want) {
			t.Errorf("the mail lacks %q:\n%s", want, text)
		}
	}
}

// What the server says in words may quote the letter, so no error does.
func TestSMTPFailures(t *testing.T) {
	for name, x := range map[string]struct {
		say     map[string]string
		refused bool
	}{
		"refused for good":  {map[string]string{"RCPT": "550 no jane@example.org here"}, true},
		"refused for a day": {map[string]string{"RCPT": "450 jane@example.org later"}, false},
		"data refused":      {map[string]string{"DATA": "554 hidden-value looks bad"}, true},
	} {
		address, _ := server(t, x.say)
		s, err := NewSMTP(SMTPOptions{Server: address, From: "mint@example.org"})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Send(ctx, "mai_1@x", message(t, letter()))
		if err == nil || errors.Is(err, ErrRefused) != x.refused || strings.Contains(err.Error(), "jane") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSMTPWantsTLS(t *testing.T) {
	for host, loop := range map[string]bool{"mail.example.org": false, "localhost": true, "127.0.0.1": true, "::1": true, "127.0.0.1.example.org": false} {
		if loopback(host) != loop {
			t.Errorf("%s", host)
		}
	}
	for _, o := range []SMTPOptions{{Server: "mail", From: "a@example.org"}, {Server: "mail:25", From: "a@example.org\r\nBcc: b@example.org"}, {Server: "mail:25"}, {Server: "mail:x", From: "a@example.org"}} {
		if _, err := NewSMTP(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

type fakeSender struct {
	fails error
	sent  []string
}

func (f *fakeSender) Send(_ context.Context, messageID string, m Message) error {
	if f.fails == nil {
		f.sent = append(f.sent, messageID+" "+secretLink+strings.Repeat("?", 1-min(1, strings.Count(m.Text, secretLink))))
	}
	return f.fails
}

func TestOutbox(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			sender, log := &fakeSender{}, new(strings.Builder)
			b := NewOutbox(d, sealtest.New(t, d), Options{Sender: sender, Domain: "mint.example.org", Logger: slog.New(slog.NewTextHandler(log, nil))})
			put := func(l Letter) error { return d.Write(ctx, func(tx db.WriteTx) error { return b.Put(ctx, tx, l) }) }
			one := func(query string) (text string) {
				t.Helper()
				if err := d.Read(ctx, func(tx db.ReadTx) error { return tx.QueryRow(ctx, query).Scan(&text) }); err != nil && !errors.Is(err, db.ErrNoRows) {
					t.Fatal(err)
				}
				return text
			}
			deliver := func() error {
				key := one(`SELECT key FROM jobs LIMIT 1`)
				if err := d.Write(ctx, func(tx db.WriteTx) error {
					return db.One(tx.Exec(ctx, `UPDATE jobs SET node = 'n', epoch = 9 WHERE key = $1`, key))
				}); err != nil {
					t.Fatal(err)
				}
				_, err := b.Deliver(ctx, jobs.Job{Kind: JobKind, Key: key, Epoch: 9})
				return err
			}
			forget := func() {
				t.Helper()
				if err := d.Write(ctx, func(tx db.WriteTx) error { _, err := tx.Exec(ctx, `DELETE FROM jobs`); return err }); err != nil {
					t.Fatal(err)
				}
			}
			if err := put(letter()); err != nil {
				t.Fatal(err)
			}
			mailID := one(`SELECT id FROM mails`)
			sender.fails = errors.New("away")
			if err := deliver(); err == nil || one(`SELECT id FROM mails`) != mailID {
				t.Errorf("a letter that was not taken: %v", err)
			}
			sender.fails = nil
			if err := deliver(); err != nil || one(`SELECT id FROM mails`) != "" {
				t.Errorf("a letter that was taken: %v", err)
			}
			if len(sender.sent) != 1 || sender.sent[0] != mailID+"@mint.example.org "+secretLink {
				t.Errorf("sent %v", sender.sent)
			}
			if err := deliver(); err != nil || len(sender.sent) != 1 {
				t.Errorf("once more: %v %v", err, sender.sent)
			}
			forget()
			for what, end := range map[string]func(){"refused": func() { sender.fails = ErrRefused }, "expired": func() { sender.fails = errors.New("away"); c.Advance(2 * time.Hour) }} {
				l := letter()
				l.Expires = c.Now().Add(time.Hour)
				if err := put(l); err != nil {
					t.Fatal(err)
				}
				end()
				if err := deliver(); err != nil || one(`SELECT id FROM mails`) != "" || !strings.Contains(log.String(), "a mail reaches nobody") {
					t.Errorf("%s: %v", what, err)
				}
				forget()
			}
			if strings.Contains(log.String(), "jane") || strings.Contains(log.String(), "hidden") {
				t.Errorf("the log tells of the letter: %s", log)
			}
			// Rolled back: nothing is sent.
			_ = d.Write(ctx, func(tx db.WriteTx) error { return errors.Join(b.Put(ctx, tx, letter()), errors.New("no")) })
			if one(`SELECT id FROM mails`)+one(`SELECT key FROM jobs`) != "" {
				t.Error("a letter outlived its cause")
			}
		})
	}
}

func FuzzLetterHead(f *testing.F) {
	for _, seed := range []string{"jane@example.org", "a@example.org\r\nBcc: b@example.org", "Jane <a@example.org>", "a@example.org,b@example.org", "\"a b\"@example.org", "a@[127.0.0.1]", "a\u2028@example.org", "<a@example.org>", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, to string) {
		l := letter()
		l.To = to
		if l.check() == nil && (to == "" || strings.ContainsAny(to, "\r\n\x00<>") && !strings.HasPrefix(to, `"`)) {
			t.Errorf("%q is taken for an address", to)
		}
		l = letter()
		l.Subject, l.Name = to, to
		if l.check() == nil && strings.ContainsAny(to, "\r\n\x00\u2028\u2029") {
			t.Errorf("%q is taken for a subject", to)
		}
	})
}
