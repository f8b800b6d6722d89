package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

// The grants of RFC 6749 that a client can be allowed. Whether it refreshes is not said here: see RefreshTokens.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantPassword          = "password"
)

// RefreshTokens tells when signing a person in gives a refresh token.
type RefreshTokens string

// The answers.
const (
	RefreshNever   RefreshTokens = "never"
	RefreshOffline RefreshTokens = "offline_access" // if the person allows the scope of that name
	RefreshAlways  RefreshTokens = "always"
)

// The uses of a redirect URI.
const (
	useSignIn  = "sign_in"
	useSignOut = "sign_out"
)

// maxClientName is in characters: it is read by people, on a page with little room.
const maxClientName = 128

// Settings are what the owning team says about its application's client. Whether the client is confidential belongs to
// the application, and what it may ask people for to the application's scopes; neither is set here.
type Settings struct {
	Name                   string // what people read; "": the application's name
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	GrantTypes             []string // empty: what such a client may by default
	RefreshTokens          RefreshTokens
	Metadata               Metadata
	sector                 *sectorList // what the sector identifier URI lists, if it was read for this change
	Revision               int64       // 0: nothing was ever set
	Modified               time.Time
	ModifiedBy             string
}

// grantTypes are all grants that a client with these settings may use.
func (s Settings) grantTypes(confidential bool) []string {
	list := s.GrantTypes
	if len(list) == 0 {
		list = publicGrants
		if confidential {
			list = confidentialGrants
		}
	}
	allowed := make([]string, 0, len(list)+1)
	for _, g := range list {
		// An application can become public after its client's grants were set: acting for itself needs a secret.
		if confidential || g != GrantClientCredentials && g != GrantJWTBearer {
			allowed = append(allowed, g)
		}
	}
	if (slices.Contains(allowed, GrantAuthorizationCode) || slices.Contains(allowed, GrantDeviceCode)) && s.RefreshTokens != RefreshNever {
		allowed = append(allowed, GrantRefreshToken)
	}
	return allowed
}

// GetSettings reads the settings of an application's client, and the application.
func (r *Registry) GetSettings(ctx context.Context, tx db.ReadTx, c access.Caller, application string) (Settings, Application, error) {
	a, err := r.GetApplication(ctx, tx, c, application)
	if err != nil {
		return Settings{}, Application{}, err
	}
	s, err := loadSettings(ctx, tx, a.ClientID)
	return s, a, err
}

// PutSettings replaces all settings of an application's client. check gets the stored revision (0: there is none) and may
// refuse.
func (r *Registry) PutSettings(ctx context.Context, tx db.WriteTx, c access.Caller, application string, next Settings, check func(revision int64) error) (Settings, Application, error) {
	none := func(err error) (Settings, Application, error) { return Settings{}, Application{}, err }
	stored, a, err := r.GetSettings(ctx, tx, c, application)
	if err != nil {
		return none(err)
	}
	target := access.Target{Type: "application", ID: application, Team: a.Team}
	if err := access.Allow(c, access.WriteApplication, target); err != nil {
		return none(err)
	}
	if err := check(stored.Revision); err != nil {
		return none(err)
	}
	if err := checkSettings(&next, a.Confidential); err != nil {
		return none(err)
	}
	own := StandaloneClient{ID: a.ClientID, Team: a.Team, Settings: next}
	if err := cmp.Or(checkTrust(c, target, stored, next, r.o.Bounds), checkSector(ctx, tx, c, own, stored), r.checkElsewhere(stored, next)); err != nil {
		return none(err)
	}
	if err := checkKeys(ctx, tx, a.ClientID, next.Metadata); err != nil {
		return none(err)
	}
	next.Revision, next.Modified, next.ModifiedBy = stored.Revision+1, tx.Now(), c.String()
	if err := storeSettings(ctx, tx, a.ClientID, next); err != nil {
		return none(err)
	}
	if next.Metadata.AuthMethod != AuthClientSecretJWT {
		if err := dropBoxes(ctx, tx, a.ClientID); err != nil {
			return none(err)
		}
	}
	metadata, err := next.Metadata.column()
	if err != nil {
		return none(err)
	}
	details := map[string]any{
		"metadata": metadata, "redirect_uris": next.RedirectURIs, "redirect_uris_before": stored.RedirectURIs,
		"post_logout_redirect_uris": next.PostLogoutRedirectURIs, "grant_types": next.GrantTypes, "grant_types_before": stored.GrantTypes,
		"refresh_tokens": string(next.RefreshTokens), "name": next.Name, "client_id": a.ClientID,
	}
	if err := audit.Done(ctx, tx, c, "client.change", "application", a.ID, details); err != nil {
		return none(err)
	}
	return next, a, r.announce(ctx, tx, a)
}

