package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

type clientCommands struct {
	Show              clientShow                `cmd:"" help:"Show the settings of an application's OAuth client, or of one without an application."`
	Set               clientSet                 `cmd:"" help:"Replace the settings of an application's OAuth client, or of one without an application."`
	List              clientList                `cmd:"" help:"List the clients that belong to no application."`
	Create            clientCreate              `cmd:"" help:"Make a client that belongs to no application."`
	Delete            clientDelete              `cmd:"" help:"Delete a client that belongs to no application, with all that was allowed it."`
	Secret            clientSecretCommands      `cmd:"" help:"Secrets of a client beside the one that rotates."`
	Key               clientKeyCommands         `cmd:"" help:"Public keys of a client."`
	RegistrationToken registrationTokenCommands `cmd:"" help:"Tokens with which clients register themselves."`
}

type clientShow struct{ clientOf }

func (clientShow) Help() string {
	return `Examples:

    mintmark client show my-shop`
}

func (cmd *clientShow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if standalone(cmd.ID) {
		one, err := c.Client(ctx, cmd.ID)
		if err != nil {
			return err
		}
		return s.print(one, func(w io.Writer) { s.showClient(w, one.ClientSettings, belongs(*one)...) })
	}
	settings, err := c.ClientSettings(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(settings, func(w io.Writer) { s.showClient(w, *settings) })
}

// standalone tells the id of a client from that of an application, which has no underscore.
func standalone(id string) bool { return strings.HasPrefix(id, "cli_") }

// belongs is what is said of a client without an application besides.
func belongs(c api.Client) []string {
	state := "enabled"
	if !c.Enabled {
		state = "disabled"
	}
	if c.OwnerDisabled {
		state += ", refused with its owner"
	}
	if c.Untrusted {
		state += ", registered by a stranger"
	}
	return []string{"state", state, "team", c.TeamID, "owner", c.OwnerID, "own scopes", strings.Join(c.ApplicationScopes, " ")}
}

func (s *Session) showClient(w io.Writer, settings api.ClientSettings, more ...string) {
	kind := "public, it has no secret"
	if settings.Confidential {
		kind = "confidential"
	}
	values := []string{
		"client id", settings.ClientID, "name", settings.Name, "kind", kind, "grants", strings.Join(settings.GrantTypes, " "),
		"refresh tokens", settings.RefreshTokens, "back to", strings.Join(settings.RedirectURIs, " "),
		"after logout", strings.Join(settings.PostLogoutRedirectURIs, " "), "may ask for", strings.Join(settings.ResourceOwnerScopes, " "),
	}
	values = append(values, more...)
	if b, err := json.Marshal(settings.ClientMetadata); err == nil && string(b) != "{}" {
		values = append(values, "metadata", string(b))
	}
	for _, l := range settings.Lifetimes {
		what := strings.ReplaceAll(l.Token, "_", " ")
		if l.Realm != "" {
			what += " of " + l.Realm
		}
		if l.GrantType != "" {
			what += " by " + strings.TrimPrefix(l.GrantType, "urn:ietf:params:oauth:grant-type:")
		}
		values = append(values, what, span(time.Duration(l.Seconds)*time.Second)+" ("+l.From+")")
	}
	if settings.LastModifiedBy != "" {
		values = append(values, "changed", s.at(settings.LastModified)+" by "+settings.LastModifiedBy)
	}
	fields(w, values...)
}

// clientFlags are the settings that are used most; the others come from a file.
type clientFlags struct {
	File                  string        `type:"path" help:"JSON document with settings, as client show -o json prints them; flags win over it."`
	Name                  string        `help:"What people read when they are asked for their consent. Default: the application's name."`
	RedirectURI           []string      `placeholder:"URI" help:"Where people are sent back to after signing in. Repeat it for more."`
	PostLogoutRedirectURI []string      `placeholder:"URI" help:"Where people are sent back to after signing out. Repeat it for more."`
	Grant                 []string      `placeholder:"GRANT" help:"authorization_code, client_credentials, password, or the URN of another grant. Repeat it for more. Default: what the client needs for its own application, and authorization_code if there is a redirect URI."`
	RefreshTokens         string        `enum:"never,offline_access,always," default:"" help:"When signing a person in gives a refresh token: never, offline_access (if the person allows that scope; the default), always."`
	AuthMethod            string        `placeholder:"METHOD" help:"How it proves to be itself: client_secret_basic, client_secret_post, client_secret_jwt, private_key_jwt. Default: by its secret in either way."`
	JWKSURI               string        `name:"jwks-uri" placeholder:"URI" help:"Where it keeps its public keys, in place of keys that are stored here (client key add)."`
	IDTokenAlg            string        `placeholder:"ALG" help:"Algorithm of its ID tokens: ES256, EdDSA, RS256."`
	Pairwise              bool          `help:"People have another subject for it than for clients of other hosts."`
	SectorIdentifierURI   string        `placeholder:"URI" help:"Where a list of all redirect URIs of the sector lies; its host is the sector of pairwise subjects."`
	RequirePAR            bool          `help:"It must push its authorization requests."`
	BackchannelLogoutURI  string        `placeholder:"URI" help:"Where it is told by us that somebody has signed out."`
	FrontchannelLogoutURI string        `placeholder:"URI" help:"Where it is told so by the browser."`
	Origin                []string      `placeholder:"ORIGIN" help:"Where scripts that call us for it may come from. Repeat it for more. Default: the origins of its redirect URIs."`
	Resource              []string      `placeholder:"URI" help:"A resource that it may ask tokens for. Repeat it for more."`
	Contact               []string      `placeholder:"TEXT" help:"Who is responsible. Repeat it for more."`
	AccessTokenLifetime   time.Duration `help:"Default: that of the realm."`
	PersonScope           []string      `placeholder:"SCOPE" help:"groups, or the scope of an attribute, which it may ask people for. Repeat it for more. By an administrator."`
	FirstParty            bool          `help:"It belongs to the organisation itself, and people are not asked. By an administrator."`
}

// settings puts the file and the flags together.
func (f *clientFlags) settings() (put api.PutClientSettings, err error) {
	if f.File != "" {
		if put, err = readSettings(f.File); err != nil {
			return put, err
		}
	}
	text := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	list := func(to *[]string, from []string) {
		if len(from) > 0 {
			*to = from
		}
	}
	text(&put.Name, f.Name)
	text(&put.RefreshTokens, f.RefreshTokens)
	text(&put.AuthMethod, f.AuthMethod)
	text(&put.JWKSURI, f.JWKSURI)
	text(&put.SectorURI, f.SectorIdentifierURI)
	text(&put.IDTokenAlg, f.IDTokenAlg)
	text(&put.BackchannelLogoutURI, f.BackchannelLogoutURI)
	text(&put.FrontchannelLogoutURI, f.FrontchannelLogoutURI)
	list(&put.RedirectURIs, f.RedirectURI)
	list(&put.PostLogoutRedirectURIs, f.PostLogoutRedirectURI)
	list(&put.GrantTypes, f.Grant)
	list(&put.Origins, f.Origin)
	list(&put.Resources, f.Resource)
	list(&put.Contacts, f.Contact)
	list(&put.PersonScopes, f.PersonScope)
	if f.Pairwise {
		put.SubjectType = "pairwise"
	}
	if f.AccessTokenLifetime != 0 {
		put.AccessTokenLife = int64(f.AccessTokenLifetime / time.Second)
	}
	put.RequirePAR = put.RequirePAR || f.RequirePAR
	put.FirstParty = put.FirstParty || f.FirstParty
	if put.RefreshTokens == "" {
		put.RefreshTokens = "offline_access"
	}
	return put, nil
}

// readSettings reads the settings out of a document. What show prints besides, which cannot be set, may stand in it.
func readSettings(path string) (put api.PutClientSettings, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return put, fmt.Errorf("read the settings: %w", err)
	}
	var whole struct {
		api.Client
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&whole); err != nil {
		return put, fmt.Errorf("read the settings in %s: %w", path, err)
	}
	s := whole.ClientSettings
	return api.PutClientSettings{
		Name: s.Name, RedirectURIs: s.RedirectURIs, PostLogoutRedirectURIs: s.PostLogoutRedirectURIs, GrantTypes: s.GrantTypes, RefreshTokens: s.RefreshTokens, ClientMetadata: s.ClientMetadata,
	}, nil
}

