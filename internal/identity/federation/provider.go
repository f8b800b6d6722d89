package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity/sourced"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// topic is where the change feed tells of changed providers; one key stands for all of them.
const topic, all = "login_provider", "all"

// The bounds of what an administrator may set.
const (
	maxProviders = 200
	maxIssuer    = 400
	maxWord      = 200 // of a scope, a class or a method
)

// How this server authenticates at a provider (OpenID Connect Core 1.0, section 9).
const (
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authKey   = "private_key_jwt"
	authNone  = "none"
)

// Provider is an OpenID provider of others.
type Provider struct {
	api.LoginProvider

	box           []byte
	secretVersion int64
	revision      int64
}

// settings is what the column of that name holds.
type settings struct {
	Scopes []string           `json:"scopes"`
	Claims api.ProviderClaims `json:"claims"`
	Policy api.ProviderPolicy `json:"policy"`
}

func secretAD(id string, version int64) seal.AD {
	return seal.AD{Table: "login_providers", Column: "box", Row: id, Version: version}
}

const selectProvider = `SELECT id, realm, name, enabled, issuer, client_id, client_auth, box, secret_version, settings, revision, created, created_by, modified, modified_by FROM login_providers`

func scanProvider(row db.Row) (p Provider, err error) {
	var text string
	var created, modified int64
	if err := row.Scan(&p.ID, &p.Realm, &p.Name, &p.Enabled, &p.Issuer, &p.ClientID, &p.ClientAuth, &p.box, &p.secretVersion, &text, &p.revision, &created, &p.CreatedBy, &modified, &p.LastModifiedBy); err != nil {
		return p, err
	}
	var more settings
	if err := json.Unmarshal([]byte(text), &more); err != nil {
		return p, fmt.Errorf("read the settings of provider %s: %w", p.ID, err)
	}
	p.Created, p.LastModified, p.HasSecret = db.Time(created), db.Time(modified), len(p.box) > 0
	p.Scopes, p.Claims, p.Policy = more.Scopes, more.Claims, more.Policy
	return p, nil
}

func listProviders(ctx context.Context, tx db.ReadTx) ([]Provider, error) {
	rows, err := tx.Query(ctx, selectProvider+` ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list providers: %w", err)
	}
	defer rows.Close()
	list := []Provider{}
	for rows.Next() {
		p, err := scanProvider(rows)
		if err != nil {
			return nil, fmt.Errorf("list providers: %w", err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

func loadProvider(ctx context.Context, tx db.ReadTx, id string) (Provider, error) {
	p, err := scanProvider(tx.QueryRow(ctx, selectProvider+` WHERE id = $1`, id))
	if errors.Is(err, db.ErrNoRows) {
		return Provider{}, fault.New(fault.NotFound, "provider_not_found", "There is no such provider.")
	}
	if err != nil {
		return Provider{}, fmt.Errorf("read provider: %w", err)
	}
	return p, nil
}

// Offer is a provider that a person may choose at the login.
type Offer struct {
	ID, Name, Realm string
	Again           bool // it does where the person is to prove anew that it is there
}

// Offers are the providers of a realm that are enabled, or, with an empty name, of all realms. They come from memory.
func (s *Service) Offers(ctx context.Context, realmName string) ([]Offer, error) {
	list, err := s.providers.Get(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("look up the providers: %w", err)
	}
	var offers []Offer
	for _, p := range list {
		if p.Enabled && (realmName == "" || p.Realm == realmName) {
			offers = append(offers, Offer{p.ID, p.Name, p.Realm, !p.Policy.NoAuthTime || p.Policy.TrustPromptLogin})
		}
	}
	return offers, nil
}

// ErrNoProvider is the answer to a provider that is unknown or shut off.
var ErrNoProvider error = fault.New(fault.NotFound, "provider_not_found", "Nobody signs in that way here, or not any more.")

// provider finds one that is enabled. Before it answers no, the database is asked.
func (s *Service) provider(ctx context.Context, id string) (Provider, error) {
	find := func(list []Provider) int {
		return slices.IndexFunc(list, func(p Provider) bool { return p.ID == id && p.Enabled })
	}
	list, err := s.providers.Get(ctx, all)
	if err == nil && find(list) < 0 {
		list, err = s.providers.Fresh(ctx, all)
	}
	if err != nil {
		return Provider{}, fault.Wrap(fmt.Errorf("look up a provider: %w", err), fault.Unavailable, "unavailable", "Providers cannot be looked up just now.")
	}
	if i := find(list); i >= 0 {
		return list[i], nil
	}
	return Provider{}, ErrNoProvider
}

// RedirectURI is where a provider sends people back to: each has its own (RFC 9700, section 4.4.2.2).
func (s *Service) RedirectURI(id string) string { return s.o.Issuer + "/login/callback/" + id }

func (s *Service) complete(ctx context.Context, tx db.ReadTx, p Provider) (api.LoginProvider, error) {
	p.RedirectURI, p.LogoutURI = s.RedirectURI(p.ID), s.o.Issuer+"/login/upstream/"+p.ID+"/logout"
	p.SignedOutURI = s.SignedOutURI(p.ID)
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM linked_identities WHERE provider_id = $1`, p.ID).Scan(&p.Linked); err != nil {
		return p.LoginProvider, fmt.Errorf("count who is linked: %w", err)
	}
	return p.LoginProvider, nil
}

