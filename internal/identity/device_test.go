package identity_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// remember notes that the person has signed in with a browser, and answers what that keeps.
func (h *house) remember(u identity.User, value redact.Secret) (d identity.Device, keeps redact.Secret) {
	h.t.Helper()
	h.write(func(tx db.WriteTx) (err error) {
		d, keeps, err = h.dir.RememberDevice(ctx, tx, u, value, "192.0.2.7", "A browser")
		return err
	})
	return d, keeps
}

func (h *house) signInOn(device redact.Secret, name, secret string) error {
	_, err := h.dir.VerifyPersonPassword(ctx, "employees", name, redact.New(secret), identity.Origin{Device: device})
	return err
}

// A stranger who guesses makes the owner's known device wait for nothing, not even after a hundred guesses; and another
// person's device is a stranger's.
func TestStrangersDoNotHoldUpAKnownDevice(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane := h.person("employees", "jane", "", janes)
		_, mine := h.remember(jane, redact.Secret{})
		_, bobs := h.remember(h.person("employees", "bob", "", janes), redact.Secret{})
		for range identity.FreeTries {
			h.signInOn(redact.Secret{}, "jane", other)
		}
		for name, device := range map[string]redact.Secret{"a stranger": {}, "bob's device": bobs} {
			if err := h.signInOn(device, "jane", janes); !fault.Is(err, fault.Limited) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := h.signInOn(mine, "jane", janes); err != nil {
			t.Errorf("the known device: %v", err)
		}
		// What is wrong on the device itself is counted there, and holds up nobody else.
		for range identity.FreeTries {
			h.signInOn(mine, "jane", other)
		}
		if err := h.signInOn(mine, "jane", janes); !fault.Is(err, fault.Limited) {
			t.Errorf("the known device after wrong passwords of its own: %v", err)
		}
		h.clock.Advance(time.Minute)
		if err := h.signInOn(redact.Secret{}, "jane", janes); err != nil {
			t.Errorf("a stranger with the password: %v", err)
		}
	})
}

// After a hundred wrong passwords in a row none is looked at any more, from strangers, until there is another one or
// something stronger; nothing tells whoever guesses.
func TestTooManyInARowTurnPasswordsOff(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane := h.person("employees", "jane", "", janes)
		_, mine := h.remember(jane, redact.Secret{})
		flood := func() {
			for range identity.TriesInARow {
				h.clock.Advance(20 * time.Minute) // slowly, so that nothing waits
				if err := h.signInOn(redact.Secret{}, "jane", other); !errors.Is(err, identity.ErrCredentials) {
					t.Fatal(err)
				}
				if _, err := h.dir.SweepAttempts(ctx); err != nil {
					t.Fatal(err)
				}
			}
			h.clock.Advance(time.Hour)
			before := h.pool.Evaluations()
			if err := h.signInOn(redact.Secret{}, "jane", janes); err != identity.ErrCredentials || h.pool.Evaluations() != before+1 { //nolint:errorlint // the very same value
				t.Fatalf("after %d: %v", identity.TriesInARow, err)
			}
		}
		flood()
		if err := h.signInOn(mine, "jane", janes); err != nil {
			t.Errorf("the known device: %v", err)
		}
		h.write(func(tx db.WriteTx) error { return h.dir.SetPassword(ctx, tx, admin, jane.ID, redact.New(janes)) })
		if err := h.signInOn(redact.Secret{}, "jane", janes); err != nil {
			t.Errorf("after another password: %v", err)
		}
		flood()
		h.write(func(tx db.WriteTx) error { return h.dir.ForgetAttempts(ctx, tx, jane.ID) })
		if err := h.signInOn(redact.Secret{}, "jane", janes); err != nil {
			t.Errorf("after a passkey: %v", err)
		}
	})
}

func TestDevicesAreFewAndOnesOwn(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane, bob := h.person("employees", "jane", "", janes), h.person("employees", "bob", "", janes)
		var told []identity.Device
		h.dir.OnNewDevice(func(_ context.Context, _ db.WriteTx, u identity.User, d identity.Device) error {
			if u.ID == jane.ID {
				told = append(told, d)
			}
			return nil
		})
		first, keeps := h.remember(jane, redact.Secret{})
		again, kept := h.remember(jane, keeps)
		if again.ID != first.ID || kept.Reveal() != keeps.Reveal() || len(told) != 1 || !told[0].First {
			t.Errorf("again: %+v, told %+v", again, told)
		}
		his, shared := h.remember(bob, keeps)
		if shared.Reveal() != keeps.Reveal() || his.ID == first.ID {
			t.Errorf("two people, one browser: %+v", his)
		}
		for range 60 {
			h.clock.Advance(time.Second)
			h.remember(jane, redact.Secret{})
		}
		var list []identity.Device
		if err := h.d.Read(ctx, func(tx db.ReadTx) (err error) { list, err = identity.ListDevices(ctx, tx, jane.ID); return err }); err != nil || len(list) != 50 {
			t.Errorf("%d devices, %v", len(list), err)
		}
		c := access.Caller{Kind: access.Person, ID: jane.ID, Name: "jane", Realm: "employees"}
		for i, deviceID := range []string{his.ID, first.ID, "", "x"} {
			if err := h.d.Write(ctx, func(tx db.WriteTx) error { return h.dir.ForgetDevice(ctx, tx, c, deviceID) }); !fault.Is(err, fault.NotFound) {
				t.Errorf("forget %s: %v", strconv.Itoa(i), err)
			}
		}
		h.write(func(tx db.WriteTx) error { return h.dir.ForgetDevice(ctx, tx, c, list[0].ID) })
		h.clock.Advance(401 * 24 * time.Hour)
		if err := h.dir.SweepDevices(ctx); err != nil {
			t.Fatal(err)
		}
		if left, err := h.texts(`SELECT id FROM known_devices`); err != nil || len(left) != 0 {
			t.Errorf("left %v, %v", left, err)
		}
	})
}