type clientSet struct {
	clientOf
	clientFlags
}

func (clientSet) Help() string {
	return `This replaces all settings; what is not given is empty afterwards. Whether the client has a secret is said with the application (app create --public-client), what it may ask people for with app grant.

Examples:

    mintmark client set my-shop --redirect-uri https://shop.example.org/callback
    mintmark client set my-tool --redirect-uri http://127.0.0.1/callback --grant authorization_code --refresh-tokens always
    mintmark client show my-shop -o json > settings.json; mintmark client set my-shop --file settings.json --require-par`
}

func (cmd *clientSet) Run(ctx context.Context, s *Session) error {
	put, err := cmd.settings()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	if standalone(cmd.ID) {
		return cmd.replace(ctx, s, c, put)
	}
	if len(put.GrantTypes) == 0 && len(put.RedirectURIs) > 0 {
		a, err := c.Application(ctx, cmd.ID)
		if err != nil {
			return err
		}
		put.GrantTypes = []string{"authorization_code", "password"}
		if a.IsClientConfidential {
			put.GrantTypes = append(put.GrantTypes, "client_credentials")
		}
	}
	settings, err := c.PutClientSettings(ctx, cmd.ID, put)
	if err != nil {
		return err
	}
	return s.print(settings, func(w io.Writer) {
		fmt.Fprintf(w, "client %s of %s: %s\n", plain(settings.ClientID), plain(cmd.ID), plain(strings.Join(settings.GrantTypes, ", ")))
	})
}

