package identity_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
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
