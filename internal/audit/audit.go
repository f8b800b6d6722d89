// Package audit keeps the log of who did what, in a form that shows every later change to it.
//
// What it guards:
//   - An event commits with the change that it tells of, or neither does (Record).
//   - Every committed event gets exactly one place in one order, over all nodes and crashes (sequencer.go).
//   - The order is a Merkle tree (RFC 6962) whose root is signed as it grows (checkpoint.go). Whoever can write the
//     database can still change it, but Verify (verify.go) then names the first record that was edited, deleted, moved
//     or cut off; and if he rewrites the whole log and takes the checkpoints away, a checkpoint that was kept elsewhere
//     contradicts him.
//   - No secret gets in: events carry names, ids and reasons. Details are for the same; a redact.Secret in them is masked.
//   - Nobody fills the disk with denials (denials.go).
//
// Between a commit and the next batch (a quarter of a second) an event is in the table without a place; Verify counts
// those.
package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
)

// Outcome is how it ended.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Denied  Outcome = "denied" // the caller may not
	Failed  Outcome = "failed" // it was allowed and did not work
)

// Event is what happened.
type Event struct {
	Action     string // noun.verb, such as "application.write": the words of package access where it has one
	Outcome    Outcome
	Reason     string // a stable code, such as "forbidden"
	Caller     access.Caller
	TargetType string // such as "application"
	TargetID   string
	Details    map[string]any // becomes JSON; never a secret, not even its hash
}

// Stored is an event as the database holds it.
type Stored struct {
	Seq       int64 // its place in the log from 1 on; 0: none yet
	ID        string
	At        time.Time
	Action    string
	Outcome   Outcome
	Reason    string
	ActorKind string
	ActorID   string
	ActorName string
	Realm     string
	ClientID  string
	IP        string
	RequestID string

	TargetType string
	TargetID   string
	Details    string // JSON object, the very bytes that were hashed
}

const (
	maxText    = 512     // of each text but Details
	maxDetails = 8 << 10 // of Details as JSON
)

var actionGrammar = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}\.[a-z][a-z0-9_]{0,31}$`)

// columns of a Stored but Seq, in the order of fields.
const columns = `id, at, action, outcome, reason, actor_kind, actor_id, actor_name, realm, client_id, ip, request_id, target_type, target_id, details`

// Record writes the event into the caller's transaction: it commits with the change. An event with an action that is not
// noun.verb, an unknown outcome or details that are no JSON is a mistake of the calling code, and an error.
func Record(ctx context.Context, tx db.WriteTx, e Event) error {
	s, err := e.store(tx.Now())
	if err != nil {
		return err
	}
	rows, err := tx.Exec(ctx, `INSERT INTO audit_events (`+columns+`, placed, about)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, FALSE, $16)`,
		s.ID, db.Micros(s.At), s.Action, string(s.Outcome), s.Reason, s.ActorKind, s.ActorID, s.ActorName, s.Realm,
		s.ClientID, s.IP, s.RequestID, s.TargetType, s.TargetID, s.Details, e.about())
	if err != nil {
		return fmt.Errorf("record %s: %w", e.Action, err)
	}
	if rows != 1 {
		return fmt.Errorf("record %s: %d rows were written where one was meant", e.Action, rows)
	}
	tx.AfterCommit(func() {
		recorded.WithLabelValues(string(s.Outcome)).Inc()
		bell.ring()
	})
	return nil
}

// Done records that the caller did the action to the target: what nearly every change has to tell.
func Done(ctx context.Context, tx db.WriteTx, c access.Caller, action, targetType, targetID string, details map[string]any) error {
	return Record(ctx, tx, Event{Action: action, Outcome: Success, Caller: c, TargetType: targetType, TargetID: targetID, Details: details})
}

func (e Event) store(now time.Time) (Stored, error) {
	if !actionGrammar.MatchString(e.Action) {
		return Stored{}, fmt.Errorf("audit: action %q is not noun.verb", e.Action)
	}
	if e.Outcome != Success && e.Outcome != Denied && e.Outcome != Failed {
		return Stored{}, fmt.Errorf("audit: outcome %q of %s is unknown", e.Outcome, e.Action)
	}
	if e.Caller.Agent != "" {
		e.Details = maps.Clone(e.Details)
		if e.Details == nil {
			e.Details = map[string]any{}
		}
		e.Details["agent"] = clean(e.Caller.Agent)
	}
	details, err := encodeDetails(e.Details)
	if err != nil {
		return Stored{}, fmt.Errorf("audit: details of %s: %w", e.Action, err)
	}
	kind := string(e.Caller.Kind)
	if e.Caller.Kind == access.Anonymous {
		kind = "anonymous"
	}
	return Stored{
		ID: id.New(id.Event, now), At: now, Action: e.Action, Outcome: e.Outcome, Reason: clean(e.Reason),
		ActorKind: kind, ActorID: clean(e.Caller.ID), ActorName: clean(e.Caller.Name), Realm: clean(e.Caller.Realm),
		ClientID: clean(e.Caller.ClientID), IP: clean(e.Caller.IP), RequestID: clean(e.Caller.RequestID),
		TargetType: clean(e.TargetType), TargetID: clean(e.TargetID), Details: details,
	}, nil
}

// encodeDetails is JSON with sorted keys. What is too long is replaced by its length and hash: an event is never lost
// for its details.
func encodeDetails(details map[string]any) (string, error) {
	if len(details) == 0 {
		return "{}", nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(details); err != nil {
		return "", err
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(text) > maxDetails {
		return fmt.Sprintf(`{"too_long":%d,"sha256":"%x"}`, len(text), sha256.Sum256(text)), nil
	}
	return string(text), nil
}

// clean makes a text that may come from anybody fit to be stored: valid UTF-8 without NUL, which PostgreSQL does not
// take, and not too long.
func clean(s string) string {
	if len(s) > maxText {
		cut := maxText
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// fields are the scan targets of columns.
func (s *Stored) fields(at *int64) []any {
	return []any{&s.ID, at, &s.Action, &s.Outcome, &s.Reason, &s.ActorKind, &s.ActorID, &s.ActorName, &s.Realm,
		&s.ClientID, &s.IP, &s.RequestID, &s.TargetType, &s.TargetID, &s.Details}
}

// record is what the log commits to: every field with its length in front, so that one event has one form and no two
// events share one. The form must never change; a new field needs a new first line.
func (s *Stored) record() []byte {
	b := make([]byte, 0, 512)
	text := func(t string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(t)))
		b = append(b, t...)
	}
	text("mintmark audit event 1")
	text(s.ID)
	b = binary.BigEndian.AppendUint64(b, uint64(s.At.UnixMicro()))
	for _, t := range []string{s.Action, string(s.Outcome), s.Reason, s.ActorKind, s.ActorID, s.ActorName, s.Realm,
		s.ClientID, s.IP, s.RequestID, s.TargetType, s.TargetID, s.Details} {
		text(t)
	}
	return b
}

func (s *Stored) leaf() tlog.Hash { return tlog.RecordHash(s.record()) }
