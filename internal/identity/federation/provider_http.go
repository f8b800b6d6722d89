package federation

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	ProviderPath struct {
		ID string `path:"id" maxLength:"63" example:"example-org"`
	}
	putProviderInput struct {
		ProviderPath
		route.IfMatch
		Body api.PutLoginProvider
	}
	deleteProviderInput struct {
		ProviderPath
		route.IfMatch
	}
	unlinkInput struct {
		identity.UserPath
		Identity string `path:"identity" maxLength:"40" example:"lnk_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	providerOutput struct {
		route.Version
		Body api.LoginProvider
	}
	providersOutput  struct{ Body api.LoginProviders }
	checkOutput      struct{ Body api.ProviderCheck }
	identitiesOutput struct{ Body api.LinkedIdentities }
)

// Routes registers the endpoints that manage providers, and who of them is who here.
func (s *Service) Routes(m *route.Mux) {
	op := func(method, path, id, summary string) route.Op {
		return route.Op{Method: method, Path: "/api/providers" + path, ID: id, Summary: summary, Action: access.ManageProviders, Tags: []string{"Login providers"}}
	}
	route.Read(m, op(http.MethodGet, "", "provider.list", "List the OpenID providers with which people sign in"),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, _ *struct{}) (*providersOutput, error) {
			list, err := s.Providers(ctx, tx, c)
			return &providersOutput{api.LoginProviders{Items: list}}, err
		})
	route.Read(m, op(http.MethodGet, "/{id}", "provider.get", "Read a provider, but its secret"),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *ProviderPath) (*providerOutput, error) {
			p, revision, err := s.Provider(ctx, tx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return &providerOutput{route.AtVersion(revision), p}, nil
		})
	route.Write(m, op(http.MethodPut, "/{id}", "provider.put", "Make a provider, or replace all that is said of it"),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *putProviderInput) (*providerOutput, error) {
			p, revision, err := s.PutProvider(ctx, tx, c, in.ID, in.Body, in.Check)
			if err != nil {
				return nil, err
			}
			return &providerOutput{route.AtVersion(revision), p}, nil
		})
	route.Write(m, op(http.MethodDelete, "/{id}", "provider.delete", "Remove a provider, unlink everybody from it and end the sessions that began with it"),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *deleteProviderInput) (*struct{}, error) {
			return nil, s.DeleteProvider(ctx, tx, c, in.ID, in.Check)
		})
	route.Do(m, op(http.MethodPost, "/{id}/check", "provider.check", "Fetch a provider's documents and tell what a login would fail for"),
		func(ctx context.Context, c access.Caller, in *ProviderPath) (*checkOutput, error) {
			found, err := s.Check(ctx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return &checkOutput{found}, nil
		})
	people := func(method, path, id, summary string) route.Op {
		return route.Op{Method: method, Path: "/api/users/{id}/identities" + path, ID: id, Summary: summary, Action: access.ManageUsers, Tags: []string{"People"}}
	}
	route.Read(m, people(http.MethodGet, "", "identity.list", "List who a person is at providers"),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *identity.UserPath) (*identitiesOutput, error) {
			if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: in.ID}); err != nil {
				return nil, err
			}
			if _, err := identity.LoadPerson(ctx, tx, in.ID); err != nil {
				return nil, err
			}
			list, err := Links(ctx, tx, in.ID)
			return &identitiesOutput{api.LinkedIdentities{Items: list}}, err
		})
	route.Write(m, people(http.MethodDelete, "/{identity}", "identity.unlink", "Unlink a person from somebody of a provider"),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *unlinkInput) (*struct{}, error) {
			return nil, s.Unlink(ctx, tx, c, in.ID, in.Identity, "")
		})
}
