package registry

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints of clients without an application take and give.
type (
	ClientPath struct {
		ID string `path:"client_id" maxLength:"40" example:"cli_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	listClientsInput struct {
		route.Page
		Team      string `query:"team_id" maxLength:"100"`
		Owner     string `query:"owner_id" maxLength:"40" doc:"Id of a person."`
		Untrusted string `query:"untrusted" enum:"true,false"`
	}
	clientsOutput   struct{ Body api.Clients }
	postClientInput struct{ Body api.PostClient }
	putOwnInput     struct {
		ClientPath
		route.IfMatch
		Body api.PutClient
	}
	ownOutput struct {
		route.Version
		Body api.Client
	}
)

// standaloneRoutes registers the endpoints of clients without an application.
func (r *Registry) standaloneRoutes(m *route.Mux) {
	const path = "/api/clients"
	op := func(method, path, id, summary string, action access.Action) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: action, Tags: []string{"Clients"}}
	}
	route.Read(m, op(http.MethodGet, path, "client.list", "List the clients that belong to no application", access.ReadClient), r.getClients)
	route.Do(m, op(http.MethodPost, path, "client.create", "Make a client that belongs to no application", access.WriteClient), r.postClient)
	route.Read(m, op(http.MethodGet, path+"/{client_id}", "client.read", "Read a client that belongs to no application", access.ReadClient), r.getOwn)
	route.Do(m, op(http.MethodPut, path+"/{client_id}", "client.replace", "Replace what can be set of a client that belongs to no application", access.WriteClient), r.putOwn)
	route.Write(m, op(http.MethodDelete, path+"/{client_id}", "client.delete", "Delete a client that belongs to no application", access.WriteClient), r.deleteOwn)
	r.proofRoutes(m)
}

func (r *Registry) getClients(ctx context.Context, tx db.ReadTx, c access.Caller, in *listClientsInput) (*clientsOutput, error) {
	after, err := in.After(1)
	if err != nil {
		return nil, err
	}
	f := ClientFilter{Team: in.Team, Owner: in.Owner, After: after[0], Limit: in.Limit + 1}
	if in.Untrusted != "" {
		untrusted := in.Untrusted == "true"
		f.Untrusted = &untrusted
	}
	list, err := r.ListClients(ctx, tx, c, f)
	if err != nil {
		return nil, err
	}
	out := &clientsOutput{api.Clients{Items: []api.Client{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.NextCursor = route.Cursor(list[in.Limit-1].ID)
	}
	for _, n := range list {
		out.Body.Items = append(out.Body.Items, r.wireClient(n))
	}
	return out, nil
}

func (r *Registry) postClient(ctx context.Context, c access.Caller, in *postClientInput) (*ownOutput, error) {
	b := in.Body
	var n StandaloneClient
	var secret redact.Secret
	err := r.withSector(ctx, func(list *sectorList) error {
		settings := settingsOf(b.PutClientSettings)
		settings.sector = list
		return r.d.Write(ctx, func(tx db.WriteTx) (err error) {
			if n, secret, err = r.CreateClient(ctx, tx, c, StandaloneClient{
				Team: b.TeamID, Owner: b.OwnerID, Confidential: b.Confidential, Settings: settings,
				OwnerScopes: b.ResourceOwnerScopes, AccountScopes: b.ApplicationScopes,
			}); err != nil {
				return err
			}
			return checkKeys(ctx, tx, n.ID, n.Settings.Metadata) // it has no key yet
		})
	})
	if err != nil {
		return nil, err
	}
	w := r.wireClient(n)
	w.Secret = secret.Reveal()
	return &ownOutput{route.AtVersion(n.Settings.Revision), w}, nil
}

func (r *Registry) getOwn(ctx context.Context, tx db.ReadTx, c access.Caller, in *ClientPath) (*ownOutput, error) {
	n, err := r.GetClient(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	return &ownOutput{route.AtVersion(n.Settings.Revision), r.wireClient(n)}, nil
}

func (r *Registry) putOwn(ctx context.Context, c access.Caller, in *putOwnInput) (*ownOutput, error) {
	var n StandaloneClient
	err := r.withSector(ctx, func(list *sectorList) error {
		settings := settingsOf(in.Body.PutClientSettings)
		settings.sector = list
		return r.d.Write(ctx, func(tx db.WriteTx) (err error) {
			if n, err = r.UpdateClient(ctx, tx, c, in.ID, ClientChange{
				Settings: &settings, OwnerScopes: &in.Body.ResourceOwnerScopes, AccountScopes: &in.Body.ApplicationScopes, Enabled: in.Body.Enabled,
			}, in.Check); err != nil {
				return err
			}
			return checkKeys(ctx, tx, in.ID, n.Settings.Metadata)
		})
	})
	if err != nil {
		return nil, err
	}
	return &ownOutput{route.AtVersion(n.Settings.Revision), r.wireClient(n)}, nil
}

func (r *Registry) deleteOwn(ctx context.Context, tx db.WriteTx, c access.Caller, in *ClientPath) (*struct{}, error) {
	return nil, r.DeleteClient(ctx, tx, c, in.ID)
}

func (r *Registry) wireClient(n StandaloneClient) api.Client {
	w := api.Client{
		ClientSettings: r.wireSettings(n.ID, n.Settings, n.Confidential), TeamID: n.Team, OwnerID: n.Owner, Enabled: n.Disabled.IsZero(), OwnerDisabled: n.OwnerDisabled, Untrusted: n.Untrusted,
		ApplicationScopes: orEmpty(n.AccountScopes), Created: n.Created, CreatedBy: n.CreatedBy, Expires: n.Expires,
	}
	w.ResourceOwnerScopes = orEmpty(n.OwnerScopes)
	return w
}

// What the endpoints of secrets and keys take and give: one set for a client by its id, one for an application's.
type (
	postSecretInput struct {
		ClientPath
		Body api.PostClientSecret
	}
	postAppSecretInput struct {
		ApplicationPath
		Body api.PostClientSecret
	}
	postKeyInput struct {
		ClientPath
		Body api.PostClientKey
	}
	postAppKeyInput struct {
		ApplicationPath
		Body api.PostClientKey
	}
	SecretPath struct {
		ClientPath
		Secret string `path:"secret_id" maxLength:"40"`
	}
	AppSecretPath struct {
		ApplicationPath
		Secret string `path:"secret_id" maxLength:"40"`
	}
	KeyPath struct {
		ClientPath
		Key string `path:"key_id" maxLength:"40"`
	}
	AppKeyPath struct {
		ApplicationPath
		Key string `path:"key_id" maxLength:"40"`
	}
	secretsOutput struct{ Body api.ClientSecrets }
	secretOutput  struct{ Body api.ClientSecret }
	keysOutput    struct{ Body api.ClientKeys }
	keyOutput     struct{ Body api.ClientKey }
)

// proofRoutes registers the endpoints of secrets and keys, under both names of a client.
func (r *Registry) proofRoutes(m *route.Mux) {
	const own, app = "/api/clients/{client_id}", "/api/applications/{id}/client"
	op := func(method, path, id, summary string, action access.Action) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: action, Tags: []string{"Clients"}}
	}
	route.Read(m, op(http.MethodGet, own+"/secrets", "client_secret.list", "List the labelled secrets of a client, without the secrets", access.WriteClient),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *ClientPath) (*secretsOutput, error) {
			return r.getSecrets(ctx, tx, c, in.ID)
		})
	route.Write(m, op(http.MethodPost, own+"/secrets", "client_secret.create", "Make another secret of a client; it is in this answer alone", access.WriteClient),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *postSecretInput) (*secretOutput, error) {
			return r.postSecret(ctx, tx, c, in.ID, in.Body)
		})
	route.Write(m, op(http.MethodDelete, own+"/secrets/{secret_id}", "client_secret.revoke", "Revoke a labelled secret of a client", access.WriteClient),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *SecretPath) (*struct{}, error) {
			return nil, r.DeleteSecret(ctx, tx, c, in.ID, in.Secret)
		})
	route.Read(m, op(http.MethodGet, own+"/keys", "client_key.list", "List the public keys of a client", access.WriteClient),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *ClientPath) (*keysOutput, error) {
			return r.getKeys(ctx, tx, c, in.ID)
		})
	route.Write(m, op(http.MethodPost, own+"/keys", "client_key.add", "Add a public key to a client", access.WriteClient),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *postKeyInput) (*keyOutput, error) {
			return r.postKey(ctx, tx, c, in.ID, in.Body)
		})
	route.Write(m, op(http.MethodDelete, own+"/keys/{key_id}", "client_key.remove", "Remove a public key of a client", access.WriteClient),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *KeyPath) (*struct{}, error) {
			return nil, r.DeleteKey(ctx, tx, c, in.ID, in.Key)
		})

	route.Read(m, op(http.MethodGet, app+"/secrets", "application_secret.list", "List the labelled secrets of an application's client, without the secrets", access.WriteApplication),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *ApplicationPath) (*secretsOutput, error) {
			clientID, err := r.clientOf(ctx, tx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return r.getSecrets(ctx, tx, c, clientID)
		})
	route.Write(m, op(http.MethodPost, app+"/secrets", "application_secret.create", "Make another secret of an application's client; it is in this answer alone", access.WriteApplication),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *postAppSecretInput) (*secretOutput, error) {
			clientID, err := r.clientOf(ctx, tx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return r.postSecret(ctx, tx, c, clientID, in.Body)
		})
	route.Write(m, op(http.MethodDelete, app+"/secrets/{secret_id}", "application_secret.revoke", "Revoke a labelled secret of an application's client", access.WriteApplication),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *AppSecretPath) (*struct{}, error) {
			clientID, err := r.clientOf(ctx, tx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return nil, r.DeleteSecret(ctx, tx, c, clientID, in.Secret)
		})
	route.Read(m, op(http.MethodGet, app+"/keys", "application_key.list", "List the public keys of an application's client", access.WriteApplication),
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *ApplicationPath) (*keysOutput, error) {
			clientID, err := r.clientOf(ctx, tx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return r.getKeys(ctx, tx, c, clientID)
		})
	route.Write(m, op(http.MethodPost, app+"/keys", "application_key.add", "Add a public key to an application's client", access.WriteApplication),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *postAppKeyInput) (*keyOutput, error) {
			clientID, err := r.clientOf(ctx, tx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return r.postKey(ctx, tx, c, clientID, in.Body)
		})
	route.Write(m, op(http.MethodDelete, app+"/keys/{key_id}", "application_key.remove", "Remove a public key of an application's client", access.WriteApplication),
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *AppKeyPath) (*struct{}, error) {
			clientID, err := r.clientOf(ctx, tx, c, in.ID)
			if err != nil {
				return nil, err
			}
			return nil, r.DeleteKey(ctx, tx, c, clientID, in.Key)
		})
}

// clientOf is the id of the application's client, for who may read applications.
func (r *Registry) clientOf(ctx context.Context, tx db.ReadTx, c access.Caller, application string) (string, error) {
	a, err := r.GetApplication(ctx, tx, c, application)
	return a.ClientID, err
}

func (r *Registry) getSecrets(ctx context.Context, tx db.ReadTx, c access.Caller, clientID string) (*secretsOutput, error) {
	list, err := r.Secrets(ctx, tx, c, clientID)
	if err != nil {
		return nil, err
	}
	out := &secretsOutput{api.ClientSecrets{Items: []api.ClientSecret{}}}
	for _, s := range list {
		out.Body.Items = append(out.Body.Items, wireSecret(s))
	}
	return out, nil
}

func (r *Registry) postSecret(ctx context.Context, tx db.WriteTx, c access.Caller, clientID string, b api.PostClientSecret) (*secretOutput, error) {
	s, secret, err := r.CreateSecret(ctx, tx, c, clientID, b.Label, b.Expires)
	if err != nil {
		return nil, err
	}
	w := wireSecret(s)
	w.Secret = secret.Reveal()
	return &secretOutput{w}, nil
}

func wireSecret(s LabelledSecret) api.ClientSecret {
	return api.ClientSecret{ID: s.ID, Label: s.Label, Created: s.Created, CreatedBy: s.CreatedBy, Expires: s.Expires, LastUsed: s.LastUsed}
}

func (r *Registry) getKeys(ctx context.Context, tx db.ReadTx, c access.Caller, clientID string) (*keysOutput, error) {
	list, err := r.Keys(ctx, tx, c, clientID)
	if err != nil {
		return nil, err
	}
	out := &keysOutput{api.ClientKeys{Items: []api.ClientKey{}}}
	for _, k := range list {
		out.Body.Items = append(out.Body.Items, wireKey(k))
	}
	return out, nil
}

func (r *Registry) postKey(ctx context.Context, tx db.WriteTx, c access.Caller, clientID string, b api.PostClientKey) (*keyOutput, error) {
	k, err := r.AddKey(ctx, tx, c, clientID, b.Label, b.JWK, b.Expires)
	if err != nil {
		return nil, err
	}
	return &keyOutput{wireKey(k)}, nil
}

func wireKey(k ClientKey) api.ClientKey {
	return api.ClientKey{
		ID: k.ID, Label: k.Label, Kid: k.Kid, JWK: json.RawMessage(k.JWK), Created: k.Created, CreatedBy: k.CreatedBy, Expires: k.Expires, LastUsed: k.LastUsed,
	}
}