func allowed(c access.Caller, id string) error {
	return access.Allow(c, access.ManageProviders, access.Target{Type: "provider", ID: id})
}

// Providers lists all of them, by id.
func (s *Service) Providers(ctx context.Context, tx db.ReadTx, c access.Caller) ([]api.LoginProvider, error) {
	if err := allowed(c, ""); err != nil {
		return nil, err
	}
	list, err := listProviders(ctx, tx)
	if err != nil {
		return nil, err
	}
	out := make([]api.LoginProvider, len(list))
	for i, p := range list {
		if out[i], err = s.complete(ctx, tx, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Provider reads one, with its revision.
func (s *Service) Provider(ctx context.Context, tx db.ReadTx, c access.Caller, id string) (api.LoginProvider, int64, error) {
	if err := allowed(c, id); err != nil {
		return api.LoginProvider{}, 0, err
	}
	p, err := loadProvider(ctx, tx, id)
	if err != nil {
		return api.LoginProvider{}, 0, err
	}
	shown, err := s.complete(ctx, tx, p)
	return shown, p.revision, err
}

// PutProvider makes one, or replaces all of it but a secret that is left out, if check agrees with the revision that
// there is. The issuer of one that people are linked with stays, and so does the realm: its subjects are those people.
func (s *Service) PutProvider(ctx context.Context, tx db.WriteTx, c access.Caller, id string, b api.PutLoginProvider, check func(int64) error) (api.LoginProvider, int64, error) {
	none := api.LoginProvider{}
	if err := allowed(c, id); err != nil {
		return none, 0, err
	}
	before, err := loadProvider(ctx, tx, id)
	exists := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return none, 0, err
	}
	if err := check(before.revision); err != nil {
		return none, 0, err
	}
	p, err := s.checked(id, b, before)
	if err != nil {
		return none, 0, err
	}
	if err := keepNames(ctx, tx, p, before, exists); err != nil {
		return none, 0, err
	}
	if p.Issuer != before.Issuer && len(p.box) > 0 && b.ClientSecret == "" {
		return none, 0, fault.New(fault.Invalid, "client_secret", "Another issuer needs its own client secret: the one that is kept goes nowhere but to the issuer that it was given for.").At("body.client_secret", "required")
	}
	if b.ClientSecret != "" {
		p.secretVersion++
		if p.box, err = s.keyring.Seal(seal.Data, secretAD(id, p.secretVersion), []byte(b.ClientSecret)); err != nil {
			return none, 0, fmt.Errorf("seal a client secret: %w", err)
		}
	}
	p.revision, p.Created, p.CreatedBy, p.LastModified, p.LastModifiedBy = before.revision+1, tx.Now(), c.String(), tx.Now(), c.String()
	action := "provider.create"
	if exists {
		p.Created, p.CreatedBy, action = before.Created, before.CreatedBy, "provider.change"
	}
	if err := s.store(ctx, tx, p); err != nil {
		return none, 0, err
	}
	if exists && before.Enabled && !p.Enabled {
		if _, err := s.endSessions(ctx, tx, c, "provider_disabled", sessionsOf{provider: id}); err != nil {
			return none, 0, err
		}
	}
	shown, err := s.complete(ctx, tx, p)
	if err != nil {
		return none, 0, err
	}
	return shown, p.revision, audit.Done(ctx, tx, c, action, "provider", id, map[string]any{
		"realm": p.Realm, "name": p.Name, "enabled": p.Enabled, "issuer": p.Issuer, "client_id": p.ClientID, "client_auth": p.ClientAuth,
		"secret_changed": b.ClientSecret != "", "scopes": p.Scopes, "claims": p.Claims, "policy": p.Policy,
	})
}

func (s *Service) store(ctx context.Context, tx db.WriteTx, p Provider) error {
	text, err := json.Marshal(settings{p.Scopes, p.Claims, p.Policy})
	if err != nil {
		return fmt.Errorf("write the settings of a provider: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO login_providers (id, realm, name, enabled, issuer, client_id, client_auth, box, secret_version, settings, revision, created, created_by, modified, modified_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (id) DO UPDATE SET realm = $2, name = $3, enabled = $4, issuer = $5, client_id = $6, client_auth = $7, box = $8, secret_version = $9, settings = $10,
		revision = $11, modified = $14, modified_by = $15`,
		p.ID, p.Realm, p.Name, p.Enabled, p.Issuer, p.ClientID, p.ClientAuth, p.box, p.secretVersion, string(text), p.revision,
		db.Micros(p.Created), p.CreatedBy, db.Micros(p.LastModified), p.LastModifiedBy)); err != nil {
		return fmt.Errorf("store provider: %w", err)
	}
	return tx.Changed(ctx, topic, all)
}

// keepNames refuses what would give linked people other names, and more providers than fit a page.
func keepNames(ctx context.Context, tx db.ReadTx, p, before Provider, exists bool) error {
	if !exists {
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM login_providers`).Scan(&n); err != nil {
			return fmt.Errorf("count providers: %w", err)
		}
		if n >= maxProviders {
			return fault.New(fault.Conflict, "too_many", "There are %d providers already, which is as many as there can be.", n)
		}
		if left, err := sourced.Followed(ctx, tx, sourced.Provider(p.ID)); err != nil || !left {
			return err
		}
		return fault.New(fault.Conflict, "provider_ending", "There was a provider of this id, and what people have of it is just being taken back. Please wait, or choose another id.")
	}
	if p.Realm != before.Realm {
		return fault.New(fault.Conflict, "provider_realm", "A provider stays in its realm. Make another one for another realm.").At("body.realm", "cannot be changed")
	}
	if p.Issuer == before.Issuer {
		return nil
	}
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM linked_identities WHERE provider_id = $1`, p.ID).Scan(&n); err != nil {
		return fmt.Errorf("count who is linked: %w", err)
	}
	if n > 0 {
		return fault.New(fault.Conflict, "provider_issuer", "%d people are linked with this provider, by names that another issuer may give to others. Make another provider.", n).At("body.issuer", "cannot be changed")
	}
	return nil
}

// DeleteProvider removes one, with all links to it; sessions that began with it end.
func (s *Service) DeleteProvider(ctx context.Context, tx db.WriteTx, c access.Caller, id string, check func(int64) error) error {
	if err := allowed(c, id); err != nil {
		return err
	}
	p, err := loadProvider(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := check(p.revision); err != nil {
		return err
	}
	if _, err := s.endSessions(ctx, tx, c, "provider_deleted", sessionsOf{provider: id}); err != nil {
		return err
	}
	links, err := tx.Exec(ctx, `DELETE FROM linked_identities WHERE provider_id = $1`, id)
	if err != nil {
		return fmt.Errorf("unlink everybody: %w", err)
	}
	for _, query := range []string{`DELETE FROM upstream_logins WHERE provider_id = $1`, `DELETE FROM upstream_sessions WHERE provider_id = $1`} {
		if _, err := tx.Exec(ctx, query, id); err != nil {
			return fmt.Errorf("forget the logins of a provider: %w", err)
		}
	}
	if s.o.Sourced != nil {
		if _, err := s.o.Sourced.End(ctx, tx, sourced.Provider(id)); err != nil { // of the others, Sweep does
			return err
		}
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM login_providers WHERE id = $1`, id)); err != nil {
		return fmt.Errorf("delete provider: %w", err)
	}
	if err := tx.Changed(ctx, topic, all); err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "provider.delete", "provider", id, map[string]any{"realm": p.Realm, "issuer": p.Issuer, "unlinked": links})
}

