package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
)

// poll is a device code that a client brings, and what came of it.
type poll struct {
	client Client
	macs   [][]byte
	caller access.Caller
	asked  []string // resources

	// The outcome.
	grant    *grant
	scopes   []string
	audience []string
	token    redact.Secret // refresh token; empty: none
	err      error
}

// pollDevice is the grant device_code (RFC 8628 section 3.4).
func (p *people) pollDevice(r *http.Request, client Client, q parameters, t *tokenRequest) ([]byte, error) {
	code := redact.New(q.get("device_code"))
	if code.Empty() {
		return nil, refuse(invalidRequest, "device_code is missing.")
	}
	if !client.May(grantDeviceCode) {
		return nil, refuse(unauthorizedClient, "This client may not use this grant.")
	}
	if len(code.Bytes()) != len(devicePrefix)+secretLength {
		return nil, badCredentials()
	}
	if err := p.s.canEncrypt(r.Context(), client); err != nil {
		return nil, err
	}
	x := &poll{client: client, macs: p.Keyring.LookupMACs(macDevice, code), asked: q.all("resource"), caller: clientCaller(r, client)}
	if err := p.changes.Do(r.Context(), change{poll: x}); err != nil {
		return nil, notStored(err)
	}
	if x.err != nil {
		return nil, x.err
	}
	t.audience = x.audience
	return p.answer(r, t, x.client, x.grant, x.scopes, x.token, true)
}

func (p *people) writePolls(ctx context.Context, tx db.WriteTx, items []*poll) error {
	for _, x := range items {
		x.grant, x.scopes, x.audience, x.token, x.err = nil, nil, nil, redact.Secret{}, badCredentials()
		d, err := findDevice(ctx, tx, x.macs)
		if err != nil {
			return err
		}
		if d == nil || d.client != x.client.ID {
			continue // another client's code is no code: who else holds it ends nothing with it
		}
		if err := p.pollOne(ctx, tx, x, d); err != nil {
			return err
		}
	}
	return nil
}

func findDevice(ctx context.Context, tx db.ReadTx, macs [][]byte) (*device, error) {
	for _, mac := range macs {
		d, err := scanDevice(tx.QueryRow(ctx, selectDevice+`device_mac = $1`, mac))
		if errors.Is(err, db.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find a device that waits: %w", err)
		}
		return d, nil
	}
	return nil, nil
}

// pollOne decides about one poll. The code of a device that has its tokens is like an authorization code that was used:
// two hold it, nobody can say which of them is the thief, and so the grant ends.
func (p *people) pollOne(ctx context.Context, tx db.WriteTx, x *poll, d *device) error {
	now := tx.Now()
	if d.state == deviceUsed {
		return p.endByDevice(ctx, tx, x, d, "device_code_reuse")
	}
	if !now.Before(d.expires) {
		x.err = refuse(expiredToken, "The codes have expired. Ask for new ones.")
		return nil
	}
	if d.state == deviceDenied {
		x.err = refuse(accessDenied, "The person did not allow it.")
		return nil
	}
	if !d.polled.IsZero() && now.Sub(d.polled) < d.pause-pauseLeeway {
		d.pause = min(d.pause+devicePause, maxPause)
		x.err = refuse(slowDown, "Wait five seconds longer between two requests than before.")
		return notePoll(ctx, tx, d, now)
	}
	if d.state == devicePending {
		x.err = refuse(authorizationPending, "The person has not decided yet.")
		return notePoll(ctx, tx, d, now)
	}
	return p.fetch(ctx, tx, x, d)
}

func notePoll(ctx context.Context, tx db.WriteTx, d *device, now time.Time) error {
	if err := db.One(tx.Exec(ctx, `UPDATE device_authorizations SET polled = $2, pause = $3 WHERE device_mac = $1`,
		d.mac, db.Micros(now), int64(d.pause/time.Second))); err != nil {
		return fmt.Errorf("note that a device polled: %w", err)
	}
	return nil
}

// fetch gives the device what the person allowed, unless the person, the approval or the client has changed since.
func (p *people) fetch(ctx context.Context, tx db.WriteTx, x *poll, d *device) error {
	x.err = refuse(accessDenied, "What the person allowed is over.")
	grants, err := loadGrants(ctx, tx, byID, []any{d.grant})
	if err != nil {
		return err
	}
	if len(grants) == 0 || grants[0].ended || !bytes.Equal(grants[0].codeMAC, d.mac) || !grants[0].codeUsed.IsZero() {
		return leave(ctx, tx, d, deviceDenied)
	}
	g := grants[0]
	scopes, err := p.s.admit(admission{grant: grantDeviceCode, client: x.client, owner: g.owner()})
	if err != nil {
		if no := refusalOf(err); no.code != invalidGrant {
			x.err = err
		}
		if err := leave(ctx, tx, d, deviceDenied); err != nil {
			return err
		}
		return p.end(ctx, tx, g, "code_refused")
	}
	if x.audience, x.err = p.s.narrowResources(x.client, g.resources, x.asked); x.err != nil {
		return nil // it may ask for less
	}
	if err := leave(ctx, tx, d, deviceUsed); err != nil {
		return err
	}
	x.err, x.grant, x.scopes = nil, g, scopes
	x.token = p.redeem(g, x.client, scopes, tx.Now())
	return storeGrants(ctx, tx, grants)
}

// leave moves the device on from allowed, which it was when it was read in this transaction.
func leave(ctx context.Context, tx db.WriteTx, d *device, to string) error {
	if err := db.One(tx.Exec(ctx, `UPDATE device_authorizations SET state = $2 WHERE device_mac = $1 AND state = $3`, d.mac, to, deviceAllowed)); err != nil {
		return fmt.Errorf("use a device code: %w", err)
	}
	return nil
}

func (p *people) endByDevice(ctx context.Context, tx db.WriteTx, x *poll, d *device, why string) error {
	grants, err := loadGrants(ctx, tx, byID, []any{d.grant})
	if err != nil || len(grants) == 0 || grants[0].ended {
		return err
	}
	return p.endLoudly(ctx, tx, grants[0], x.caller, why)
}
