package password_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
)

var (
	ctx   = context.Background()
	cheap = password.Params{Memory: 64, Time: 1, Threads: 1}
)

func TestHashAndVerify(t *testing.T) {
	p := password.NewPool(password.Options{})
	for _, secret := range []string{"correct horse battery", "Größe und Maß, 15+", strings.Repeat("long ", 100), "パスワードは長いほうがよい"} {
		form, err := p.Hash(ctx, redact.New(secret))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(form.Reveal(), "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(form.Reveal(), secret) {
			t.Errorf("stored form %s", form.Reveal())
		}
		for guess, want := range map[string]bool{secret: true, secret + " ": false, strings.ToUpper(secret) + "x": false, secret[:len(secret)-1]: false, "": false} {
			if got, err := p.Verify(ctx, form, redact.New(guess)); err != nil || got != want {
				t.Errorf("%q for %q: %v, %v", guess, secret, got, err)
			}
		}
		if p.NeedsRehash(form) {
			t.Error("a new form is out of date")
		}
		again, err := p.Hash(ctx, redact.New(secret))
		if err != nil || again.Reveal() == form.Reveal() {
			t.Errorf("twice the same form, %v", err)
		}
	}
}

// The same characters are the same password, however a keyboard composes them; letters keep their case.
func TestUnicodeFormsAreOne(t *testing.T) {
	p := password.NewPool(password.Options{Params: cheap})
	form, err := p.Hash(ctx, redact.New("caf\u00e9 au lait, tr\u00e8s chaud"))
	if err != nil {
		t.Fatal(err)
	}
	for guess, want := range map[string]bool{
		"cafe\u0301 au lait, tre\u0300s chaud":    true,
		"caf\u00e9\u00a0au lait, tr\u00e8s chaud": true,
		"Caf\u00e9 au lait, tr\u00e8s chaud":      false,
		"cafe au lait, tres chaud":                false,
	} {
		if got, err := p.Verify(ctx, form, redact.New(guess)); err != nil || got != want {
			t.Errorf("%q: %v, %v", guess, got, err)
		}
	}
}

// Forms that other programs made: the C library (bcrypt), Python (PBKDF2, scrypt), the reference program (Argon2id).
func TestFormsOfOtherSystems(t *testing.T) {
	p := password.NewPool(password.Options{})
	const secret = "a password of some length"
	for name, c := range map[string]struct{ form, secret string }{
		"bcrypt":                {"$2b$04$abcdefghijklmnopqrstuuMldIk045H4ieKKa9LMRaElqnj44U.sq", secret},
		"bcrypt of PHP":         {"$2y$04$abcdefghijklmnopqrstuuMldIk045H4ieKKa9LMRaElqnj44U.sq", secret},
		"pbkdf2 of passlib":     {"$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$Z3LIiZXSqg4LeYJ/cTfL2cnU3lfRYd.4p3fCaWsb64A", secret},
		"pbkdf2 with SHA-1":     {"$pbkdf2$1000$c2FsdHNhbHRzYWx0c2FsdA$LPOx.8U50S2vKjycmbO3NZK46f4", secret},
		"pbkdf2 as PHC":         {"$pbkdf2-sha512$i=1000,l=64$c2FsdHNhbHRzYWx0c2FsdA$c+t9vSVbZCKEqkgdyfl3jQCHj9NdJjLN4io3MBd5TjK6dCwh9dCKwhYnaME7nWrSSuKy6BTpx0FsWjT74Scrhw", secret},
		"scrypt":                {"$scrypt$ln=10,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$FBVDuYjaZnE+8+VePtkZKO+sdK40rxph5a/elaKmvno", secret},
		"argon2id of reference": {"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := password.Check(redact.New(c.form)); err != nil {
				t.Fatal(err)
			}
			for guess, want := range map[string]bool{c.secret: true, c.secret + "x": false, "": false} {
				if got, err := p.Verify(ctx, redact.New(c.form), redact.New(guess)); err != nil || got != want {
					t.Errorf("%q: %v, %v", guess, got, err)
				}
			}
			if !p.NeedsRehash(redact.New(c.form)) {
				t.Error("it is not replaced at the next login")
			}
		})
	}
}

