package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/redact"
)

func errRegistrationToken() error {
	return fault.New(fault.Unauthenticated, "invalid_token", "This needs a token for registration that is good.")
}

// registered reads a client by its registration access token (RFC 7592 section 3). A client that is disabled, or whose
// token it is not, is one answer.
func (r *Registry) registered(ctx context.Context, tx db.ReadTx, clientID string, token redact.Secret) (StandaloneClient, policy, error) {
	none := func(err error) (StandaloneClient, policy, error) { return StandaloneClient{}, policy{}, err }
	var mac []byte
	var text string
	err := tx.QueryRow(ctx, `SELECT mac, policy FROM client_registrations WHERE client_id = $1`, clientID).Scan(&mac, &text)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return none(fmt.Errorf("read a registration: %w", err))
	}
	if token.Empty() || len(token.Bytes()) > maxSecret || !r.keyring.VerifyMAC(registrationKind, token, mac) {
		return none(errRegistrationToken())
	}
	n, err := LoadStandalone(ctx, tx, clientID)
	if fault.Is(err, fault.NotFound) || err == nil && !n.Disabled.IsZero() {
		return none(errRegistrationToken())
	}
	if err != nil {
		return none(err)
	}
	var p policy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return none(fmt.Errorf("read the policy of a registration: %w", err))
	}
	return n, p, nil
}

