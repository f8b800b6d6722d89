package identity

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

// ServicePasswords are what rotation turns: the versions of each service user's password.
type ServicePasswords struct{ dir *Directory }

// ServicePasswords is the kind of credential that this package contributes to rotation.
func (dir *Directory) ServicePasswords() ServicePasswords { return ServicePasswords{dir} }

// passwordPrefix tells scanners for leaked secrets what they found. It holds nothing that a URL or HTTP Basic changes.
const passwordPrefix = "mmp_"

// Name is the kind's name.
func (ServicePasswords) Name() string { return "service-password" }

// Object is the name of the document that applications read.
func (ServicePasswords) Object() string { return "user.json" }

// Prepare makes a version of the application's password and the document that tells it. It is accepted from the commit
// on.
func (p ServicePasswords) Prepare(ctx context.Context, tx db.WriteTx, application string, version int64) (redact.Secret, error) {
	u, err := p.user(ctx, tx, application)
	if err != nil {
		return redact.Secret{}, err
	}
	if u.Disabled {
		return redact.Secret{}, fault.New(fault.Conflict, "application_inactive", "Application %s is not active.", application)
	}
	password, err := p.dir.passwords.Prepare(ctx, tx, u.ID, version, passwordPrefix)
	if err != nil {
		return redact.Secret{}, err
	}
	document, err := json.Marshal(struct {
		Username string `json:"application_username"`
		Password string `json:"application_password"`
	}{u.Username, password.Reveal()})
	if err != nil {
		return redact.Secret{}, errors.New("write user document") // the cause could quote the password
	}
	return redact.FromBytes(document), changed(ctx, tx, u)
}

// Activate makes the version the one to use.
func (p ServicePasswords) Activate(ctx context.Context, tx db.WriteTx, application string, version int64) error {
	u, err := p.user(ctx, tx, application)
	if err != nil {
		return err
	}
	if err := p.dir.passwords.Activate(ctx, tx, u.ID, version); err != nil {
		return err
	}
	return changed(ctx, tx, u)
}

// Retire refuses the version from the commit on: on this node at once, on the others within a second.
func (p ServicePasswords) Retire(ctx context.Context, tx db.WriteTx, application string, version int64) error {
	u, err := p.user(ctx, tx, application)
	if err != nil {
		return err
	}
	if err := p.dir.passwords.Retire(ctx, tx, u.ID, version); err != nil {
		return err
	}
	return changed(ctx, tx, u)
}

// LastUsed tells when each version was last seen in use.
func (p ServicePasswords) LastUsed(ctx context.Context, tx db.ReadTx, application string) (map[int64]time.Time, error) {
	u, err := p.user(ctx, tx, application)
	if err != nil {
		return nil, err
	}
	return p.dir.passwords.LastUsed(ctx, tx, u.ID)
}

func (p ServicePasswords) user(ctx context.Context, tx db.ReadTx, application string) (ServiceUser, error) {
	u, err := FindServiceUser(ctx, tx, application)
	if err != nil {
		return ServiceUser{}, fmt.Errorf("service user of application %s: %w", application, err)
	}
	return u, nil
}
