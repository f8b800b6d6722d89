package keyset_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/keyset"
	"github.com/mintmark/mintmark/internal/outbound"
)

const address = "https://client.example.org/jwks"

// network answers what a test says, and counts who asks.
type network struct {
	mu     sync.Mutex
	answer outbound.Answer
	err    error
	asked  map[string]int
	wait   chan struct{} // answers come when it is closed; nil: at once
}

func (n *network) Do(ctx context.Context, r outbound.Request) (outbound.Answer, error) {
	n.mu.Lock()
	n.asked[r.URL]++
	wait := n.wait
	n.mu.Unlock()
	if wait != nil {
		<-wait
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.Method != http.MethodGet || r.Purpose != "jwks" || r.Body != nil {
		return outbound.Answer{}, fmt.Errorf("not how a key set is asked for: %+v", r)
	}
	return n.answer, errors.Join(n.err, ctx.Err())
}

func (n *network) count(at string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[at]
}

func (n *network) says(status int, body string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer, n.err = outbound.Answer{Status: status, Body: []byte(body)}, err
}

// setOf is a key set with these kids.
func setOf(t testing.TB, kids ...string) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, kid := range kids {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid})
	}
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type world struct {
	t     *testing.T
	net   *network
	clock *clock.Fake
	sets  *keyset.Sets
}

func newWorld(t *testing.T, change ...func(*keyset.Options)) *world {
	w := &world{t: t, net: &network{asked: map[string]int{}}, clock: clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))}
	o := keyset.Options{Outbound: w.net, Clock: w.clock}
	for _, f := range change {
		f(&o)
	}
	w.sets = keyset.New(o)
	return w
}

// has asserts which keys are had, "" for none, and how many fetches there were by then.
func (w *world) has(what string, newer bool, kids string, fetches int) {
	w.t.Helper()
	set, err := w.sets.Keys(w.t.Context(), "cli_a", address, newer)
	var got []string
	for _, k := range set.Keys {
		got = append(got, k.ID)
	}
	if strings.Join(got, " ") != kids || w.net.count(address) != fetches {
		w.t.Errorf("%s: keys %q after %d fetches, want %q after %d", what, got, w.net.count(address), kids, fetches)
	}
	if (err == nil) != (kids != "") || err != nil && !fault.Is(err, fault.Unavailable) {
		w.t.Errorf("%s: %v", what, err)
	}
}

// A copy is fresh for five minutes, and then fetched before it is believed.
func TestACopyIsFreshForAWhile(t *testing.T) {
	w := newWorld(t)
	w.net.says(200, setOf(t, "one"), nil)
	w.has("first", false, "one", 1)
	w.net.says(200, setOf(t, "two"), nil)
	w.clock.Advance(keyset.Fresh - time.Second)
	w.has("fresh", false, "one", 1)
	w.clock.Advance(time.Second)
	w.has("old", false, "two", 2) // the key that was taken away counts no more
}

// A key that is not known yet is looked for, at most once each half minute.
func TestNewerKeysAreLookedForOnceInAWhile(t *testing.T) {
	w := newWorld(t)
	w.net.says(200, setOf(t, "one"), nil)
	w.has("first", false, "one", 1)
	w.net.says(200, setOf(t, "one", "two"), nil)
	for range 1000 {
		w.has("at once", true, "one", 1)
	}
	w.clock.Advance(keyset.Pause)
	w.has("later", true, "one two", 2)
	for range 1000 {
		w.has("again", true, "one two", 2)
	}
}

// What cannot be fetched leaves the last good copy, for an hour; and none is fetched for in vain all the time.
func TestTheLastGoodCopyCountsOn(t *testing.T) {
	for name, bad := range map[string]struct {
		status int
		body   string
		err    error
	}{
		"no answer":   {0, "", errors.New("refused")},
		"a redirect":  {0, "", outbound.ErrRedirect},
		"status 500":  {500, setOf(t, "evil"), nil},
		"status 204":  {204, "", nil},
		"no JSON":     {200, "<html>", nil},
		"no set":      {200, `{"keys":{}}`, nil},
		"empty":       {200, `{"keys":[]}`, nil},
		"private key": {200, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, nil},
		"a bad key":   {200, strings.Replace(setOf(t, "evil", "two"), `"x":"`, `"x":"AAAA`, 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.net.says(bad.status, bad.body, bad.err)
			w.has("never had", false, "", 1)
			for range 100 {
				w.has("at once again", false, "", 1) // so that this address costs one call, and not one for each who asks
			}
			w.clock.Advance(keyset.Pause)
			w.has("later", false, "", 2)
			w.net.says(200, setOf(t, "one"), nil)
			w.clock.Advance(keyset.Pause)
			w.has("mended", false, "one", 3)
			w.net.says(bad.status, bad.body, bad.err)
			w.clock.Advance(keyset.Fresh)
			w.has("old", false, "one", 4)
			w.has("old, and just tried", false, "one", 4)
			w.clock.Advance(keyset.Kept - keyset.Fresh - time.Second)
			w.has("the last second", false, "one", 5)
			w.clock.Advance(time.Second)
			w.has("too old", false, "", 5)
		})
	}
}

