package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	// maxFed is how many revocations one answer of the feed holds. It is cut where a second ends, so that a verifier
	// which asks again from the last second that it got misses none.
	maxFed = 20_000
	// feedsAtOnce bounds how many read the feed at a time: it is public, and costs more than a token.
	feedsAtOnce = 4
)

// fedRevocation is a revocation as verifiers of this family read it.
type fedRevocation struct {
	Type    string     `json:"type"`
	Revoked int64      `json:"revoked_at"`
	Data    fedDetails `json:"data"`
}

type fedDetails struct {
	TokenHash string   `json:"token_hash,omitempty"`
	ValueHash string   `json:"value_hash,omitempty"`
	Names     []string `json:"names,omitempty"`
	Algorithm string   `json:"hash_algorithm,omitempty"`
	Separator string   `json:"separator,omitempty"`
	Before    int64    `json:"issued_before"`
}

type fedMeta struct {
	MaxDelta    int64 `json:"MAX_TIME_DELTA"`
	RefreshFrom int64 `json:"REFRESH_FROM,omitempty"`
	RefreshSaid int64 `json:"REFRESH_TIMESTAMP,omitempty"`
}

// fed is what the feed answers.
type fed struct {
	Meta        fedMeta         `json:"meta"`
	Revocations []fedRevocation `json:"revocations"`
}

// getRevocations is the feed for services that check tokens by themselves, with the key set: what was revoked after the
// second from. It is public and tells hashes alone.
func (s *Server) getRevocations(w http.ResponseWriter, r *http.Request) {
	from, err := feedFrom(r.URL.RawQuery, s.clock.Now())
	if err != nil {
		route.WriteProblem(w, r, err)
		return
	}
	select {
	case s.feeds <- struct{}{}:
		defer func() { <-s.feeds }()
	default:
		route.WriteProblem(w, r, fault.New(fault.Unavailable, "busy", "Many verifiers ask just now. Try again.").Retry(time.Second))
		return
	}
	var out fed
	err = s.db.Read(r.Context(), func(tx db.ReadTx) (err error) {
		out, err = s.readFeed(r.Context(), tx, from)
		return err
	})
	if err != nil {
		route.WriteProblem(w, r, err)
		return
	}
	body, err := json.Marshal(out)
	if err != nil {
		route.WriteProblem(w, r, err)
		return
	}
	s.metrics.fed.Add(float64(len(out.Revocations)))
	answer(w, http.StatusOK, body)
}

// feedFrom reads the one parameter.
func feedFrom(query string, now time.Time) (from int64, err error) {
	bad := fault.New(fault.Invalid, "from", "Give from: a Unix time in seconds of the last 31 days.")
	values, err := url.ParseQuery(query)
	if err != nil || len(values["from"]) != 1 || len(values) != 1 {
		return 0, bad
	}
	from, err = strconv.ParseInt(values.Get("from"), 10, 64)
	if err != nil || from < now.Add(-keepCoverings).Unix() || from > now.Add(keepCoverings).Unix() {
		return 0, bad
	}
	return from, nil
}

// readFeed collects what was revoked after the second from, the oldest first.
func (s *Server) readFeed(ctx context.Context, tx db.ReadTx, from int64) (out fed, err error) {
	out.Meta.MaxDelta = int64(keepCoverings / time.Second)
	err = tx.QueryRow(ctx, `SELECT since, said FROM revocation_refresh WHERE one = 1`).Scan(&out.Meta.RefreshFrom, &out.Meta.RefreshSaid)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return out, fmt.Errorf("read the last refresh: %w", err)
	}
	after := db.Micros(time.Unix(from+1, 0)) - 1
	out.Revocations = []fedRevocation{}
	for _, part := range []struct {
		query string
		read  func(row db.Row) (fedRevocation, error)
	}{
		{`SELECT jti, token_hash, revoked FROM revoked_tokens WHERE revoked > $1 ORDER BY revoked LIMIT $2`, s.fedToken},
		{`SELECT names, claim_values, issued_before, revoked FROM revocations WHERE revoked > $1 ORDER BY revoked LIMIT $2`, s.fedCovering},
	} {
		list, err := readFed(ctx, tx, part.read, part.query, after)
		if err != nil {
			return out, err
		}
		out.Revocations = append(out.Revocations, list...)
	}
	slices.SortStableFunc(out.Revocations, func(a, b fedRevocation) int { return int(a.Revoked - b.Revoked) })
	out.Revocations = cutFeed(out.Revocations, maxFed)
	return out, nil
}