// checked answers the provider that the body asks for, or what is wrong with it.
func (s *Service) checked(id string, b api.PutLoginProvider, before Provider) (Provider, error) {
	p := Provider{LoginProvider: api.LoginProvider{
		ID: id, Name: b.Name, Enabled: !b.Disabled, Issuer: b.Issuer, ClientID: b.ClientID, ClientAuth: b.ClientAuth, Scopes: b.Scopes, Claims: b.Claims, Policy: b.Policy,
	}, box: before.box, secretVersion: before.secretVersion}
	if strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || id == "" || len(id) > 63 || id[0] == '-' || id[len(id)-1] == '-' {
		return p, fault.InvalidAt("path.id", "provider_id", "The id is lower-case letters, digits and '-'; it neither begins nor ends with '-'.")
	}
	r, err := s.dir.Realms().Lookup(b.Realm)
	if err != nil || r.Kind != realm.People {
		return p, fault.InvalidAt("body.realm", "realm", "There is no such realm of people.")
	}
	p.Realm = r.Name
	for at, text := range map[string]struct {
		text string
		most int
	}{"body.name": {b.Name, 60}, "body.issuer": {b.Issuer, maxIssuer}, "body.client_id": {b.ClientID, 255}} {
		if err := route.CheckLine(at, text.text, 1, text.most); err != nil {
			return p, err
		}
	}
	if err := s.checkIssuer(b.Issuer); err != nil {
		return p, err
	}
	if err := p.checkAuth(b.ClientSecret, s.o.Issuer); err != nil {
		return p, err
	}
	if err := p.checkSettings(); err != nil {
		return p, err
	}
	return p, s.checkRules(p)
}