// Many who ask at once make one call. It goes on when the one who made it is gone, and waits for nobody else.
func TestManyAtOnceAreOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.net.says(200, setOf(t, "one"), nil)
		w.net.wait = make(chan struct{})
		first, cancel := context.WithCancel(t.Context())
		results := make(chan error, 101)
		ask := func(ctx context.Context) {
			_, err := w.sets.Keys(ctx, "cli_a", address, false)
			results <- err
		}
		go ask(first)
		synctest.Wait()
		for range 100 {
			go ask(t.Context())
		}
		synctest.Wait()
		cancel()
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := w.sets.Keys(gone, "cli_a", address, false); !fault.Is(err, fault.Unavailable) {
			t.Errorf("who is gone waits: %v", err)
		}
		close(w.net.wait)
		for range 101 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := w.net.count(address); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

// While one client's address is silent, and while many are, another client's fresh keys are had at once.
func TestASilentAddressIsItsOwnClientsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.net.says(200, setOf(t, "one"), nil)
		w.has("the other", false, "one", 1)
		w.net.wait = make(chan struct{})
		for i := range 40 {
			go w.sets.Keys(t.Context(), fmt.Sprintf("cli_%d", i), fmt.Sprintf("https://silent.example.org/%d", i), false)
		}
		synctest.Wait()
		w.has("meanwhile", false, "one", 1)
		called := 0
		for i := range 40 {
			called += w.net.count(fmt.Sprintf("https://silent.example.org/%d", i))
		}
		if called != 16 {
			t.Errorf("%d addresses are called at once", called)
		}
		close(w.net.wait)
		synctest.Wait()
		// Who found no place was not called, and need not wait to be.
		for i := range 40 {
			if _, err := w.sets.Keys(t.Context(), fmt.Sprintf("cli_%d", i), fmt.Sprintf("https://silent.example.org/%d", i), false); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

// Another address is another set; so is another client's at the same one.
func TestSetsAreOfOneClientAndAddress(t *testing.T) {
	w := newWorld(t)
	w.net.says(200, setOf(t, "one"), nil)
	w.has("first", false, "one", 1)
	if _, err := w.sets.Keys(t.Context(), "cli_a", address+"2", false); err != nil || w.net.count(address+"2") != 1 {
		t.Errorf("moved: %v, %d fetches", err, w.net.count(address+"2"))
	}
	if _, err := w.sets.Keys(t.Context(), "cli_b", address+"2", false); err != nil || w.net.count(address+"2") != 2 {
		t.Errorf("another client: %v, %d fetches", err, w.net.count(address+"2"))
	}
	w.net.says(0, "", errors.New("gone"))
	w.has("moved back", false, "", 2) // what was there before is forgotten
}

// The addresses of clients that strangers registered take no place from those of others, in memory or on the wire.
func TestStrangersHaveTheirOwnBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{asked: map[string]int{}}
		sets := keyset.NewClients(keyset.Options{Outbound: n, Clock: clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)), Capacity: 2, AtOnce: 2})
		n.says(200, setOf(t, "one"), nil)
		ask := func(client string, untrusted bool) error {
			_, err := sets.Keys(t.Context(), client, untrusted, "https://"+client+".example.org/", false)
			return err
		}
		if err := ask("ours", false); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			if err := ask(fmt.Sprintf("stranger%d", i), true); err != nil {
				t.Fatal(err)
			}
		}
		if err := ask("ours", false); err != nil || n.count("https://ours.example.org/") != 1 {
			t.Errorf("strangers pushed it out: %v after %d fetches", err, n.count("https://ours.example.org/"))
		}
		n.wait = make(chan struct{})
		for i := range 10 {
			go ask(fmt.Sprintf("silent%d", i), true)
		}
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- ask("new", false) }()
		synctest.Wait()
		if n.count("https://new.example.org/") != 1 {
			t.Error("strangers' silent addresses keep another client's from being asked")
		}
		close(n.wait)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// So many sets are kept; the one that was not used for longest goes.
func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t, func(o *keyset.Options) { o.Capacity = 2 })
	w.net.says(200, setOf(t, "one"), nil)
	ask := func(client string, fetches int) {
		t.Helper()
		at := "https://" + client + ".example.org/"
		if _, err := w.sets.Keys(t.Context(), client, at, false); err != nil || w.net.count(at) != fetches {
			t.Errorf("%s: %d fetches, want %d: %v", client, w.net.count(at), fetches, err)
		}
	}
	ask("a", 1)
	ask("b", 1)
	ask("a", 1)
	ask("c", 1) // b goes
	ask("a", 1)
	ask("b", 2)
	ask("c", 2)
}
