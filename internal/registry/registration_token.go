package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// RegistrationToken is an initial access token (RFC 7591 section 1.2), without the token itself: who has one may register
// clients.
type RegistrationToken struct {
	ID        string
	Label     string
	Team      string // that owns what is registered with it; "": nobody
	MaxUses   int64
	Uses      int64
	Created   time.Time
	CreatedBy string
	Expires   time.Time
	LastUsed  time.Time

	policy policy
}

// policy is what may be registered.
type policy struct {
	Scopes        []string `json:"scopes,omitempty"`         // resource owner scopes that a client may ask people for
	GrantTypes    []string `json:"grant_types,omitempty"`    // empty: usualGrants
	RedirectHosts []string `json:"redirect_hosts,omitempty"` // empty: any; .example.org: each host below it
}

// usualGrants are what may be registered if a policy names no grants.
var usualGrants = []string{GrantAuthorizationCode, GrantDeviceCode}

// strangers is the policy for clients that come without a token.
var strangers = policy{GrantTypes: []string{GrantAuthorizationCode}}

func (p policy) grant(g string) bool {
	if len(p.GrantTypes) == 0 {
		return slices.Contains(usualGrants, g)
	}
	return slices.Contains(p.GrantTypes, g)
}

func (p policy) host(uri string) bool {
	if len(p.RedirectHosts) == 0 {
		return true
	}
	u, err := url.Parse(uri)
	return err == nil && slices.ContainsFunc(p.RedirectHosts, func(h string) bool {
		return u.Hostname() == h || strings.HasPrefix(h, ".") && strings.HasSuffix(u.Hostname(), h)
	})
}

const (
	initialPrefix = "mmi_"
	initialKind   = "initial-access-token"
	initialLife   = 30 * 24 * time.Hour
	longestTokens = 365 * 24 * time.Hour
	mostUses      = 100_000
	maxTokens     = 1000
)

// useRegistrationToken takes one use of an initial access token. Unknown, expired and used up are one answer.
func (r *Registry) useRegistrationToken(ctx context.Context, tx db.WriteTx, token redact.Secret) (RegistrationToken, error) {
	if len(token.Bytes()) > maxSecret {
		return RegistrationToken{}, errRegistrationToken()
	}
	for _, mac := range r.keyring.LookupMACs(initialKind, token) {
		var t RegistrationToken
		var text string
		err := tx.QueryRow(ctx, `SELECT id, label, coalesce(team, ''), policy, uses FROM registration_tokens WHERE mac = $1 AND expires > $2 AND uses < max_uses`,
			mac, db.Micros(tx.Now())).Scan(&t.ID, &t.Label, &t.Team, &text, &t.Uses)
		if errors.Is(err, db.ErrNoRows) {
			continue
		}
		if err != nil {
			return RegistrationToken{}, fmt.Errorf("read an initial access token: %w", err)
		}
		if err := json.Unmarshal([]byte(text), &t.policy); err != nil {
			return RegistrationToken{}, fmt.Errorf("read the policy of an initial access token: %w", err)
		}
		n, err := tx.Exec(ctx, `UPDATE registration_tokens SET uses = uses + 1, last_used = $3 WHERE id = $1 AND uses = $2 AND uses < max_uses`, t.ID, t.Uses, db.Micros(tx.Now()))
		if err != nil {
			return RegistrationToken{}, fmt.Errorf("use an initial access token: %w", err)
		}
		if n == 0 {
			return RegistrationToken{}, errRegistrationToken() // somebody took the last use
		}
		return t, nil
	}
	return RegistrationToken{}, errRegistrationToken()
}

