package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

const (
	macPushed = "pushed-request"
	// pushedPrefix is what RFC 9126 section 2.2 proposes. What follows is of 256 random bits.
	pushedPrefix = "urn:ietf:params:oauth:request_uri:"
	pushedLife   = 90 * time.Second
)

// pushedRequest is a request that its client sent to us directly, so that no browser could change or read it.
type pushedRequest struct {
	mac     []byte
	request string
}

// errNotPushed is the one answer to a name that is unknown, over, used, or another client's.
func errNotPushed() error {
	return page(http.StatusBadRequest, invalidRequestURI, "This request is over or was answered already. Go back to the application and try again.")
}

// proofs are the parameters by which a client proves itself. They are no part of the request.
var proofs = []string{"client_secret", "client_assertion", "client_assertion_type"}

// pushRequest is the endpoint that takes a request in advance (RFC 9126). It checks all that the authorization endpoint
// would, so that the client hears at once what is wrong, and checks it again when the person comes.
func (p *people) pushRequest(w http.ResponseWriter, r *http.Request) {
	uri, err := p.push(r)
	if err != nil {
		p.s.refused(w, r, err)
		return
	}
	b := appendText([]byte(`{"request_uri":`), uri)
	b = strconv.AppendInt(append(b, `,"expires_in":`...), int64(pushedLife.Seconds()), 10)
	answer(w, http.StatusCreated, append(b, '}'))
}

func (p *people) push(r *http.Request) (uri string, err error) {
	form, err := readForm(r)
	if err != nil {
		return "", err
	}
	client, err := p.s.authenticate(r, form, strictly)
	if err != nil {
		return "", err
	}
	if _, nested := form.find("request_uri"); nested {
		return "", refuse(invalidRequest, "A pushed request has no request_uri.")
	}
	if err := p.roomToPush(r.Context(), client); err != nil {
		return "", err
	}
	raw := pushedForm(client.ID, form)
	a, ok := readAnswers(raw)
	if !ok {
		return "", refuse(invalidRequest, "The request is too long.")
	}
	if raw, a, err = p.unwrap(r.Context(), raw, a); err != nil {
		return "", err
	}
	q, err := p.target(r.Context(), a)
	if err != nil {
		no := refusalOf(err)
		if no.status >= http.StatusInternalServerError {
			return "", err
		}
		return "", refuse(invalidRequest, "redirect_uri is missing, or not registered for this client.")
	}
	q.raw, q.pushed = raw, []byte{1} // it will be
	if err := p.check(q, a); err != nil {
		return "", err
	}
	return p.storePushed(r.Context(), q)
}

// pushedForm is what is stored: the parameters without the client's proof, in the client's name.
func pushedForm(clientID string, form parameters) string {
	var b strings.Builder
	b.WriteString("client_id=" + url.QueryEscape(clientID))
	for _, x := range form {
		if x.name != "client_id" && !slices.Contains(proofs, x.name) {
			b.WriteString("&" + url.QueryEscape(x.name) + "=" + url.QueryEscape(x.value))
		}
	}
	return b.String()
}

// roomToPush bounds how many rows anybody can make: a client that proves nothing by its name is counted by address.
func (p *people) roomToPush(ctx context.Context, client Client) error {
	l, key := p.pushes, limiterKey{client: client.ID}
	if !client.Confidential {
		// The machine itself is not counted, as in startFlow.
		if l, key = p.begun, newLimiterKey(route.ClientIP(ctx), ""); !key.network.IsValid() || key.network.Addr().IsLoopback() {
			return nil
		}
	}
	if wait := l.blocked(key); wait > 0 {
		return &refusal{status: http.StatusTooManyRequests, code: slowDown, retry: wait, description: "Too many requests were pushed. Try again later."}
	}
	l.failed(key)
	return nil
}

func (p *people) storePushed(ctx context.Context, q *authRequest) (uri string, err error) {
	secret := seal.NewSecret("")
	err = p.s.db.Write(ctx, func(tx db.WriteTx) error {
		now := tx.Now()
		return db.One(tx.Exec(ctx, `INSERT INTO pushed_requests (handle, client_id, request, created, expires, used) VALUES ($1, $2, $3, $4, $5, 0)`,
			p.Keyring.MAC(macPushed, secret), q.client.ID, q.raw, db.Micros(now), db.Micros(now.Add(pushedLife))))
	})
	if err != nil {
		return "", fmt.Errorf("store a pushed request: %w", err)
	}
	return pushedPrefix + secret.Reveal(), nil
}

// findPushed finds the request that the client pushed under this name, if it is still good.
func (p *people) findPushed(ctx context.Context, clientID, uri string) (found pushedRequest, err error) {
	secret := redact.New(strings.TrimPrefix(uri, pushedPrefix))
	if len(secret.Bytes()) != secretLength {
		return found, errNotPushed()
	}
	err = p.s.db.Read(ctx, func(tx db.ReadTx) error {
		for _, mac := range p.Keyring.LookupMACs(macPushed, secret) {
			var owner string
			var expires, used int64
			err := tx.QueryRow(ctx, `SELECT handle, client_id, request, expires, used FROM pushed_requests WHERE handle = $1`, mac).
				Scan(&found.mac, &owner, &found.request, &expires, &used)
			if errors.Is(err, db.ErrNoRows) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read a pushed request: %w", err)
			}
			if used != 0 || owner != clientID || !tx.Now().Before(db.Time(expires)) {
				return errNotPushed()
			}
			return nil
		}
		return errNotPushed()
	})
	return found, err
}

// usePushed marks a pushed request as answered; ok is false if it was. Its time is over once the browser has brought it:
// from then on the flow's own time counts. An empty name is no pushed request.
func usePushed(ctx context.Context, tx db.WriteTx, mac []byte) (ok bool, err error) {
	if len(mac) == 0 {
		return true, nil
	}
	rows, err := tx.Exec(ctx, `UPDATE pushed_requests SET used = $2 WHERE handle = $1 AND used = 0`, mac, db.Micros(tx.Now()))
	if err != nil {
		return false, fmt.Errorf("use a pushed request: %w", err)
	}
	return rows == 1, nil // the handle is the key: there is no second row
}