// checkSettings refuses what cannot be meant, and completes the rest.
func checkSettings(s *Settings, confidential bool) error {
	if s.RefreshTokens == "" {
		s.RefreshTokens = RefreshOffline
	}
	if err := route.CheckLine("body.name", s.Name, 0, 4*maxClientName); err != nil {
		return err
	}
	// The name stands in a question that a person answers by it, so it may hold nothing that reorders or hides text.
	if utf8.RuneCountInString(s.Name) > maxClientName || hidesText(s.Name) {
		return fault.InvalidAt("body.name", "bad_text", "A name has at most %d characters, all of them visible.", maxClientName)
	}
	for _, list := range []struct {
		member string
		uris   []string
	}{{"redirect_uris", s.RedirectURIs}, {"post_logout_redirect_uris", s.PostLogoutRedirectURIs}} {
		if len(list.uris) > maxRedirects {
			return fault.InvalidAt("body."+list.member, "invalid_redirect_uri", "A client has at most %d of these.", maxRedirects)
		}
		for i, uri := range list.uris {
			at := fmt.Sprintf("body.%s[%d]", list.member, i)
			if why := checkRedirect(uri); why != "" {
				return fault.InvalidAt(at, "invalid_redirect_uri", "%s", why)
			}
			if slices.Contains(list.uris[:i], uri) {
				return fault.InvalidAt(at, "invalid_redirect_uri", "This one is listed already.")
			}
		}
	}
	for i, g := range s.GrantTypes {
		at := fmt.Sprintf("body.grant_types[%d]", i)
		switch g {
		case GrantAuthorizationCode, GrantPassword, GrantDeviceCode, GrantImplicit:
		case GrantClientCredentials, GrantJWTBearer:
			if !confidential {
				return fault.InvalidAt(at, "invalid_client_metadata", "A client that proves nothing cannot have this grant.")
			}
		default:
			return fault.InvalidAt(at, "invalid_client_metadata", "There is no such grant: use authorization_code, client_credentials, password, implicit, %s and %s.", GrantDeviceCode, GrantJWTBearer)
		}
		if slices.Contains(s.GrantTypes[:i], g) {
			return fault.InvalidAt(at, "invalid_client_metadata", "This one is listed already.")
		}
	}
	if (slices.Contains(s.GrantTypes, GrantAuthorizationCode) || slices.Contains(s.GrantTypes, GrantImplicit)) && len(s.RedirectURIs) == 0 {
		return fault.InvalidAt("body.redirect_uris", "invalid_redirect_uri", "To sign people in, a client needs an address to send them back to.")
	}
	switch s.RefreshTokens {
	case RefreshNever, RefreshOffline, RefreshAlways:
		return checkMetadata(s, confidential)
	}
	return fault.InvalidAt("body.refresh_tokens", "invalid_client_metadata", "Refresh tokens are given never, with offline_access, or always.")
}

func loadSettings(ctx context.Context, tx db.ReadTx, clientID string) (Settings, error) {
	s := Settings{RefreshTokens: RefreshOffline}
	var grants, refresh, metadata string
	var modified int64
	err := tx.QueryRow(ctx, `SELECT name, grant_types, refresh_tokens, metadata, revision, modified, modified_by FROM client_settings WHERE client_id = $1`, clientID).
		Scan(&s.Name, &grants, &refresh, &metadata, &s.Revision, &modified, &s.ModifiedBy)
	if errors.Is(err, db.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return Settings{}, fmt.Errorf("read settings of a client: %w", err)
	}
	s.GrantTypes, s.RefreshTokens, s.Modified = strings.Fields(grants), RefreshTokens(refresh), db.Time(modified)
	if s.Metadata, err = parseMetadata(metadata); err != nil {
		return Settings{}, err
	}
	rows, err := tx.Query(ctx, `SELECT use, uri FROM client_redirects WHERE client_id = $1 ORDER BY use, position`, clientID)
	if err != nil {
		return Settings{}, fmt.Errorf("read redirect URIs: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var use, uri string
		if err := rows.Scan(&use, &uri); err != nil {
			return Settings{}, fmt.Errorf("read redirect URIs: %w", err)
		}
		if use == useSignIn {
			s.RedirectURIs = append(s.RedirectURIs, uri)
		} else {
			s.PostLogoutRedirectURIs = append(s.PostLogoutRedirectURIs, uri)
		}
	}
	return s, rows.Err()
}

func storeSettings(ctx context.Context, tx db.WriteTx, clientID string, s Settings) error {
	metadata, err := s.Metadata.column()
	if err != nil {
		return err
	}
	// The revision was compared in this transaction, so the row is as it was read.
	err = db.One(tx.Exec(ctx, `INSERT INTO client_settings (client_id, name, grant_types, refresh_tokens, metadata, revision, modified, modified_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (client_id) DO UPDATE SET name = excluded.name, grant_types = excluded.grant_types, refresh_tokens = excluded.refresh_tokens,
			metadata = excluded.metadata, revision = excluded.revision, modified = excluded.modified, modified_by = excluded.modified_by`,
		clientID, s.Name, strings.Join(s.GrantTypes, " "), string(s.RefreshTokens), metadata, s.Revision, db.Micros(s.Modified), s.ModifiedBy))
	if err != nil {
		return fmt.Errorf("store settings of a client: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM client_redirects WHERE client_id = $1`, clientID); err != nil {
		return fmt.Errorf("replace redirect URIs: %w", err)
	}
	for use, uris := range map[string][]string{useSignIn: s.RedirectURIs, useSignOut: s.PostLogoutRedirectURIs} {
		for i, uri := range uris {
			if err := db.One(tx.Exec(ctx, `INSERT INTO client_redirects (client_id, use, position, uri) VALUES ($1, $2, $3, $4)`, clientID, use, i, uri)); err != nil {
				return fmt.Errorf("store a redirect URI: %w", err)
			}
		}
	}
	return storeOrigins(ctx, tx, clientID, s)
}
