package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

// Issuers that administrators trust to say for whom a JWT speaks (RFC 7523 section 2.1). Default is denial: an issuer
// counts if it has a record here, and a subject of it if a rule names it, byte by byte.

// topicTrust is where the change feed tells of changed issuers, by iss.
const topicTrust = "trusted_issuer"

// The bounds of what is trusted.
const (
	maxTrusted       = 500
	maxIssuer        = 400
	maxRules         = 500
	maxClaims        = 10
	maxRuleText      = 1000
	trustedCapacity  = 2 * maxTrusted
	trustedLife      = time.Hour + 5*time.Minute // what clusters give for an hour is a little longer
	longestTrusted   = 24 * time.Hour
	trustedIssuerTag = "Trusted issuers"
)

// trustedIssuer is what memory holds of an issuer. The zero value is one that nobody trusts.
type trustedIssuer struct {
	record api.TrustedIssuer
	keys   []jose.Key
}

// trust is this node's memory of trusted issuers, at most a second behind the database.
type trust struct {
	s       *Server
	issuers *db.Cache[trustedIssuer] // by iss
}

func newTrust(s *Server) *trust {
	t := &trust{s: s}
	t.issuers = db.NewCache(s.db, topicTrust, trustedCapacity, loadTrusted)
	return t
}

// find answers the issuer's record. What is not enabled is as good as unknown. Before it answers no, the database is
// asked, so that nobody is refused on old news.
func (t *trust) find(ctx context.Context, issuer string) (trustedIssuer, bool, error) {
	if issuer == "" || len(issuer) > maxIssuer {
		return trustedIssuer{}, false, nil
	}
	found, err := t.issuers.Get(ctx, issuer)
	if err == nil && !found.record.Enabled {
		found, err = t.issuers.Fresh(ctx, issuer)
	}
	if err != nil {
		return trustedIssuer{}, false, fault.Wrap(fmt.Errorf("look up a trusted issuer: %w", err), fault.Unavailable, "unavailable", "Trusted issuers cannot be looked up just now.").Retry(time.Second)
	}
	return found, found.record.Enabled, nil
}

const selectTrusted = `SELECT id, issuer, enabled, jwks, max_lifetime, single_use, rules, revision, created, created_by, modified, modified_by FROM trusted_issuers`

func scanTrusted(row db.Row) (r api.TrustedIssuer, revision int64, err error) {
	var rules string
	var created, modified int64
	if err := row.Scan(&r.ID, &r.Issuer, &r.Enabled, &r.JWKS, &r.MaxLifetime, &r.SingleUse, &rules, &revision, &created, &r.CreatedBy, &modified, &r.LastModifiedBy); err != nil {
		return r, 0, err
	}
	r.Created, r.LastModified = db.Time(created), db.Time(modified)
	if err := json.Unmarshal([]byte(rules), &r.Rules); err != nil {
		return r, 0, fmt.Errorf("read the rules of a trusted issuer: %w", err)
	}
	return r, revision, nil
}

func loadTrusted(ctx context.Context, tx db.ReadTx, issuer string) (trustedIssuer, error) {
	r, _, err := scanTrusted(tx.QueryRow(ctx, selectTrusted+` WHERE issuer = $1`, issuer))
	if errors.Is(err, db.ErrNoRows) {
		return trustedIssuer{}, nil
	}
	if err != nil {
		return trustedIssuer{}, fmt.Errorf("read a trusted issuer: %w", err)
	}
	keys, err := jose.ParseKeySet([]byte(r.JWKS))
	if err != nil {
		return trustedIssuer{}, nil // it was checked when it was stored; what we do not take any more, nobody trusts
	}
	return trustedIssuer{record: r, keys: keys}, nil
}

func loadTrustedByID(ctx context.Context, tx db.ReadTx, id string) (api.TrustedIssuer, int64, error) {
	r, revision, err := scanTrusted(tx.QueryRow(ctx, selectTrusted+` WHERE id = $1`, id))
	if errors.Is(err, db.ErrNoRows) {
		return r, 0, fault.New(fault.NotFound, "trusted_issuer_not_found", "There is no such trusted issuer.")
	}
	if err != nil {
		return r, 0, fmt.Errorf("read a trusted issuer: %w", err)
	}
	return r, revision, nil
}

// TrustedIssuer reads one.
func (s *Server) TrustedIssuer(ctx context.Context, tx db.ReadTx, c access.Caller, id string) (api.TrustedIssuer, int64, error) {
	if err := access.Allow(c, access.ManageTrust, access.Target{Type: "trusted_issuer", ID: id}); err != nil {
		return api.TrustedIssuer{}, 0, err
	}
	return loadTrustedByID(ctx, tx, id)
}

