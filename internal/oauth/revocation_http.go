package oauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	RulePath struct {
		ID string `path:"id" maxLength:"40" example:"rul_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	revokeInput      struct{ Body api.Revoke }
	refreshInput     struct{ Body api.RefreshRevocations }
	listRevokedInput struct{ route.Page }
	createRuleInput  struct{ Body api.CreateRevocationRule }
	revokedOutput    struct{ Body api.Revoked }
	revocationsOut   struct{ Body api.Revocations }
	ruleOutput       struct{ Body api.RevocationRule }
	rulesOutput      struct{ Body api.RevocationRules }
)

// revocationRoutes registers the endpoints for what is revoked: of the protocol under two names, as verifiers of this
// family know the shorter one, and those of administrators.
func (s *Server) revocationRoutes(m *route.Mux) {
	for _, path := range []string{"/oauth2", ""} {
		m.Handle(path+"/revocations", func(w http.ResponseWriter, r *http.Request) {
			switch r.Method {
			case http.MethodGet, http.MethodHead:
				s.getRevocations(w, r)
			case http.MethodPost:
				s.postRevocation(w, r)
			default:
				notThisMethod(w, r, "GET, HEAD, POST")
			}
		})
		m.Handle(path+"/notifications/REFRESH_FROM", only(http.MethodPost, s.postRefresh))
	}
	op := func(method, path, id, summary string, status int) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: access.RevokeTokens, Status: status, Tags: []string{"Revocation"}}
	}
	const all, rules = "/api/revocations", "/api/revocation-rules"
	route.Write(m, op(http.MethodPost, all, "revocation.create", "Revoke tokens, and end what they come from", http.StatusCreated),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *revokeInput) (*revokedOutput, error) {
			out, err := s.Revoke(ctx, tx, c, in.Body)
			if err == nil {
				tx.AfterCommit(func() { s.metrics.revoked.WithLabelValues(in.Body.Kind, outcomeSuccess).Inc() })
			}
			return &revokedOutput{out}, err
		})
	route.Read(m, op(http.MethodGet, all, "revocation.list", "List revocations of many tokens that still count", 0), s.listRevocations)
	route.Write(m, op(http.MethodPost, all+"/refresh", "revocation.refresh", "Have nodes and verifiers read all revocations again", http.StatusNoContent),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *refreshInput) (*struct{}, error) {
			return nil, s.refresh(ctx, tx, c, in.Body.From)
		})
	route.Read(m, op(http.MethodGet, rules, "revocation_rule.list", "List who besides administrators may revoke what", 0),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, _ *struct{}) (*rulesOutput, error) {
			if err := access.Allow(c, access.RevokeTokens, access.Target{Type: "revocation_rule"}); err != nil {
				return nil, err
			}
			list, err := loadRules(ctx, tx)
			return &rulesOutput{api.RevocationRules{Items: list}}, err
		})
	route.Write(m, op(http.MethodPost, rules, "revocation_rule.create", "Let callers revoke tokens", http.StatusCreated), s.createRule)
	route.Write(m, op(http.MethodDelete, rules+"/{id}", "revocation_rule.delete", "Take such a rule away", 0), s.deleteRule)
}

// postRefresh is the operation under the name and in the form that verifiers of this family know, for administrators.
func (s *Server) postRefresh(w http.ResponseWriter, r *http.Request) {
	err := func() error {
		c, err := s.caller(r)
		if err != nil {
			return err
		}
		values, err := url.ParseQuery(r.URL.RawQuery)
		seconds, wrong := strconv.ParseInt(values.Get("value"), 10, 64)
		if err != nil || wrong != nil || len(values["value"]) != 1 || seconds < 0 || seconds > 1<<40 {
			return fault.New(fault.Invalid, "value", "Give value: a Unix time in seconds.")
		}
		return s.db.Write(r.Context(), func(tx db.WriteTx) error { return s.refresh(r.Context(), tx, c, time.Unix(seconds, 0)) })
	}()
	if err != nil {
		route.WriteProblem(w, r, err)
		return
	}
	answer(w, http.StatusCreated, nil)
}

func (s *Server) refresh(ctx context.Context, tx db.WriteTx, c access.Caller, from time.Time) error {
	if err := access.Allow(c, access.RevokeTokens, access.Target{Type: "revocation"}); err != nil {
		return err
	}
	if err := s.refreshFrom(ctx, tx, from); err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "revocation.refresh", "revocation", "all", map[string]any{"from": from.UTC()})
}

func (s *Server) listRevocations(ctx context.Context, tx db.ReadTx, c access.Caller, in *listRevokedInput) (*revocationsOut, error) {
	if err := access.Allow(c, access.RevokeTokens, access.Target{Type: "revocation"}); err != nil {
		return nil, err
	}
	after, err := in.After(1)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT id, kind, names, claim_values, issued_before, revoked, revoked_by, reason FROM revocations
		WHERE expires > $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3`, db.Micros(tx.Now()), after[0], in.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list revocations: %w", err)
	}
	defer rows.Close()
	out := &revocationsOut{api.Revocations{Items: []api.Revocation{}}}
	for rows.Next() {
		var r api.Revocation
		var names, values string
		var before, revoked int64
		if err := rows.Scan(&r.ID, &r.Kind, &names, &values, &before, &revoked, &r.RevokedBy, &r.Reason); err != nil {
			return nil, fmt.Errorf("list revocations: %w", err)
		}
		r.IssuedBefore, r.Revoked = db.Time(before), db.Time(revoked)
		v, _ := storedCovering(names, values, 0)
		r.Claims = v.claims()
		out.Body.Items = append(out.Body.Items, r)
	}
	if len(out.Body.Items) > in.Limit {
		out.Body.Items = out.Body.Items[:in.Limit]
		out.Body.NextCursor = route.Cursor(out.Body.Items[in.Limit-1].ID)
	}
	return out, rows.Err()
}

