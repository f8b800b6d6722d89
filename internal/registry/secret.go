package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
)

// ClientSecrets are what rotation turns: the versions of each client's secret.
//
// A public client has no secret. Its versions are empty: nothing ever matches them, and the document says null, so that
// the program that reads it finds the id.
type ClientSecrets struct{ r *Registry }

// ClientSecrets is the kind of credential that this package contributes to rotation.
func (r *Registry) ClientSecrets() ClientSecrets { return ClientSecrets{r} }

// secretPrefix tells scanners for leaked secrets what they found. It holds nothing that a URL or HTTP Basic changes.
const secretPrefix = "mmc_"

// secretKind separates the MACs of clients' secrets from all others.
const secretKind = "client-secret"

// Name is the kind's name.
func (ClientSecrets) Name() string { return "client-secret" }

// Object is the name of the document that applications read.
func (ClientSecrets) Object() string { return "client.json" }

// Rotates tells whether there is a secret to turn: the document of a public client is written once and stays good.
func (s ClientSecrets) Rotates(ctx context.Context, tx db.ReadTx, application string) (bool, error) {
	a, err := loadApplication(ctx, tx, application)
	return a.Confidential, err
}

// Prepare makes a version of the client's secret and the document that tells it. It is accepted from the commit on.
func (s ClientSecrets) Prepare(ctx context.Context, tx db.WriteTx, application string, version int64) (redact.Secret, error) {
	a, err := loadApplication(ctx, tx, application)
	if err != nil {
		return redact.Secret{}, err
	}
	if !a.Active {
		return redact.Secret{}, fault.New(fault.Conflict, "application_inactive", "Application %s is not active.", application)
	}
	var value *string // null for a public client
	if a.Confidential {
		secret, err := s.r.secrets.Prepare(ctx, tx, a.ClientID, version, secretPrefix)
		if err != nil {
			return redact.Secret{}, err
		}
		text := secret.Reveal()
		value = &text
	} else if err := s.r.secrets.PrepareEmpty(ctx, tx, a.ClientID, version); err != nil {
		return redact.Secret{}, err
	}
	document, err := json.Marshal(struct {
		ID     string  `json:"client_id"`
		Secret *string `json:"client_secret"`
	}{a.ClientID, value})
	if err != nil {
		return redact.Secret{}, errors.New("write client document") // the cause could quote the secret
	}
	return redact.FromBytes(document), s.changed(ctx, tx, a.ClientID)
}

// Activate makes the version the one to use.
func (s ClientSecrets) Activate(ctx context.Context, tx db.WriteTx, application string, version int64) error {
	clientID, err := s.clientID(ctx, tx, application)
	if err != nil {
		return err
	}
	if err := s.r.secrets.Activate(ctx, tx, clientID, version); err != nil {
		return err
	}
	return s.changed(ctx, tx, clientID)
}

// Retire refuses the version from the commit on: on this node at once, on the others within a second.
func (s ClientSecrets) Retire(ctx context.Context, tx db.WriteTx, application string, version int64) error {
	clientID, err := s.clientID(ctx, tx, application)
	if err != nil {
		return err
	}
	if err := s.r.secrets.Retire(ctx, tx, clientID, version); err != nil {
		return err
	}
	return s.changed(ctx, tx, clientID)
}

// LastUsed tells when each version was last seen in use.
func (s ClientSecrets) LastUsed(ctx context.Context, tx db.ReadTx, application string) (map[int64]time.Time, error) {
	clientID, err := s.clientID(ctx, tx, application)
	if err != nil {
		return nil, err
	}
	return s.r.secrets.LastUsed(ctx, tx, clientID)
}

// Accepts lists the versions that are accepted. A client that becomes public, or confidential, loses all that it had.
func (s ClientSecrets) Accepts(ctx context.Context, tx db.ReadTx, application string) ([]int64, error) {
	clientID, err := s.clientID(ctx, tx, application)
	if err != nil {
		return nil, err
	}
	return s.r.secrets.Accepts(ctx, tx, clientID)
}

func (s ClientSecrets) clientID(ctx context.Context, tx db.ReadTx, application string) (string, error) {
	clientID, err := loadClientID(ctx, tx, application)
	if err == nil && clientID == "" {
		err = errNoApplication()
	}
	return clientID, err
}

func (s ClientSecrets) changed(ctx context.Context, tx db.WriteTx, clientID string) error {
	if err := tx.Changed(ctx, topicClient, clientID); err != nil {
		return fmt.Errorf("announce changed secrets: %w", err)
	}
	return nil
}
