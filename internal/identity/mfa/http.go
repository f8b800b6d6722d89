package mfa

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	FactorPath struct {
		identity.UserPath
		Factor string `path:"factor" maxLength:"40" example:"fac_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	factorsOutput struct{ Body api.Factors }
)

// Routes registers the endpoints at which administrators see and take away what people sign in with.
func (s *Service) Routes(m *route.Mux) {
	op := func(method, path, id, summary string, status int) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: access.ManageUsers, Status: status, Tags: []string{"People"}}
	}
	const factors = "/api/users/{id}/factors"
	route.Read(m, op(http.MethodGet, factors, "factor.list", "List what a person signs in with besides a password", 0), s.getFactors)
	route.Write(m, op(http.MethodDelete, factors, "factor.reset", "Take all second factors off a person who has lost them, and end all sessions", http.StatusNoContent), s.deleteFactors)
	route.Write(m, op(http.MethodDelete, factors+"/{factor}", "factor.remove", "Take one second factor off a person, and end all sessions", http.StatusNoContent), s.deleteFactor)
}

func findPerson(ctx context.Context, tx db.ReadTx, c access.Caller, userID string) (identity.User, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return identity.User{}, err
	}
	p, err := identity.LoadPerson(ctx, tx, userID)
	return p.User, err
}

func (s *Service) getFactors(ctx context.Context, tx db.ReadTx, c access.Caller, in *identity.UserPath) (*factorsOutput, error) {
	u, err := findPerson(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	f, err := Load(ctx, tx, u.ID)
	if err != nil {
		return nil, err
	}
	out := &factorsOutput{api.Factors{Items: []api.Factor{}, RecoveryCodes: f.Codes, Required: s.Required(u)}}
	for _, p := range f.Passkeys {
		item := api.Factor{ID: p.ID, Kind: string(Passkeys), Name: p.Name, Synced: p.Synced, Created: p.Created}
		if !p.LastUsed.IsZero() {
			item.LastUsed = &p.LastUsed
		}
		out.Body.Items = append(out.Body.Items, item)
	}
	if f.App != nil {
		out.Body.Items = append(out.Body.Items, api.Factor{ID: f.App.ID, Kind: string(App), Created: f.App.Created, LastUsed: &f.App.LastUsed})
	}
	return out, nil
}

func (s *Service) deleteFactor(ctx context.Context, tx db.WriteTx, c access.Caller, in *FactorPath) (*struct{}, error) {
	u, err := findPerson(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	return nil, s.Remove(ctx, tx, c, u, in.Factor)
}

func (s *Service) deleteFactors(ctx context.Context, tx db.WriteTx, c access.Caller, in *identity.UserPath) (*struct{}, error) {
	u, err := findPerson(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	f, err := Load(ctx, tx, u.ID)
	if err != nil {
		return nil, err
	}
	if !f.Second() {
		return nil, fault.New(fault.Conflict, "no_factors", "The person has no second factor.")
	}
	if f.App != nil {
		if err := s.Remove(ctx, tx, c, u, f.App.ID); err != nil {
			return nil, err
		}
	}
	for _, p := range f.Passkeys {
		if err := s.Remove(ctx, tx, c, u, p.ID); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
