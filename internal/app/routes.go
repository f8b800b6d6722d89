package app

import (
	"strings"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/s3api"
)

// routes is the whole surface of the public listener. Each part registers its own addresses; docs/api.md lists them all,
// and a test compares it with what is registered.
func (a *App) routes() {
	a.mux = route.New(route.Options{
		Logger: a.log, Clock: a.clock, Metrics: a.metrics, DB: a.db, Title: "mintmark", Version: a.build.Version,
		HTTPS: strings.HasPrefix(a.config.Issuer, "https://"), TrustedProxies: a.proxies(),
		Authenticate: a.authn.Caller, Denied: a.denials.Record, Page: a.pages.Error,
	})

	// /oauth2/… and /.well-known/…: tokens, introspection, revocation, keys, discovery.
	a.oauth.Routes(a.mux)

	// /api/…: management.
	a.catalog.Routes(a.mux)
	a.registry.Routes(a.mux)
	a.identity.Routes(a.mux)
	a.factors.Routes(a.mux)
	a.accounts.Routes(a.mux)
	a.directory.Routes(a.mux)
	a.groups.Routes(a.mux)
	a.personal.Routes(a.mux)
	a.transfer.Routes(a.mux)
	a.upstream.Routes(a.mux)
	a.rotation.Routes(a.mux)
	a.keys.Routes(a.mux)
	audit.Routes(a.mux, a.keyring, a.auditOrigin())
	if a.s3 != nil {
		s3api.NewStorage(a.keyring, applications{a.registry}).Routes(a.mux)
	}

	// /mithril/…: users, roles, clients, approvals and tokens for programs that were written for Mithril.
	if a.mithril != nil {
		a.mithril.Routes(a.mux)
	}

	// Pages.
	a.mux.Handle("GET /{$}", a.pages.Home)
	a.mux.Handle("GET /login", a.pages.LoginForm)
	a.mux.Handle("POST /login", a.pages.Login)
	a.mux.Handle("GET /logout", a.pages.LogoutForm)
	a.mux.Handle("POST /logout", a.pages.Logout)
	a.mux.Handle("GET /account", a.pages.Account)
	a.pages.SecurityRoutes(a.mux)
	a.pages.AccountRoutes(a.mux)
	a.pages.LookRoutes(a.mux)
	a.pages.UpstreamRoutes(a.mux)
	a.mux.Handle("GET "+a.pages.StylePath(), a.pages.Style)
	a.mux.Handle("GET "+a.pages.IconPath(), a.pages.Icon)
}
