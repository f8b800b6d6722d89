package registry

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/route"
)

type (
	putClientInput struct {
		ApplicationPath
		route.IfMatch
		Body api.PutClientSettings
	}
	clientOutput struct {
		route.Version
		Body api.ClientSettings
	}
)

// clientRoutes registers the endpoints of an application's client.
func (r *Registry) clientRoutes(m *route.Mux) {
	const path = "/api/applications/{id}/client"
	route.Read(m, route.Op{Method: http.MethodGet, Path: path, ID: "client.get", Summary: "Read the settings of an application's client", Action: access.ReadRegistry, Tags: []string{"Registry"}}, r.getClient)
	route.Do(m, route.Op{Method: http.MethodPut, Path: path, ID: "client.put", Summary: "Replace the settings of an application's client", Action: access.WriteApplication, Tags: []string{"Registry"}}, r.putClient)
}

func (r *Registry) getClient(ctx context.Context, tx db.ReadTx, c access.Caller, in *ApplicationPath) (*clientOutput, error) {
	s, a, err := r.GetSettings(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	return r.clientAnswer(ctx, tx, s, a)
}

func (r *Registry) putClient(ctx context.Context, c access.Caller, in *putClientInput) (out *clientOutput, err error) {
	err = r.withSector(ctx, func(list *sectorList) error {
		settings := settingsOf(in.Body)
		settings.sector = list
		return r.d.Write(ctx, func(tx db.WriteTx) error {
			s, a, err := r.PutSettings(ctx, tx, c, in.ID, settings, in.Check)
			if err != nil {
				return err
			}
			out, err = r.clientAnswer(ctx, tx, s, a)
			return err
		})
	})
	return out, err
}

func (r *Registry) clientAnswer(ctx context.Context, tx db.ReadTx, s Settings, a Application) (*clientOutput, error) {
	grants, err := loadGrants(ctx, tx, a.ID, a.ClientID)
	if err != nil {
		return nil, err
	}
	w := r.wireSettings(a.ClientID, s, a.Confidential)
	for _, g := range grants {
		if g.ResourceOwnerScope {
			w.ResourceOwnerScopes = append(w.ResourceOwnerScopes, g.Scope)
		}
	}
	return &clientOutput{route.AtVersion(s.Revision), w}, nil
}

func settingsOf(b api.PutClientSettings) Settings {
	return Settings{
		Name: b.Name, RedirectURIs: b.RedirectURIs, PostLogoutRedirectURIs: b.PostLogoutRedirectURIs, GrantTypes: b.GrantTypes,
		RefreshTokens: RefreshTokens(b.RefreshTokens), Metadata: metadataOf(b.ClientMetadata),
	}
}

// wireSettings is all but the scopes.
func (r *Registry) wireSettings(clientID string, s Settings, confidential bool) api.ClientSettings {
	w := api.ClientSettings{
		ClientID: clientID, Name: s.Name, Confidential: confidential, RedirectURIs: orEmpty(s.RedirectURIs),
		PostLogoutRedirectURIs: orEmpty(s.PostLogoutRedirectURIs), GrantTypes: []string{}, RefreshTokens: string(s.RefreshTokens),
		ClientMetadata: s.Metadata.wire(), ResourceOwnerScopes: []string{}, LastModified: s.Modified, LastModifiedBy: s.ModifiedBy,
	}
	all := s.grantTypes(confidential)
	w.Lifetimes = r.o.Lifetimes.Effective(s.Metadata, all)
	for _, g := range all {
		if g != GrantRefreshToken { // that is said by refresh_tokens
			w.GrantTypes = append(w.GrantTypes, g)
		}
	}
	return w
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