// TrustedIssuers lists all of them, by id.
func (s *Server) TrustedIssuers(ctx context.Context, tx db.ReadTx, c access.Caller) ([]api.TrustedIssuer, error) {
	if err := access.Allow(c, access.ManageTrust, access.Target{Type: "trusted_issuer"}); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, selectTrusted+` ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list trusted issuers: %w", err)
	}
	defer rows.Close()
	list := []api.TrustedIssuer{}
	for rows.Next() {
		r, _, err := scanTrusted(rows)
		if err != nil {
			return nil, fmt.Errorf("list trusted issuers: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// PutTrustedIssuer makes one or replaces all of it, if check agrees with the revision that there is.
func (s *Server) PutTrustedIssuer(ctx context.Context, tx db.WriteTx, c access.Caller, id string, b api.PutTrustedIssuer, check func(int64) error) (api.TrustedIssuer, int64, error) {
	if err := access.Allow(c, access.ManageTrust, access.Target{Type: "trusted_issuer", ID: id}); err != nil {
		return api.TrustedIssuer{}, 0, err
	}
	r, err := s.checkTrusted(ctx, tx, id, b)
	if err != nil {
		return api.TrustedIssuer{}, 0, err
	}
	before, revision, err := loadTrustedByID(ctx, tx, id)
	exists := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return api.TrustedIssuer{}, 0, err
	}
	if err := check(revision); err != nil {
		return api.TrustedIssuer{}, 0, err
	}
	if err := roomForTrusted(ctx, tx, r, exists); err != nil {
		return api.TrustedIssuer{}, 0, err
	}
	now, who := tx.Now(), c.String()
	r.Created, r.CreatedBy, r.LastModified, r.LastModifiedBy = now, who, now, who
	action := "trusted_issuer.create"
	if exists {
		r.Created, r.CreatedBy, action = before.Created, before.CreatedBy, "trusted_issuer.change"
	}
	if err := storeTrusted(ctx, tx, r, revision+1); err != nil {
		return api.TrustedIssuer{}, 0, err
	}
	for _, issuer := range []string{r.Issuer, before.Issuer} {
		if err := tx.Changed(ctx, topicTrust, issuer); err != nil {
			return api.TrustedIssuer{}, 0, fmt.Errorf("tell of a trusted issuer: %w", err)
		}
	}
	return r, revision + 1, audit.Done(ctx, tx, c, action, "trusted_issuer", id, map[string]any{"issuer": r.Issuer, "enabled": r.Enabled, "rules": r.Rules, "keys": thumbprints(r.JWKS)})
}

// thumbprints name the keys in the audit log, which is to say exactly who was trusted.
func thumbprints(jwks string) []string {
	keys, err := jose.ParseKeySet([]byte(jwks))
	if err != nil {
		return nil // it has been checked
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.Thumbprint()
	}
	return names
}

// roomForTrusted refuses a second record of one issuer, and more records than anybody looks through.
func roomForTrusted(ctx context.Context, tx db.ReadTx, r api.TrustedIssuer, exists bool) error {
	var others, all int
	if err := tx.QueryRow(ctx, `SELECT count(*), coalesce(sum(CASE WHEN issuer = $1 AND id <> $2 THEN 1 ELSE 0 END), 0) FROM trusted_issuers`, r.Issuer, r.ID).Scan(&all, &others); err != nil {
		return fmt.Errorf("count trusted issuers: %w", err)
	}
	if others > 0 {
		return fault.New(fault.Conflict, "issuer_taken", "Another record has this issuer.").At("body.issuer", "is taken")
	}
	if !exists && all >= maxTrusted {
		return fault.New(fault.Conflict, "too_many", "There are %d trusted issuers already, which is as many as there can be.", all)
	}
	return nil
}

func storeTrusted(ctx context.Context, tx db.WriteTx, r api.TrustedIssuer, revision int64) error {
	rules, err := json.Marshal(r.Rules)
	if err != nil {
		return fmt.Errorf("write the rules of a trusted issuer: %w", err)
	}
	err = db.One(tx.Exec(ctx, `INSERT INTO trusted_issuers (id, issuer, enabled, jwks, max_lifetime, single_use, rules, revision, created, created_by, modified, modified_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (id) DO UPDATE SET issuer = $2, enabled = $3, jwks = $4, max_lifetime = $5, single_use = $6, rules = $7, revision = $8, modified = $11, modified_by = $12`,
		r.ID, r.Issuer, r.Enabled, r.JWKS, r.MaxLifetime, r.SingleUse, string(rules), revision, db.Micros(r.Created), r.CreatedBy, db.Micros(r.LastModified), r.LastModifiedBy))
	if err != nil {
		return fmt.Errorf("store a trusted issuer: %w", err)
	}
	return nil
}

// DeleteTrustedIssuer has an issuer trusted no more. Tokens that it brought about live on until they expire.
func (s *Server) DeleteTrustedIssuer(ctx context.Context, tx db.WriteTx, c access.Caller, id string, check func(int64) error) error {
	if err := access.Allow(c, access.ManageTrust, access.Target{Type: "trusted_issuer", ID: id}); err != nil {
		return err
	}
	before, revision, err := loadTrustedByID(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := check(revision); err != nil {
		return err
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM trusted_issuers WHERE id = $1`, id)); err != nil {
		return fmt.Errorf("delete a trusted issuer: %w", err)
	}
	if err := tx.Changed(ctx, topicTrust, before.Issuer); err != nil {
		return fmt.Errorf("tell of a trusted issuer: %w", err)
	}
	return audit.Done(ctx, tx, c, "trusted_issuer.delete", "trusted_issuer", id, map[string]any{"issuer": before.Issuer})
}