// CreateRegistrationToken makes an initial access token, which is shown this once.
func (r *Registry) CreateRegistrationToken(ctx context.Context, tx db.WriteTx, c access.Caller, t RegistrationToken, p policy) (RegistrationToken, redact.Secret, error) {
	none := func(err error) (RegistrationToken, redact.Secret, error) {
		return RegistrationToken{}, redact.Secret{}, err
	}
	if err := access.Allow(c, access.InviteClients, access.Target{Type: "registration_token"}); err != nil {
		return none(err)
	}
	now := tx.Now()
	if t.Expires.IsZero() {
		t.Expires = now.Add(initialLife)
	}
	if t.MaxUses == 0 {
		t.MaxUses = 1
	}
	if err := checkRegistrationToken(t, p, now); err != nil {
		return none(err)
	}
	if t.Team != "" {
		if err := r.needTeam(ctx, tx, t.Team); err != nil {
			return none(err)
		}
	}
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM registration_tokens`).Scan(&n); err != nil {
		return none(fmt.Errorf("count initial access tokens: %w", err))
	}
	if n >= maxTokens {
		return none(fault.New(fault.Conflict, "too_many", "There are %d of these, which is the most: delete one first.", n))
	}
	text, err := json.Marshal(p)
	if err != nil {
		return none(fmt.Errorf("write the policy of an initial access token: %w", err))
	}
	token := seal.NewSecret(initialPrefix)
	t.ID, t.Created, t.CreatedBy, t.policy = id.New(id.RegistrationToken, now), now, c.String(), p
	if err := db.One(tx.Exec(ctx, `INSERT INTO registration_tokens (id, mac, label, team, policy, max_uses, uses, created, created_by, expires, last_used)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, 0)`,
		t.ID, r.keyring.MAC(initialKind, token), t.Label, orNull(t.Team), string(text), t.MaxUses, db.Micros(now), t.CreatedBy, db.Micros(t.Expires))); err != nil {
		return none(fmt.Errorf("store an initial access token: %w", err))
	}
	return t, token, audit.Done(ctx, tx, c, "registration_token.create", "registration_token", t.ID, map[string]any{
		"label": t.Label, "team": t.Team, "policy": string(text), "max_uses": t.MaxUses, "expires": t.Expires.UTC().Format(time.RFC3339),
	})
}

func checkRegistrationToken(t RegistrationToken, p policy, now time.Time) error {
	if err := route.CheckLine("body.label", t.Label, 1, maxLine); err != nil || hidesText(t.Label) {
		return fault.InvalidAt("body.label", "bad_text", "A label is visible text of at most %d bytes.", maxLine)
	}
	if !t.Expires.After(now) || t.Expires.After(now.Add(longestTokens)) {
		return fault.InvalidAt("body.expires", "bad_time", "It must end in the future, and within a year.")
	}
	if t.MaxUses < 1 || t.MaxUses > mostUses {
		return fault.InvalidAt("body.max_uses", "bad_number", "It is good for between 1 and %d registrations.", mostUses)
	}
	for i, g := range p.GrantTypes {
		if !slices.Contains([]string{GrantAuthorizationCode, GrantClientCredentials, GrantDeviceCode, GrantJWTBearer, GrantImplicit}, g) {
			return fault.InvalidAt(fmt.Sprintf("body.grant_types[%d]", i), "invalid_client_metadata", "This grant cannot be registered.")
		}
	}
	for i, h := range p.RedirectHosts {
		if !plainHost(&url.URL{Host: strings.TrimPrefix(h, ".")}) || strings.Contains(h, ":") {
			return fault.InvalidAt(fmt.Sprintf("body.redirect_hosts[%d]", i), "bad_host", "A host is a name in lower case, with a dot in front for all below it.")
		}
	}
	for i, s := range p.Scopes {
		if s == "" || len(s) > maxLine || !plainASCII(s) {
			return fault.InvalidAt(fmt.Sprintf("body.scopes[%d]", i), "scope_not_found", "This is no name of a scope.")
		}
	}
	return nil
}

// RegistrationTokens lists the initial access tokens by id, at most limit of them, after the given id.
func (r *Registry) RegistrationTokens(ctx context.Context, tx db.ReadTx, c access.Caller, after string, limit int) ([]RegistrationToken, error) {
	if err := access.Allow(c, access.InviteClients, access.Target{Type: "registration_token"}); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT id, label, coalesce(team, ''), policy, max_uses, uses, created, created_by, expires, last_used FROM registration_tokens WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list initial access tokens: %w", err)
	}
	defer rows.Close()
	var list []RegistrationToken
	for rows.Next() {
		var t RegistrationToken
		var text string
		var created, expires, used int64
		if err := rows.Scan(&t.ID, &t.Label, &t.Team, &text, &t.MaxUses, &t.Uses, &created, &t.CreatedBy, &expires, &used); err != nil {
			return nil, fmt.Errorf("list initial access tokens: %w", err)
		}
		if err := json.Unmarshal([]byte(text), &t.policy); err != nil {
			return nil, fmt.Errorf("read the policy of an initial access token: %w", err)
		}
		t.Created, t.Expires, t.LastUsed = db.Time(created), db.Time(expires), db.Time(used)
		list = append(list, t)
	}
	return list, rows.Err()
}

// DeleteRegistrationToken ends an initial access token. What was registered with it stays.
func (r *Registry) DeleteRegistrationToken(ctx context.Context, tx db.WriteTx, c access.Caller, tokenID string) error {
	if err := access.Allow(c, access.InviteClients, access.Target{Type: "registration_token", ID: tokenID}); err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM registration_tokens WHERE id = $1`, tokenID)
	if err != nil {
		return fmt.Errorf("delete an initial access token: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "registration_token_not_found", "There is no such token.")
	}
	return audit.Done(ctx, tx, c, "registration_token.delete", "registration_token", tokenID, nil)
}

