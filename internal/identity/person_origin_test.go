package identity_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

func (h *house) signInFrom(ip, name, secret string) error {
	_, err := h.dir.VerifyPersonPassword(ctx, "employees", name, redact.New(secret), identity.Origin{IP: ip})
	return err
}

// One address tries a password or two on very many accounts, all at once: none of them is tried often, and still it ends.
func TestAddressThatTriesManyAccountsIsStopped(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "jane", "", janes)
		before := h.pool.Evaluations()
		var looked, stopped atomic.Int64
		var wg sync.WaitGroup
		for i := range 2 * identity.TriesPerAddress {
			wg.Go(func() {
				// All of an IPv6 network is one machine's.
				err := h.signInFrom(fmt.Sprintf("2001:db8:7::%x", i+1), fmt.Sprintf("user%d", i), other)
				switch {
				case errors.Is(err, identity.ErrCredentials):
					looked.Add(1)
				case fault.Is(err, fault.Limited):
					stopped.Add(1)
				default:
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		if looked.Load() != identity.TriesPerAddress || stopped.Load() != identity.TriesPerAddress || h.pool.Evaluations()-before != identity.TriesPerAddress {
			t.Errorf("%d were looked at, %d not", looked.Load(), stopped.Load())
		}
		if err := h.signInFrom("2001:db8:7::ffff", "jane", janes); !fault.Is(err, fault.Limited) {
			t.Errorf("the address goes on: %v", err)
		}
		for _, ip := range []string{"2001:db8:8::1", "192.0.2.1"} {
			if err := h.signInFrom(ip, "jane", janes); err != nil {
				t.Errorf("%s is kept out by another: %v", ip, err)
			}
		}
		h.clock.Advance(10 * time.Minute)
		if err := h.signInFrom("2001:db8:7::1", "jane", janes); err != nil {
			t.Errorf("it never ends: %v", err)
		}
	})
}

// Whoever shares an address with a stranger is not kept out of his own devices by him; other devices are no way around.
func TestAddressOfAStrangerAndAKnownDevice(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane, joe := h.person("employees", "jane", "", janes), h.person("employees", "joe", "", janes)
		_, hers := h.remember(jane, redact.Secret{})
		_, his := h.remember(joe, redact.Secret{})
		from := func(ip string, device redact.Secret, name, secret string) error {
			_, err := h.dir.VerifyPersonPassword(ctx, "employees", name, redact.New(secret), identity.Origin{IP: ip, Device: device})
			return err
		}
		// Her own mistakes are counted there alone.
		for range identity.FreeTries - 1 {
			if err := from("192.0.2.1", hers, "jane", other); !errors.Is(err, identity.ErrCredentials) {
				t.Fatal(err)
			}
		}
		for i := range identity.TriesPerAddress {
			if err := h.signInFrom("192.0.2.1", fmt.Sprintf("user%d", i), other); !errors.Is(err, identity.ErrCredentials) {
				t.Fatalf("try %d: %v", i, err)
			}
		}
		for name, device := range map[string]redact.Secret{"none": {}, "another's": his, "made up": redact.New("mmn_" + strings.Repeat("a", 43))} {
			if err := from("192.0.2.1", device, "jane", janes); !fault.Is(err, fault.Limited) {
				t.Errorf("with device %s: %v", name, err)
			}
		}
		if err := from("192.0.2.1", hers, "jane", janes); err != nil {
			t.Errorf("on her own device: %v", err)
		}
		for range identity.FreeTries {
			if err := from("192.0.2.1", hers, "jane", other); !errors.Is(err, identity.ErrCredentials) {
				t.Fatal(err)
			}
		}
		if err := from("192.0.2.1", hers, "jane", janes); !fault.Is(err, fault.Limited) {
			t.Errorf("her device guesses without end: %v", err)
		}
	})
}

// Who knows the password is not counted, nor who waits for his turn, nor what comes through a proxy that nobody named.
func TestRightPasswordsAndTheMachineItselfAreNotCounted(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "jane", "", janes)
		for i := range 2 * identity.TriesPerAddress {
			if err := h.signInFrom("192.0.2.1", "jane", janes); err != nil {
				t.Fatalf("login %d: %v", i, err)
			}
		}
		for range 2 * identity.TriesPerAddress {
			if err := h.signInFrom("192.0.2.1", "joe", other); err == nil {
				t.Fatal("a wrong password is right")
			}
		}
		for i := range 2 * identity.TriesPerAddress {
			for _, ip := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", ""} {
				if err := h.signInFrom(ip, fmt.Sprintf("x%d%s", i, map[bool]string{true: "a"}[ip == ""]), other); err == nil {
					t.Fatal("a wrong password is right")
				}
			}
		}
		for _, ip := range []string{"192.0.2.1", "127.0.0.1", ""} {
			if err := h.signInFrom(ip, "jane", janes); err != nil {
				t.Errorf("%s: %v", ip, err)
			}
		}
	})
}

// An address has its tries once for all nodes, not once for each.
func TestAddressIsCountedOverNodes(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c, url := clock.NewFake(start), dbtest.URL(t, engine)
			d := dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, d)
			nodes := []*house{newHouse(t, d, k, c), newHouse(t, dbtest.OpenURL(t, url, c), k, c)}
			nodes[0].person("employees", "jane", "", janes)
			looked := 0
			for i := range 2 * identity.TriesPerAddress {
				if err := nodes[i%2].signInFrom("192.0.2.7", fmt.Sprintf("user%d", i), other); errors.Is(err, identity.ErrCredentials) {
					looked++
				} else if !fault.Is(err, fault.Limited) {
					t.Fatal(err)
				}
			}
			if looked != identity.TriesPerAddress {
				t.Errorf("%d passwords were looked at", looked)
			}
			for _, n := range nodes {
				if err := n.signInFrom("192.0.2.7", "jane", janes); !fault.Is(err, fault.Limited) {
					t.Errorf("a node lets it go on: %v", err)
				}
				if err := n.signInFrom("192.0.2.8", "jane", janes); err != nil {
					t.Errorf("another is kept out: %v", err)
				}
			}
			c.Advance(10 * time.Minute)
			if err := nodes[1].signInFrom("192.0.2.7", "jane", janes); err != nil {
				t.Errorf("it never ends: %v", err)
			}
			if _, err := nodes[0].dir.SweepAttempts(ctx); err != nil {
				t.Fatal(err)
			}
		})
	}
}