func storedKeys(ctx context.Context, tx db.ReadTx, clientID string) ([]jose.Key, error) {
	list, err := listKeys(ctx, tx, clientID)
	if err != nil {
		return nil, err
	}
	keys := make([]jose.Key, 0, len(list))
	for _, k := range list {
		key, err := jose.ParseKey([]byte(k.JWK))
		if err != nil {
			return nil, fmt.Errorf("read a key of a client: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// readRegistration answers what is registered. A secret is never shown again.
func (r *Registry) readRegistration(ctx context.Context, tx db.ReadTx, clientID string, token redact.Secret) (registration, error) {
	n, _, err := r.registered(ctx, tx, clientID, token)
	if err != nil {
		return registration{}, err
	}
	keys, err := storedKeys(ctx, tx, clientID)
	return r.told(n, keys, redact.Secret{}, token), err
}

// changeRegistration replaces what is registered; what is not said is not registered any more. Another way to prove the
// client gives it another secret, which is in the answer.
func (r *Registry) changeRegistration(ctx context.Context, tx db.WriteTx, clientID string, token redact.Secret, in registration, keys []jose.Key) (registration, error) {
	none := func(err error) (registration, error) { return registration{}, err }
	n, p, err := r.registered(ctx, tx, clientID, token)
	if err != nil {
		return none(err)
	}
	if in.ClientID != clientID {
		return none(fault.New(fault.Invalid, "invalid_client_metadata", "client_id must be the client's."))
	}
	if in.ClientSecret != "" {
		if ok, err := r.hasSecret(ctx, tx, clientID, redact.New(in.ClientSecret)); err != nil || !ok {
			return none(errors.Join(err, fault.New(fault.Invalid, "invalid_client_metadata", "client_secret is not one of the client's.")))
		}
	}
	if n.Untrusted {
		if err := checkStranger(ctx, tx, in.ClientName); err != nil {
			return none(err)
		}
	}
	settings, confidential, err := in.settings(p, n.Untrusted)
	if err != nil {
		return none(err)
	}
	if confidential != n.Confidential {
		return none(fault.New(fault.Invalid, "invalid_client_metadata", "A client cannot become public or confidential afterwards: register another one."))
	}
	scopes, err := ownerScopes(ctx, tx, in.Scope, p)
	if err != nil {
		return none(err)
	}
	c := registrar(ctx)
	before := n.Settings.Metadata.AuthMethod
	if n, err = r.UpdateClient(ctx, tx, c, clientID, ClientChange{Settings: &settings, OwnerScopes: &scopes}, func(int64) error { return nil }); err != nil {
		return none(err)
	}
	if err := replaceKeys(ctx, tx, c, clientID, keys); err != nil {
		return none(err)
	}
	if err := checkKeys(ctx, tx, clientID, settings.Metadata); err != nil {
		return none(err)
	}
	secret, err := r.reissue(ctx, tx, c, n, before)
	if err != nil {
		return none(err)
	}
	return r.told(n, keys, secret, token), nil
}

func (r *Registry) hasSecret(ctx context.Context, tx db.ReadTx, clientID string, secret redact.Secret) (bool, error) {
	list, err := loadLabelled(ctx, tx, clientID)
	if err != nil {
		return false, err
	}
	ok := false
	for _, s := range list {
		if r.keyring.VerifyMAC(secretKind, secret, s.mac) && !s.ended(tx.Now()) {
			ok = true
		}
	}
	return ok, nil
}

// reissue gives the client a secret of the form that its new method needs, and ends the old ones.
func (r *Registry) reissue(ctx context.Context, tx db.WriteTx, c access.Caller, n StandaloneClient, before string) (redact.Secret, error) {
	form := func(method string) string {
		if method == AuthPrivateKeyJWT || method == AuthClientSecretJWT {
			return method
		}
		return ""
	}
	method := n.Settings.Metadata.AuthMethod
	if !n.Confidential || form(method) == form(before) {
		return redact.Secret{}, nil
	}
	if _, err := tx.Exec(ctx, `DELETE FROM client_shared_secrets WHERE client_id = $1`, n.ID); err != nil {
		return redact.Secret{}, fmt.Errorf("end the secrets of a client: %w", err)
	}
	if method == AuthPrivateKeyJWT {
		return redact.Secret{}, nil
	}
	_, secret, err := r.insertSecret(ctx, tx, c, n.ID, "registered", r.secretEnd(tx.Now(), r.o.Registration.SecretLife), method == AuthClientSecretJWT)
	if err != nil {
		return redact.Secret{}, err
	}
	return secret, audit.Done(ctx, tx, c, "client_secret.create", "client", n.ID, map[string]any{"label": "registered"})
}

func (r *Registry) secretEnd(now time.Time, life time.Duration) time.Time {
	if life == 0 {
		return time.Time{}
	}
	return now.Add(life)
}

// deleteRegistration removes the client.
func (r *Registry) deleteRegistration(ctx context.Context, tx db.WriteTx, clientID string, token redact.Secret) error {
	n, _, err := r.registered(ctx, tx, clientID, token)
	if err != nil {
		return err
	}
	return r.remove(ctx, tx, registrar(ctx), n)
}

// Sweep removes registered clients that nobody used in time, and what is left of registrations that count no more. It
// works in small steps, so that no transaction is long.
func (r *Registry) Sweep(ctx context.Context) error {
	if err := r.Flush(ctx); err != nil { // so that every use on this node is seen
		return err
	}
	const few, steps = 20, 100
	for range steps {
		var due []clientRow
		if err := r.d.Read(ctx, func(tx db.ReadTx) (err error) {
			// A use that another node noted is written within a second or two.
			due, err = listRows(ctx, tx, selectClient+` WHERE c.application IS NULL AND c.expires > 0 AND c.expires < $1 ORDER BY c.expires, c.id LIMIT $2`,
				db.Micros(tx.Now().Add(-time.Minute)), few)
			return err
		}); err != nil {
			return fmt.Errorf("look for clients that were not used: %w", err)
		}
		for _, row := range due {
			if err := r.d.Write(ctx, func(tx db.WriteTx) error { return r.expire(ctx, tx, row.ID) }); err != nil {
				return fmt.Errorf("remove a client that was not used: %w", err)
			}
		}
		if len(due) < few {
			break
		}
	}
	_, err := r.d.RemoveExpired(ctx, db.Expiry{Table: "client_registrations", Key: "client_id", Column: "ended", Keep: anonymousWindow, And: "ended > 0"})
	return err
}

// expire removes the client unless it was used; then it stays for good.
func (r *Registry) expire(ctx context.Context, tx db.WriteTx, clientID string) error {
	n, err := LoadStandalone(ctx, tx, clientID)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var used bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM client_shared_secrets WHERE client_id = $1 AND last_used > 0)
		OR EXISTS (SELECT 1 FROM client_keys WHERE client_id = $1 AND last_used > 0)`, clientID).Scan(&used); err != nil {
		return fmt.Errorf("look for uses of a client: %w", err)
	}
	for _, by := range r.usedBy {
		if used {
			break
		}
		if used, err = by(ctx, tx, clientID); err != nil {
			return err
		}
	}
	if used {
		return r.setClient(ctx, tx, `expires = $2`, clientID, 0)
	}
	return r.remove(ctx, tx, access.SystemCaller(registrarName), n)
}