// cutFeed keeps at most so many of the oldest, without those of the last second, which may not be complete. If that leaves
// none, very many ended in one second: that is the end of everything that somebody held, which is told in one entry of
// its own as well.
func cutFeed(list []fedRevocation, limit int) []fedRevocation {
	if len(list) < limit {
		return list
	}
	last := list[limit-1].Revoked
	whole := slices.IndexFunc(list, func(r fedRevocation) bool { return r.Revoked == last })
	if whole > 0 {
		return list[:whole]
	}
	return list[:limit]
}

func readFed(ctx context.Context, tx db.ReadTx, read func(db.Row) (fedRevocation, error), query string, after int64) ([]fedRevocation, error) {
	rows, err := tx.Query(ctx, query, after, maxFed)
	if err != nil {
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	defer rows.Close()
	var list []fedRevocation
	for rows.Next() {
		r, err := read(rows)
		if err != nil {
			return nil, fmt.Errorf("read revocations: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

const hashAlgorithm = "SHA-256"

// fedToken tells of one token by its hash, if that is known, and of others and of grants by the claim that names them.
func (s *Server) fedToken(row db.Row) (fedRevocation, error) {
	var name, hash string
	var micros int64
	err := row.Scan(&name, &hash, &micros)
	at := db.Time(micros).Unix()
	if hash != "" {
		return fedRevocation{revokeToken, at, fedDetails{TokenHash: hash, Algorithm: hashAlgorithm, Before: at + 1 + int64(aheadLeeway/time.Second)}}, err
	}
	claim := "jti"
	if id.Is(name, id.Grant) {
		claim = "grant_id"
	}
	return s.fedClaim([]string{claim}, []string{name}, at+1+int64(aheadLeeway/time.Second), at), err
}

func (s *Server) fedCovering(row db.Row) (fedRevocation, error) {
	var names, values string
	var before, micros int64
	if err := row.Scan(&names, &values, &before, &micros); err != nil {
		return fedRevocation{}, err
	}
	at := db.Time(micros).Unix()
	v, ok := storedCovering(names, values, db.Time(before).Unix())
	if !ok {
		return fedRevocation{}, errors.New("a revocation has other values than names")
	}
	if len(v.names) == 0 {
		return fedRevocation{revokeGlobal, at, fedDetails{Before: v.before}}, nil
	}
	return s.fedClaim(v.names, v.values, v.before, at), nil
}

func (s *Server) fedClaim(names, values []string, before, at int64) fedRevocation {
	outward := slices.Clone(values)
	if i := slices.Index(names, "realm"); i >= 0 {
		outward[i] = s.outward(outward[i]) // as it stands in the token
	}
	const separator = "|"
	return fedRevocation{revokeClaim, at, fedDetails{
		Names: names, ValueHash: s.saltedHash(strings.Join(outward, separator)), Algorithm: hashAlgorithm, Separator: separator, Before: before,
	}}
}

// refreshFrom has every node read its revocations again, and verifiers theirs since then.
func (s *Server) refreshFrom(ctx context.Context, tx db.WriteTx, from time.Time) error {
	now := tx.Now()
	if from.After(now) || from.Before(now.Add(-keepCoverings)) {
		return fault.New(fault.Invalid, "from", "from must lie within the last 31 days.")
	}
	n, err := tx.Exec(ctx, `INSERT INTO revocation_refresh (one, since, said) VALUES (1, $1, $2)
		ON CONFLICT (one) DO UPDATE SET since = excluded.since, said = excluded.said`, from.Unix(), now.Unix())
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows", n)
	}
	if err != nil {
		return fmt.Errorf("store the refresh: %w", err)
	}
	return s.revoked.announce(ctx, tx)
}
