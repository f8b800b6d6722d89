package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

// knownClient is a client and what it proves itself with. The zero value is an id that no client has.
type knownClient struct {
	client Client
	// accepted are the verifiers of its secrets: of the versions that rotate, and of the labelled ones, whose version is
	// -1 - their index in labelled. So one HMAC compares with all of them.
	accepted []identity.Accepted
	labelled []labelledSecret
	// keysUntil is the first instant at which one of the client's keys expires; zero: never.
	keysUntil time.Time
}

// load reads a client with all that a node remembers of it.
func (c *Clients) load(ctx context.Context, tx db.ReadTx, clientID string) (knownClient, error) {
	var k knownClient
	var enabledSince, disabled, ownerDisabled int64
	err := tx.QueryRow(ctx, `SELECT c.id, coalesce(c.application, ''), coalesce(a.team, c.owner_team, ''), coalesce(c.owner_user, ''), c.untrusted, c.confidential,
		c.enabled_since, c.disabled, coalesce(o.disabled, 0), coalesce(u.id, ''), coalesce(u.username, ''), coalesce(u.realm, ''), coalesce(a.name, c.id)
		FROM clients c LEFT JOIN applications a ON a.id = c.application LEFT JOIN users u ON u.application = c.application
		LEFT JOIN users o ON o.id = c.owner_user WHERE c.id = $1`, clientID).
		Scan(&k.client.ID, &k.client.Application, &k.client.Team, &k.client.Owner, &k.client.Untrusted, &k.client.Confidential,
			&enabledSince, &disabled, &ownerDisabled, &k.client.UserID, &k.client.Username, &k.client.Realm, &k.client.Name)
	if errors.Is(err, db.ErrNoRows) {
		return knownClient{}, nil
	}
	if err != nil {
		return knownClient{}, fmt.Errorf("read client: %w", err)
	}
	k.client.EnabledSince, k.client.Enabled = db.Time(enabledSince), disabled == 0 && ownerDisabled == 0
	settings, err := loadSettings(ctx, tx, clientID)
	if err != nil {
		return knownClient{}, err
	}
	k.client.setUp(settings)
	if err := c.loadProofs(ctx, tx, &k); err != nil {
		return knownClient{}, err
	}
	if err := c.loadScopes(ctx, tx, &k.client); err != nil {
		return knownClient{}, err
	}
	return k, k.bound(ctx, tx)
}

// setUp lays the settings over the client. What needs a secret is lost with it, because an application can become public
// after its client was set up.
func (c *Client) setUp(s Settings) {
	if s.Name != "" {
		c.Name = s.Name
	}
	c.GrantTypes = s.grantTypes(c.Confidential)
	c.RedirectURIs, c.PostLogoutRedirectURIs, c.RefreshTokens, c.Metadata = s.RedirectURIs, s.PostLogoutRedirectURIs, s.RefreshTokens, s.Metadata
	switch m := &c.Metadata; {
	case !c.Confidential:
		m.AuthMethod, m.AuthAlg, m.PKCEOptional = AuthNone, "", false
	case m.AuthMethod == AuthNone:
		m.AuthMethod = ""
	}
	if c.Metadata.SubjectType == SubjectPairwise && (c.Metadata.Sector == "" || c.Untrusted) {
		c.Metadata.Sector = c.ID // it has no host of its own, or only says so, and so it shares with nobody
	}
}

// loadProofs reads what the client proves itself with.
func (c *Clients) loadProofs(ctx context.Context, tx db.ReadTx, k *knownClient) (err error) {
	if k.client.Confidential {
		if k.accepted, err = c.r.secrets.Accepted(ctx, tx, k.client.ID); err != nil {
			return err
		}
		if k.labelled, err = loadLabelled(ctx, tx, k.client.ID); err != nil {
			return err
		}
		for i, s := range k.labelled {
			k.accepted = append(k.accepted, identity.Accepted{Version: -1 - int64(i), MAC: s.mac})
		}
	}
	if k.client.Keys, err = loadKeys(ctx, tx, k.client.ID); err != nil {
		return err
	}
	for _, key := range k.client.Keys {
		if !key.Expires.IsZero() && (k.keysUntil.IsZero() || key.Expires.Before(k.keysUntil)) {
			k.keysUntil = key.Expires
		}
	}
	return nil
}

// current is the client without the keys that have expired by now.
func (k knownClient) current(now time.Time) Client {
	if !k.keysUntil.IsZero() && !now.Before(k.keysUntil) {
		k.client.Keys = slices.DeleteFunc(slices.Clone(k.client.Keys), func(key ClientKey) bool {
			return !key.Expires.IsZero() && !now.Before(key.Expires)
		})
	}
	return k.client
}

func (c *Clients) loadScopes(ctx context.Context, tx db.ReadTx, client *Client) error {
	grants, err := loadGrants(ctx, tx, client.Application, client.ID)
	if err != nil {
		return err
	}
	client.DefaultScopes = c.r.o.DefaultScopes
	client.Scopes = append([]string{UID}, c.r.o.DefaultScopes...)
	for _, g := range grants {
		if g.ResourceOwnerScope {
			client.OwnerScopes = append(client.OwnerScopes, g.Scope)
		} else {
			client.Scopes = append(client.Scopes, g.Scope)
		}
	}
	slices.Sort(client.OwnerScopes)
	slices.Sort(client.Scopes)
	client.Scopes = slices.Compact(client.Scopes)
	return nil
}
