package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
)

type clientCommands struct {
	Show clientShow `cmd:"" help:"Show the settings of an application's OAuth client."`
	Set  clientSet  `cmd:"" help:"Replace the settings of an application's OAuth client."`
}

type clientShow struct{ appID }

func (clientShow) Help() string {
	return `Examples:

    mintmark client show my-shop`
}

func (cmd *clientShow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	settings, err := c.ClientSettings(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(settings, func(w io.Writer) {
		kind := "public, it has no secret"
		if settings.Confidential {
			kind = "confidential"
		}
		values := []string{
			"client id", settings.ClientID, "name", settings.Name, "kind", kind, "grants", strings.Join(settings.GrantTypes, " "),
			"refresh tokens", settings.RefreshTokens, "back to", strings.Join(settings.RedirectURIs, " "),
			"after logout", strings.Join(settings.PostLogoutRedirectURIs, " "), "may ask for", strings.Join(settings.ResourceOwnerScopes, " "),
		}
		for _, l := range settings.Lifetimes {
			what := strings.ReplaceAll(l.Token, "_", " ")
			if l.Realm != "" {
				what += " of " + l.Realm
			}
			if l.GrantType != "" {
				what += " by " + l.GrantType
			}
			values = append(values, what, span(time.Duration(l.Seconds)*time.Second)+" ("+l.From+")")
		}
		if settings.LastModifiedBy != "" {
			values = append(values, "changed", s.at(settings.LastModified)+" by "+settings.LastModifiedBy)
		}
		fields(w, values...)
	})
}

type clientSet struct {
	appID
	Name                  string   `help:"What people read when they are asked for their consent. Default: the application's name."`
	RedirectURI           []string `placeholder:"URI" help:"Where people are sent back to after signing in. Repeat it for more."`
	PostLogoutRedirectURI []string `placeholder:"URI" help:"Where people are sent back to after signing out. Repeat it for more."`
	Grant                 []string `placeholder:"GRANT" help:"authorization_code, client_credentials, password. Repeat it for more. Default: what the client needs for its own application, and authorization_code if there is a redirect URI."`
	RefreshTokens         string   `enum:"never,offline_access,always" default:"offline_access" help:"When signing a person in gives a refresh token: never, offline_access (if the person allows that scope), always."`
}

func (clientSet) Help() string {
	return `This replaces all settings; what is not given is empty afterwards. Whether the client has a secret is said with the application (app create --public-client), what it may ask people for with app grant.

Examples:

    mintmark client set my-shop --redirect-uri https://shop.example.org/callback
    mintmark client set my-tool --redirect-uri http://127.0.0.1/callback --grant authorization_code --refresh-tokens always`
}

func (cmd *clientSet) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	put := api.PutClientSettings{
		Name: cmd.Name, RedirectURIs: cmd.RedirectURI, PostLogoutRedirectURIs: cmd.PostLogoutRedirectURI, GrantTypes: cmd.Grant, RefreshTokens: cmd.RefreshTokens,
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