func TestUnknownForms(t *testing.T) {
	p := password.NewPool(password.Options{Params: cheap})
	salt, sum := "c29tZXNhbHRzb21lc2FsdA", "c29tZWhhc2hzb21laGFzaHNvbWVoYXNoc29tZWhhc2g"
	for _, form := range []string{
		"", "$", "plain", "$1$abc$def", "$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1$" + salt + "$" + sum,
		"$argon2id$v=19$t=1,m=64,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=-64,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=4194304,t=1,p=1$" + salt + "$" + sum, // 4 GiB
		"$argon2id$v=19$m=64,t=1000000,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1,p=255$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$",
		"$argon2id$v=19$m=64,t=1,p=1$$" + sum,
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$%%%%%%%%%%%%%%%%%%%%%%%%%%%%",
		"$2b$31$" + strings.Repeat("a", 53), "$2b$4$" + strings.Repeat("a", 53), "$2b$04$short", "$2c$04$" + strings.Repeat("a", 53),
		"$pbkdf2-sha256$i=4000000000$" + salt + "$" + sum, "$pbkdf2-md5$1000$" + salt + "$" + sum, "$pbkdf2-sha256$0$" + salt + "$" + sum,
		"$scrypt$ln=30,r=8,p=1$" + salt + "$" + sum, "$scrypt$ln=20,r=64,p=1$" + salt + "$" + sum, "$scrypt$ln=0,r=8,p=1$" + salt + "$" + sum,
		strings.Repeat("$", 1000), "$argon2id$" + strings.Repeat("x", 1000),
	} {
		if err := password.Check(redact.New(form)); !errors.Is(err, password.ErrForm) {
			t.Errorf("%q: %v", form, err)
		}
		if ok, err := p.Verify(ctx, redact.New(form), redact.New("x")); ok || !errors.Is(err, password.ErrForm) {
			t.Errorf("%q verified: %v, %v", form, ok, err)
		}
		if !p.NeedsRehash(redact.New(form)) {
			t.Errorf("%q is said to be up to date", form)
		}
	}
	if p.Evaluations() != 0 {
		t.Errorf("%d hashes were computed for forms that are none", p.Evaluations())
	}
}

func TestRaisedCostAsksForAnotherHash(t *testing.T) {
	old := password.NewPool(password.Options{Params: cheap})
	form, err := old.Hash(ctx, redact.New("a password of some length"))
	if err != nil {
		t.Fatal(err)
	}
	now := password.NewPool(password.Options{Params: password.Params{Memory: 128, Time: 1, Threads: 1}})
	if old.NeedsRehash(form) || !now.NeedsRehash(form) {
		t.Error("the cost of a form is not looked at")
	}
	if ok, err := now.Verify(ctx, form, redact.New("a password of some length")); err != nil || !ok {
		t.Errorf("an older form is refused: %v, %v", ok, err)
	}
}

func TestPasswordsThatAreNone(t *testing.T) {
	p := password.NewPool(password.Options{Params: cheap})
	for _, secret := range []string{"", strings.Repeat("x", password.MaxBytes+1), "a control \x00 character", "a line\nand another", "not \xff UTF-8"} {
		if _, err := p.Hash(ctx, redact.New(secret)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.20q: %v", secret, err)
		}
	}
	if p.Evaluations() != 0 {
		t.Errorf("%d hashes were computed", p.Evaluations())
	}
	// At a login the work is the same as for any other, and it is wrong.
	form, err := p.Hash(ctx, redact.New("a password of some length"))
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := p.Verify(ctx, form, redact.New("a control \x00 character")); ok || err != nil || p.Evaluations() != 2 {
		t.Errorf("%v, %v, %d evaluations", ok, err, p.Evaluations())
	}
}