func (s *Service) checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(issuer, "#") {
		return fault.InvalidAt("body.issuer", "issuer", "An issuer is a URL without a query and a fragment.")
	}
	if err := s.o.Outbound.CheckURL(issuer); err != nil {
		return fault.InvalidAt("body.issuer", "issuer", "The issuer must be a public https address; outbound.allow and outbound.http of the configuration allow others.")
	}
	if strings.TrimSuffix(issuer, "/") == s.o.Issuer {
		return fault.InvalidAt("body.issuer", "issuer", "That is this installation itself.")
	}
	return nil
}

// checkAuth finds out how this server authenticates there. What it signs must never pass for a token of its own.
func (p *Provider) checkAuth(secret, self string) error {
	if p.ClientID == self {
		return fault.InvalidAt("body.client_id", "client_id", "That is the name of this installation itself.")
	}
	has := secret != "" || len(p.box) > 0
	if p.ClientAuth == "" {
		p.ClientAuth = authNone
		if has {
			p.ClientAuth = authBasic
		}
	}
	switch p.ClientAuth {
	case authBasic, authPost:
		if !has {
			return fault.InvalidAt("body.client_secret", "client_secret", "%s needs the client secret.", p.ClientAuth)
		}
	case authKey, authNone:
		if secret != "" {
			return fault.InvalidAt("body.client_secret", "client_secret", "%s uses no client secret.", p.ClientAuth)
		}
		p.box = []byte{}
	default:
		return fault.InvalidAt("body.client_auth", "client_auth", "It is one of client_secret_basic, client_secret_post, private_key_jwt and none.")
	}
	p.HasSecret = has && p.ClientAuth != authKey && p.ClientAuth != authNone
	if p.box == nil {
		p.box = []byte{}
	}
	return nil
}

func (p *Provider) checkSettings() error {
	if len(p.Scopes) == 0 {
		p.Scopes = []string{"openid", "profile", "email"}
	}
	if !slices.Contains(p.Scopes, "openid") {
		p.Scopes = append([]string{"openid"}, p.Scopes...)
	}
	for at, list := range map[string][]string{
		"body.scopes": p.Scopes, "body.policy.required_acr": p.Policy.RequiredACR, "body.policy.required_amr": p.Policy.RequiredAMR,
		"body.policy.second_factor_acr": p.Policy.SecondFactorACR, "body.policy.second_factor_amr": p.Policy.SecondFactorAMR,
	} {
		for _, word := range list {
			if word == "" || len(word) > maxWord || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }) {
				return fault.InvalidAt(at, "word", "Each of these is a word of plain ASCII without spaces and quotes.")
			}
		}
	}
	for at, list := range map[string][]string{"body.policy.allowed_domains": p.Policy.AllowedDomains, "body.policy.authoritative_domains": p.Policy.AuthoritativeDomains} {
		for i, domain := range list {
			if list[i] = strings.ToLower(domain); len(domain) > 253 || !strings.Contains(domain, ".") || strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`@*/:"'<>\`, r) }) {
				return fault.InvalidAt(at, "domain", "Each of these is a domain such as example.org, without a wildcard.")
			}
		}
	}
	for name, claim := range map[string]struct {
		to       *string
		fallback string
	}{
		"username": {&p.Claims.Username, "preferred_username"}, "name": {&p.Claims.Name, "name"}, "email": {&p.Claims.Email, "email"},
		"email_verified": {&p.Claims.EmailVerified, "email_verified"}, "phone": {&p.Claims.Phone, "phone_number"},
	} {
		if *claim.to == "" {
			*claim.to = claim.fallback
		}
		if err := route.CheckLine("body.claims."+name, *claim.to, 1, 100); err != nil {
			return err
		}
	}
	return nil
}

// secret opens the client secret.
func (s *Service) secret(p Provider) (redact.Secret, error) {
	secret, err := s.keyring.Open(seal.Data, secretAD(p.ID, p.secretVersion), p.box)
	if err != nil {
		return redact.Secret{}, fmt.Errorf("open the client secret of provider %s: %w", p.ID, err)
	}
	return secret, nil
}