// checkTrusted answers the record that the body asks for, or what is wrong with it.
func (s *Server) checkTrusted(ctx context.Context, tx db.ReadTx, id string, b api.PutTrustedIssuer) (api.TrustedIssuer, error) {
	r := api.TrustedIssuer{ID: id, Issuer: b.Issuer, Enabled: !b.Disabled, JWKS: b.JWKS, MaxLifetime: b.MaxLifetime, SingleUse: b.SingleUse, Rules: b.Rules}
	if !registry.ValidTeamID(id) {
		return r, fault.InvalidAt("path.id", "trusted_issuer_id", "The id is lower-case letters, digits and '-'; it neither begins nor ends with '-'.")
	}
	if err := route.CheckLine("body.issuer", b.Issuer, 1, maxIssuer); err != nil {
		return r, err
	}
	if u, err := url.Parse(b.Issuer); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return r, fault.InvalidAt("body.issuer", "issuer", "The issuer is the URL that its tokens hold as iss.")
	}
	if b.Issuer == s.issuer {
		return r, fault.InvalidAt("body.issuer", "issuer", "That is this installation itself: its own tokens are no authorization for others.")
	}
	if _, err := jose.ParseKeySet([]byte(b.JWKS)); err != nil {
		return r, fault.InvalidAt("body.jwks", "jwks", "This is %s.", err)
	}
	if r.MaxLifetime == 0 {
		r.MaxLifetime = int64(trustedLife / time.Second)
	}
	if r.MaxLifetime < 1 || r.MaxLifetime > int64(longestTrusted/time.Second) {
		return r, fault.InvalidAt("body.max_lifetime", "max_lifetime", "Tokens live between a second and a day.")
	}
	if len(r.Rules) > maxRules {
		return r, fault.InvalidAt("body.rules", "rules", "There can be at most %d rules.", maxRules)
	}
	for i := range r.Rules {
		if err := s.checkRule(ctx, tx, fmt.Sprintf("body.rules[%d]", i), r.Rules[i]); err != nil {
			return r, err
		}
	}
	if r.Rules == nil {
		r.Rules = []api.TrustRule{}
	}
	return r, nil
}

func (s *Server) checkRule(ctx context.Context, tx db.ReadTx, at string, rule api.TrustRule) error {
	if err := route.CheckLine(at+".subject", rule.Subject, 1, maxRuleText); err != nil {
		return err
	}
	if len(rule.Claims) > maxClaims {
		return fault.InvalidAt(at+".claims", "claims", "A rule names at most %d claims.", maxClaims)
	}
	for name, value := range rule.Claims {
		if slices.Contains([]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}, name) {
			return fault.InvalidAt(at+".claims", "claims", "%s is checked by itself.", name)
		}
		if err := errors.Join(route.CheckLine(at+".claims", name, 1, maxRuleText), route.CheckLine(at+".claims", value, 1, maxRuleText)); err != nil {
			return err
		}
	}
	for _, scope := range rule.Scopes {
		if list, err := parseScopes(scope); err != nil || len(list) != 1 {
			return fault.InvalidAt(at+".scopes", "scopes", "One of the scopes is not the name of a scope.")
		}
	}
	if (rule.Application == "") == (rule.Person == "") {
		return fault.InvalidAt(at, "rule", "A rule names either an application or a person.")
	}
	if rule.Person != "" {
		return s.checkPersonRule(ctx, tx, at, rule)
	}
	var found int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM applications WHERE id = $1`, rule.Application).Scan(&found); err != nil {
		return fmt.Errorf("find an application: %w", err)
	}
	if found == 0 {
		return fault.InvalidAt(at+".application", "application", "There is no such application.")
	}
	return nil
}

// checkPersonRule wants a client that authenticates: what speaks for a person must not be enough by itself.
func (s *Server) checkPersonRule(ctx context.Context, tx db.ReadTx, at string, rule api.TrustRule) error {
	if rule.Public {
		return fault.InvalidAt(at+".public", "public", "Who speaks for a person needs a client that authenticates.")
	}
	var name string
	err := tx.QueryRow(ctx, `SELECT realm FROM users WHERE id = $1`, rule.Person).Scan(&name)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return fmt.Errorf("find a person: %w", err)
	}
	if found, lookup := s.realms.Lookup(name); err != nil || lookup != nil || found.Kind != realm.People || s.people == nil {
		return fault.InvalidAt(at+".person", "person", "There is no such person.")
	}
	return nil
}