// maxRevocationRules bounds the rules, which are read at each revocation by a caller who is no administrator.
const maxRevocationRules = 200

func (s *Server) createRule(ctx context.Context, tx db.WriteTx, c access.Caller, in *createRuleInput) (*ruleOutput, error) {
	if err := access.Allow(c, access.RevokeTokens, access.Target{Type: "revocation_rule"}); err != nil {
		return nil, err
	}
	var texts [2]string
	var claims [2]map[string]string
	for i, given := range []map[string]string{in.Body.Required, in.Body.Allowed} {
		// An empty list would let every caller, or every token: nobody writes that on purpose.
		v, err := s.coveringOf(given)
		if err != nil {
			return nil, err
		}
		claims[i] = v.claims()
		b, err := json.Marshal(claims[i])
		if err != nil {
			return nil, err
		}
		texts[i] = string(b)
	}
	existing, err := loadRules(ctx, tx)
	if err != nil {
		return nil, err
	}
	if len(existing) >= maxRevocationRules {
		return nil, fault.New(fault.Conflict, "too_many_rules", "There are %d rules already: take some away.", len(existing))
	}
	rule := api.RevocationRule{ID: id.New(id.Rule, tx.Now()), Required: claims[0], Allowed: claims[1], Created: tx.Now(), CreatedBy: c.String()}
	n, err := tx.Exec(ctx, `INSERT INTO revocation_rules (id, required_user_claims, allowed_revocation_claims, created, created_by) VALUES ($1, $2, $3, $4, $5)`,
		rule.ID, texts[0], texts[1], db.Micros(rule.Created), rule.CreatedBy)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows", n)
	}
	if err != nil {
		return nil, fmt.Errorf("store a rule: %w", err)
	}
	return &ruleOutput{rule}, audit.Done(ctx, tx, c, "revocation_rule.create", "revocation_rule", rule.ID, map[string]any{"required": claims[0], "allowed": claims[1]})
}

func (s *Server) deleteRule(ctx context.Context, tx db.WriteTx, c access.Caller, in *RulePath) (*struct{}, error) {
	if err := access.Allow(c, access.RevokeTokens, access.Target{Type: "revocation_rule", ID: in.ID}); err != nil {
		return nil, err
	}
	n, err := tx.Exec(ctx, `DELETE FROM revocation_rules WHERE id = $1`, in.ID)
	if err != nil {
		return nil, fmt.Errorf("delete a rule: %w", err)
	}
	if n == 0 {
		return nil, fault.New(fault.NotFound, "rule_not_found", "There is no such rule.")
	}
	return nil, audit.Done(ctx, tx, c, "revocation_rule.delete", "revocation_rule", in.ID, nil)
}

func loadRules(ctx context.Context, tx db.ReadTx) ([]api.RevocationRule, error) {
	rows, err := tx.Query(ctx, `SELECT id, required_user_claims, allowed_revocation_claims, created, created_by FROM revocation_rules ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	defer rows.Close()
	list := []api.RevocationRule{}
	for rows.Next() {
		var r api.RevocationRule
		var required, allowed string
		var created int64
		err := rows.Scan(&r.ID, &required, &allowed, &created, &r.CreatedBy)
		if err == nil {
			r.Required, err = decodeClaims(required)
		}
		if err == nil {
			r.Allowed, err = decodeClaims(allowed)
		}
		if err != nil {
			return nil, fmt.Errorf("list rules: %w", err)
		}
		r.Created = db.Time(created)
		list = append(list, r)
	}
	return list, rows.Err()
}