// 200 logins at once compute no more hashes at the same time than there are places, and who finds none in time
// is told when to come back.
func TestHashesAreBounded(t *testing.T) {
	p := password.NewPool(password.Options{Params: password.Params{Memory: 1024, Time: 1, Threads: 1}, AtOnce: 2, Wait: 5 * time.Second})
	var wg sync.WaitGroup
	var mu sync.Mutex
	served, busy := 0, 0
	for range 200 {
		wg.Go(func() {
			err := p.Waste(ctx, redact.New("a password of some length"))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				served++
			case fault.Is(err, fault.Unavailable) && fault.Of(err).RetryAfter > 0:
				busy++
			default:
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if served+busy != 200 || served < 2 || p.AtOnce() > 2 || p.AtOnce() < 1 || p.Evaluations() != int64(served) {
		t.Errorf("%d served, %d sent away, at most %d at once, %d evaluations", served, busy, p.AtOnce(), p.Evaluations())
	}
}

func TestWhoFindsNoPlaceGivesUp(t *testing.T) {
	p := password.NewPool(password.Options{Params: password.Params{Memory: 64 * 1024, Time: 8, Threads: 1}, AtOnce: 1, Wait: time.Millisecond})
	holding := make(chan error)
	go func() { holding <- p.Waste(ctx, redact.New("x")) }()
	for p.Evaluations() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := p.Waste(ctx, redact.New("x")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("no place: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	patient := password.NewPool(password.Options{Params: cheap, AtOnce: 1})
	if err := patient.Waste(gone, redact.New("x")); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-holding; err != nil {
		t.Error(err)
	}
}

// Each who waits holds one of the 256 requests that the server works on at once. A flood of logins must leave most of them
// to others, however many cores there are.
func TestQueueLeavesRoomForOthers(t *testing.T) {
	for _, cores := range []int{1, 2, 8, 64} {
		if n := password.NewPool(password.Options{AtOnce: cores}).Queue() + int64(cores); n < 32 || n > 192 {
			t.Errorf("%d cores: %d logins wait or are looked at", cores, n)
		}
	}
}

func TestRule(t *testing.T) {
	words := []string{"jane", "jane.doe@example.org", "employees", "example.org"}
	for _, good := range []string{"a walk in the rain at night", "sieben kleine Zwerge", "xK9#mQ2$vL7!pR4", "四つの言葉を並べた長い合言葉です"} {
		if err := password.Rule(redact.New(good), words...); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "short", "fourteen chars", "aaaaaaaaaaaaaaaaaaaa", "abcabcabcabcabcabc", "123456789012345", "1234567890123456",
		"passwordpassword", "Password12345678", "qwertyuiopasdfgh", "correcthorsebatterystaple",
		"jane.doe@example.org", "janejanejanejane", "JaneEmployees2026", "mintmark password 1",
	} {
		err := password.Rule(redact.New(bad), append(words, "mintmark")...)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
		if err != nil && bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("the refusal of %q repeats it: %v", bad, err)
		}
	}
}

// Where nobody signs in without a second factor, eight characters may do; what is easy to guess never does.
func TestRuleBesideASecondFactor(t *testing.T) {
	for _, good := range []string{"xK9#mQ2$", "zwei Boote"} {
		if err := password.RuleOf(password.MinRunesOfTwo, redact.New(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
		if err := password.Rule(redact.New(good)); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "15") {
			t.Errorf("%q alone: %v", good, err)
		}
	}
	for _, bad := range []string{"xK9#mQ2", "password", "Password1", "12345678", "aaaaaaaa", "jane2026"} {
		if err := password.RuleOf(password.MinRunesOfTwo, redact.New(bad), "jane"); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A stored form comes from the database or from another system; whatever it is, reading it ends, at no cost.
func FuzzCheck(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, form string) {
		err := password.Check(redact.New(form))
		if err != nil && !errors.Is(err, password.ErrForm) {
			t.Errorf("%q: %v", form, err)
		}
		if err != nil && len(form) > 20 && strings.Contains(err.Error(), form) {
			t.Errorf("the error repeats the form: %v", err)
		}
	})
}

var seeds = []string{
	"$2b$04$abcdefghijklmnopqrstuuMldIk045H4ieKKa9LMRaElqnj44U.sq",
	"$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$Z3LIiZXSqg4LeYJ/cTfL2cnU3lfRYd.4p3fCaWsb64A",
	"$scrypt$ln=10,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$FBVDuYjaZnE+8+VePtkZKO+sdK40rxph5a/elaKmvno",
	"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
}

func TestFuzzSeedsAreForms(t *testing.T) {
	for _, seed := range seeds {
		if err := password.Check(redact.New(seed)); err != nil {
			t.Errorf("%s: %v", seed, err)
		}
	}
}
