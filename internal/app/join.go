package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/authn"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/rotation"
	"github.com/mintmark/mintmark/internal/s3api"
)

// The types here join parts that do not know one another. They translate and decide nothing.

// oauthTokens tells authentication whose an access token is. A token made by a client's own grant speaks for the
// application's service user, like one made by its password.
type oauthTokens struct {
	verifier *oauth.Verifier
	clients  *registry.Clients
}

func (j oauthTokens) Verify(ctx context.Context, token redact.Secret) (authn.Claims, error) {
	claims, err := j.verifier.Verify(ctx, token.Reveal(), oauth.VerifyOptions{})
	if errors.Is(err, oauth.ErrToken) {
		return authn.Claims{}, fault.Wrap(err, fault.Unauthenticated, "invalid_token", "The access token is not valid.")
	}
	if err != nil {
		return authn.Claims{}, err
	}
	c, err := j.clients.Client(ctx, claims.ClientID)
	if err != nil {
		return authn.Claims{}, err
	}
	return spokenFor(claims, c)
}

// spokenFor answers for whom a token of this client speaks here: for the application's service user, and for nobody else.
// A person's token would be read as that service user under the person's realm, so that an application of a well-chosen
// name could pass for a colleague; and any client that a person lets know who he is could act as him.
func spokenFor(claims *oauth.Claims, c registry.Client) (authn.Claims, error) {
	if claims.Realm != c.Realm || claims.Subject != c.Username && claims.Subject != c.ID {
		return authn.Claims{}, fault.New(fault.Unauthenticated, "invalid_token", "The access token is not one of an application.")
	}
	return authn.Claims{
		UserID: c.UserID, Username: c.Username, Realm: claims.Realm, ClientID: c.ID, Application: c.Application,
		Scopes: claims.Scopes, Audience: claims.Audience,
	}, nil
}

// applications tells rotation and storage what they must know of an application.
type applications struct{ registry *registry.Registry }

func (j applications) Team(ctx context.Context, tx db.ReadTx, app string) (team string, active bool, err error) {
	a, err := registry.LoadApplication(ctx, tx, app)
	return a.Team, a.Active, err
}

// Deliver lets a team have the buckets of the embedded endpoint that are its own. Of buckets elsewhere nobody here knows
// the owner: their policies decide.
func (j applications) Deliver(ctx context.Context, tx db.ReadTx, team string, d rotation.Destination) error {
	if d.Store != rotation.DefaultStore {
		return nil
	}
	owner, err := s3api.BucketTeam(ctx, tx, d.Bucket)
	if err != nil {
		return err
	}
	if owner != team {
		return fault.New(fault.Forbidden, "foreign_bucket", "The bucket %s does not belong to team %s, which owns the application.", d.Bucket, team)
	}
	return nil
}

// clientSecrets tells rotation that the document of a public client holds no secret.
type clientSecrets struct{ registry.ClientSecrets }

func (j clientSecrets) Fixed(ctx context.Context, tx db.ReadTx, app string) (bool, error) {
	rotates, err := j.Rotates(ctx, tx, app)
	return !rotates, err
}

// makeSequencer makes what puts audit events into the log. Each checkpoint is also kept in a file of the data directory,
// where somebody who can write to the database does not reach it.
func (a *App) makeSequencer() (*audit.Sequencer, error) {
	kept := a.keptCheckpoint()
	trusted, err := kept.Load()
	if err != nil {
		return nil, fmt.Errorf("%w: audit log: %w; it was not written by this installation: find out who did, then move it away", ErrConfig, err)
	}
	return audit.NewSequencer(a.db, a.keyring, audit.SequencerOptions{
		Origin: a.auditOrigin(), Node: a.node, Logger: a.log, Trusted: trusted, OnCheckpoint: kept.Keep,
	})
}

// auditOrigin names this installation's log. It is not the issuer, because that may change while the log goes on.
func (a *App) auditOrigin() string { return "mintmark/" + a.keyring.RootID() }

func (a *App) keptCheckpoint() *audit.File {
	return audit.NewFile(filepath.Join(a.config.DataDir, "audit.checkpoint"), a.keyring)
}

// VerifyAudit reads the whole audit log. trusted is a checkpoint that was kept elsewhere; empty: the one that this
// installation keeps in its data directory.
func (a *App) VerifyAudit(ctx context.Context, trusted string, progress func(done, total int64)) (audit.Report, error) {
	if trusted == "" {
		var err error
		if trusted, err = a.keptCheckpoint().Load(); err != nil {
			return audit.Report{}, err
		}
	}
	return audit.Verify(ctx, a.db, audit.VerifyOptions{Keys: a.keyring.AuditPublicKeys(), Trusted: trusted, Progress: progress})
}