// replace does it for a client without an application, whose scopes stay as they are.
func (cmd *clientSet) replace(ctx context.Context, s *Session, c *client.Client, put api.PutClientSettings) error {
	var etag string
	before, err := c.Client(ctx, cmd.ID, client.ETag(&etag))
	if err != nil {
		return err
	}
	if put.Name == "" {
		put.Name = before.Name
	}
	after, err := c.PutClient(ctx, cmd.ID, api.PutClient{PutClientSettings: put, ResourceOwnerScopes: before.ResourceOwnerScopes, ApplicationScopes: before.ApplicationScopes}, client.IfMatch(etag))
	if err != nil {
		return err
	}
	return s.print(after, func(w io.Writer) {
		fmt.Fprintf(w, "client %s: %s\n", plain(after.ClientID), plain(strings.Join(after.GrantTypes, ", ")))
	})
}

type clientList struct {
	Team      string `help:"Only those of this team."`
	Untrusted bool   `help:"Only those that strangers registered."`
}

func (clientList) Help() string {
	return `Examples:

    mintmark client list --untrusted`
}

func (cmd *clientList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	list, err := everyPage(ctx, func(ctx context.Context, p client.Page) (*api.Clients, error) {
		return c.Clients(ctx, client.ClientQuery{Page: p, Team: cmd.Team, Untrusted: cmd.Untrusted})
	}, func(p *api.Clients) ([]api.Client, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.Clients{Items: list}, func(w io.Writer) {
		var rows [][]string
		for _, x := range list {
			rows = append(rows, []string{x.ClientID, x.Name, x.TeamID + x.OwnerID, belongs(x)[1], s.at(x.Created) + " by " + x.CreatedBy})
		}
		s.table(w, "every client belongs to an application", []string{"ID", "NAME", "OWNER", "STATE", "CREATED"}, rows)
	})
}

type clientCreate struct {
	Team         string   `help:"The team that owns it. Without one it is an administrator's to change."`
	Confidential bool     `help:"It keeps a secret. It stays as it is."`
	OwnerScope   []string `placeholder:"SCOPE" help:"A resource owner scope that it may ask people for. Repeat it for more."`
	clientFlags
}

func (clientCreate) Help() string {
	return `For partners and programs that are none of the applications here. The secret of a confidential client is shown this once and does not rotate.

Examples:

    mintmark client create --team shop --confidential --name "Partner" --redirect-uri https://partner.example.org/callback`
}

func (cmd *clientCreate) Run(ctx context.Context, s *Session) error {
	put, err := cmd.settings()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	made, err := c.CreateClient(ctx, api.PostClient{PutClient: api.PutClient{PutClientSettings: put, ResourceOwnerScopes: cmd.OwnerScope}, TeamID: cmd.Team, Confidential: cmd.Confidential})
	if err != nil {
		return err
	}
	return s.print(made, func(w io.Writer) {
		fmt.Fprintf(w, "client_id=%s\n", plain(made.ClientID))
		if made.Secret != "" {
			fmt.Fprintf(w, "client_secret=%s\n", plain(made.Secret))
			s.say("the secret of %s is not shown again", made.ClientID)
		}
	})
}

type clientDelete struct {
	ID string `arg:"" help:"Id of the client, such as cli_01k8p4x0v3c9m6t2r5w8y1z4q7."`
}

func (clientDelete) Help() string {
	return `Its tokens are refused from then on, and its id is never used again. The client of an application ends with the application (app deactivate).

Examples:

    mintmark client delete cli_01k8p4x0v3c9m6t2r5w8y1z4q7`
}

func (cmd *clientDelete) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DeleteClient(ctx, cmd.ID); err != nil {
		return err
	}
	s.say("deleted client %s", cmd.ID)
	return nil
}
