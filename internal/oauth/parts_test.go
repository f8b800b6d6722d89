package oauth

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
)

// Whatever is put in, the cache stays within its bound, and what is asked for again and again stays.
func TestTokenCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	const capacity = 320
	c := newTokenCache(capacity)
	hash := func(i int) tokenHash { return sha256.Sum256([]byte(strconv.Itoa(i))) }
	hot := &Claims{Subject: "hot"}
	c.put(hash(-1), hot)
	for i := range 20 * capacity {
		c.put(hash(i), &Claims{})
		if c.get(hash(-1)) != hot {
			t.Fatalf("what is in use was dropped after %d", i)
		}
	}
	if n := c.size(); n > capacity {
		t.Errorf("%d tokens, want at most %d", n, capacity)
	}
	if c.get(hash(0)) != nil {
		t.Error("the oldest is still there")
	}
	c.drop(hash(-1))
	if c.get(hash(-1)) != nil {
		t.Error("dropped, and still there")
	}
}

func TestLimiterIsBoundedAndKeepsWhoIsBlocked(t *testing.T) {
	now := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	l := newLimiter(now)
	guesser := newLimiterKey("192.0.2.1", "victim")
	for range failureLimit {
		if l.blocked(guesser) > 0 {
			t.Fatal("blocked too early")
		}
		l.failed(guesser)
	}
	if wait := l.blocked(guesser); wait != failureWindow {
		t.Errorf("blocked for %v", wait)
	}
	for i := range 3 * limiterKeys {
		l.failed(newLimiterKey("192.0.2.1", fmt.Sprintf("made-up-%d", i)))
	}
	if n := l.size(); n > limiterKeys {
		t.Errorf("%d entries, want at most %d", n, limiterKeys)
	}
	if l.blocked(guesser) == 0 {
		t.Error("a flood of made-up clients freed the guesser")
	}
	now.Advance(failureWindow)
	if l.blocked(guesser) != 0 {
		t.Error("still blocked after the window")
	}
	l.failed(guesser)
	if l.blocked(guesser) != 0 {
		t.Error("the count goes on from the last window")
	}
}

func TestLimiterTakesAnIPv6NetworkForOneAddress(t *testing.T) {
	if newLimiterKey("2001:db8::1", "c") != newLimiterKey("2001:db8::ffff:1", "c") {
		t.Error("two addresses of one /64 count apart")
	}
	if newLimiterKey("2001:db8::1", "c") == newLimiterKey("2001:db8:0:1::1", "c") {
		t.Error("two networks count together")
	}
	if newLimiterKey("::ffff:192.0.2.1", "c") != newLimiterKey("192.0.2.1", "c") {
		t.Error("an IPv4 address in IPv6 form counts apart")
	}
	if newLimiterKey("192.0.2.1", "c") == newLimiterKey("192.0.2.2", "c") {
		t.Error("two IPv4 addresses count together")
	}
}

func TestJournalIsBounded(t *testing.T) {
	j := &journal{clock: clock.System, counts: map[act]int64{}}
	for i := range 3 * journalKeys {
		j.note(act{action: "client.authenticate", outcome: audit.Denied, client: strconv.Itoa(i), ip: "192.0.2.1/32"})
	}
	var sum int64
	for _, n := range j.counts {
		sum += n
	}
	if len(j.counts) > journalKeys+1 || sum != 3*journalKeys {
		t.Errorf("%d entries that count %d acts", len(j.counts), sum)
	}
}

func TestRevocationsArePruned(t *testing.T) {
	v := &revocations{many: newCoverings(), expires: map[string]int64{}, again: make(chan struct{}, 1)}
	v.hear([]string{feedKey("a", time.Unix(100, 0)), feedKey("b", time.Unix(200, 0)), "garbage", ""})
	v.prune(time.Unix(150, 0))
	if v.revoked(&Claims{ID: "a", IssuedAt: time.Unix(1, 0)}) || !v.revoked(&Claims{ID: "b", IssuedAt: time.Unix(1, 0)}) || v.size() != 1 {
		t.Errorf("%v", v.expires)
	}
	v.hear(nil)
	v.hear(nil) // must not block
	if len(v.again) != 1 {
		t.Error("nobody was told to load again")
	}
}

// Failures of made-up clients must not hide which client got tokens.
func TestStrangersDoNotFillTheJournal(t *testing.T) {
	j := &journal{clock: clock.System, counts: map[act]int64{}}
	for i := range 3 * journalKeys {
		j.note(act{action: "client.authenticate", outcome: audit.Denied, client: "stranger-" + strconv.Itoa(i), ip: "192.0.2.1"})
	}
	issued := act{action: "token.issue", outcome: audit.Success, client: "cli_1", realm: "services", grant: grantPassword}
	j.note(issued)
	if j.counts[issued] != 1 {
		t.Error("a token that was issued is counted among the others")
	}
}
