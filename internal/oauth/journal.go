package oauth

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
)

const (
	// journalPeriod is how often what was counted becomes events of the audit log.
	journalPeriod = time.Minute
	// journalKeys bounds what is counted apart within a period. What comes on top is counted together.
	journalKeys = 2048
	// journalBatch is how many events one transaction writes.
	journalBatch = 200
)

// act is something that happened too often to have an event of its own. All its texts are of our own making or checked,
// so that a stranger can neither write into the log nor fill the memory.
type act struct {
	action  string
	outcome audit.Outcome
	reason  string
	client  string
	realm   string
	grant   string
	ip      string // only for failures
}

// journal counts the stateless acts: tokens issued, tokens verified, clients that failed to authenticate. Each minute it
// writes the counts to the audit log, one event for each client and outcome. A caller never waits for it.
//
// What a killed process had not written is lost: at most a minute of counts. Acts that change something do not come here,
// they are recorded with the change.
type journal struct {
	db    *db.DB
	clock clock.Clock
	log   *slog.Logger

	mu     sync.Mutex
	counts map[act]int64 // owned by mu
	since  time.Time     // owned by mu: begin of the period
}

func newJournal(d *db.DB, c clock.Clock, log *slog.Logger) *journal {
	return &journal{db: d, clock: c, log: log, counts: map[act]int64{}, since: c.Now()}
}

func (j *journal) note(a act) { j.add(a, 1) }

func (j *journal) add(a act, n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	room := journalKeys
	if a.ip != "" {
		room /= 2 // a stranger makes clients up; what he cannot do is push those who did prove themselves together
	}
	if _, known := j.counts[a]; !known && len(j.counts) >= room {
		a.client, a.ip = "(others)", ""
	}
	j.counts[a] += n
}

// flush writes what was counted. If the database cannot take it, it is kept for the next time.
func (j *journal) flush(ctx context.Context) error {
	j.mu.Lock()
	counts, since := j.counts, j.since
	j.counts, j.since = map[act]int64{}, j.clock.Now()
	j.mu.Unlock()
	batch := make(map[act]int64, journalBatch)
	for len(counts) > 0 {
		clear(batch)
		for a, n := range counts {
			if batch[a] = n; len(batch) == journalBatch {
				break
			}
		}
		if err := j.write(ctx, batch, since); err != nil {
			for a, n := range counts {
				j.add(a, n)
			}
			return err
		}
		maps.DeleteFunc(counts, func(a act, _ int64) bool { _, written := batch[a]; return written })
	}
	return nil
}

func (j *journal) write(ctx context.Context, batch map[act]int64, since time.Time) error {
	err := j.db.Write(ctx, func(tx db.WriteTx) error {
		for a, n := range batch {
			if err := audit.Record(ctx, tx, a.event(n, since)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("journal of tokens: %w", err)
	}
	return nil
}

func (a act) event(n int64, since time.Time) audit.Event {
	details := map[string]any{"count": n, "since": since.Format(time.RFC3339)}
	for name, value := range map[string]string{"realm": a.realm, "grant": a.grant} {
		if value != "" {
			details[name] = value
		}
	}
	return audit.Event{
		Action: a.action, Outcome: a.outcome, Reason: a.reason,
		Caller:     access.Caller{Kind: access.Service, ID: a.client, Name: a.client, ClientID: a.client, Realm: a.realm, IP: a.ip},
		TargetType: "client", TargetID: a.client,
		Details: details,
	}
}

// run flushes each period until ctx ends, and once more then.
func (j *journal) run(ctx context.Context) {
	tick := time.NewTicker(journalPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := j.flush(ctx); err != nil && ctx.Err() == nil {
				j.log.WarnContext(ctx, "the counts of issued and verified tokens could not be written; trying again in a minute", "error", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := j.flush(last); err != nil {
				j.log.WarnContext(last, "the last counts of issued and verified tokens are lost", "error", err)
			}
			return
		}
	}
}

// harmless is a client id as a stranger sent it, if it can be one, and a placeholder otherwise.
func harmless(clientID string) string {
	if clientID == "" || len(clientID) > 64 {
		return "(malformed)"
	}
	for _, c := range []byte(clientID) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return "(malformed)"
		}
	}
	return clientID
}