// What the endpoints of initial access tokens take and give.
type (
	postRegistrationTokenInput struct{ Body api.PostRegistrationToken }
	registrationTokenOutput    struct{ Body api.RegistrationToken }
	registrationTokensOutput   struct{ Body api.RegistrationTokens }
	RegistrationTokenPath      struct {
		ID string `path:"id" maxLength:"40"`
	}
)

func (r *Registry) registrationTokenRoutes(m *route.Mux) {
	const path = "/api/registration-tokens"
	op := func(method, path, id, summary string) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: access.InviteClients, Tags: []string{"Clients"}}
	}
	route.Read(m, op(http.MethodGet, path, "registration_token.list", "List the tokens with which clients may register, without the tokens"),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *route.Page) (*registrationTokensOutput, error) {
			after, err := in.After(1)
			if err != nil {
				return nil, err
			}
			list, err := r.RegistrationTokens(ctx, tx, c, after[0], in.Limit+1)
			if err != nil {
				return nil, err
			}
			out := &registrationTokensOutput{api.RegistrationTokens{Items: []api.RegistrationToken{}}}
			if len(list) > in.Limit {
				list = list[:in.Limit]
				out.Body.NextCursor = route.Cursor(list[in.Limit-1].ID)
			}
			for _, t := range list {
				out.Body.Items = append(out.Body.Items, wireRegistrationToken(t))
			}
			return out, nil
		})
	route.Write(m, op(http.MethodPost, path, "registration_token.create", "Make a token with which clients may register; it is in this answer alone"),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *postRegistrationTokenInput) (*registrationTokenOutput, error) {
			b := in.Body
			t, token, err := r.CreateRegistrationToken(ctx, tx, c, RegistrationToken{Label: b.Label, Team: b.TeamID, MaxUses: b.MaxUses, Expires: b.Expires},
				policy{Scopes: b.Scopes, GrantTypes: b.GrantTypes, RedirectHosts: b.RedirectHosts})
			if err != nil {
				return nil, err
			}
			w := wireRegistrationToken(t)
			w.Token = token.Reveal()
			return &registrationTokenOutput{w}, nil
		})
	route.Write(m, op(http.MethodDelete, path+"/{id}", "registration_token.delete", "End a token with which clients may register"),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *RegistrationTokenPath) (*struct{}, error) {
			return nil, r.DeleteRegistrationToken(ctx, tx, c, in.ID)
		})
}

func wireRegistrationToken(t RegistrationToken) api.RegistrationToken {
	return api.RegistrationToken{
		ID: t.ID, Label: t.Label, TeamID: t.Team, MaxUses: t.MaxUses, Uses: t.Uses, Scopes: orEmpty(t.policy.Scopes), GrantTypes: orEmpty(t.policy.GrantTypes),
		RedirectHosts: orEmpty(t.policy.RedirectHosts), Created: t.Created, CreatedBy: t.CreatedBy, Expires: t.Expires, LastUsed: t.LastUsed,
	}
}
