package mithril

import (
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/internal/route"
)

// endpoint is one operation. All but those of the last group are served below /mithril and below /mithril/admin alike.
type endpoint struct {
	pattern string // method and path behind the prefix
	op      string
	handle  func(c *call) (*result, error)
}

func endpoints() []endpoint {
	all := []endpoint{
		{"GET /users", "user.list", (*call).users},
		{"POST /users", "user.create", (*call).createUser},
		{"GET /users/{id}", "user.get", (*call).user},
		{"PUT /users/{id}", "user.change", (*call).changeUser},
		{"PATCH /users/{id}", "user.change", (*call).changeUser},
		{"DELETE /users/{id}", "user.delete", (*call).deleteUser},
		{"PATCH /users/{id}/actions/change_password", "user.change_password", (*call).changePassword},
		{"PATCH /users/{id}/actions/block", "user.block", (*call).block},
		{"PATCH /users/{id}/actions/unblock", "user.unblock", (*call).unblock},

		{"GET /users/{id}/roles", "user_role.list", (*call).userRoles},
		{"POST /users/{id}/roles", "user_role.create", (*call).giveRole},
		{"DELETE /users/{id}/roles", "user_role.delete_all", (*call).takeRoles},
		{"GET /users/{id}/roles/{role}", "user_role.get", (*call).userRole},
		{"DELETE /users/{id}/roles/{role}", "user_role.delete", (*call).takeRole},
		{"DELETE /users/{id}/tokens", "token.delete_all", (*call).deleteTokens},
		{"DELETE /users/{id}/apps", "app.delete_all", (*call).deleteApps},

		{"GET /clients", "client.list", (*call).clients},
		{"POST /clients", "client.create", (*call).createClient},
		{"GET /clients/{id}", "client.get", (*call).getClient},
		{"GET /clients/{id}/details", "client.details", (*call).details},
		{"PUT /clients/{id}", "client.change", (*call).changeClient},
		{"PATCH /clients/{id}", "client.change", (*call).changeClient},
		{"DELETE /clients/{id}", "client.delete", (*call).deleteClient},

		{"GET /apps", "app.list", (*call).apps},
		{"POST /apps", "app.create", (*call).postApp},
		{"GET /apps/{id}", "app.get", (*call).getApp},
		{"PUT /apps/{id}", "app.put", (*call).putApp},
		{"PATCH /apps/{id}", "app.put", (*call).putApp},
		{"DELETE /apps/{id}", "app.delete", (*call).deleteApp},

		{"GET /tokens", "token.list", (*call).tokens},
		{"POST /tokens", "token.create", (*call).grant},
		{"GET /tokens/{token}", "token.get", (*call).token},
		{"DELETE /tokens/{token}", "token.delete", (*call).deleteToken},
		{"GET /tokens/{token}/verify", "token.verify", (*call).verify},
		{"GET /tokens/{token}/user", "token.user", (*call).tokenUser},
	}
	for _, k := range []sets{clientTypes, roles} {
		all = append(all,
			endpoint{"GET /" + k.collection, k.noun + ".list", k.list},
			endpoint{"POST /" + k.collection, k.noun + ".create", k.create},
			endpoint{"GET /" + k.collection + "/{id}", k.noun + ".get", k.get},
			endpoint{"PUT /" + k.collection + "/{id}", k.noun + ".change", k.change},
			endpoint{"PATCH /" + k.collection + "/{id}", k.noun + ".change", k.change},
			endpoint{"DELETE /" + k.collection + "/{id}", k.noun + ".delete", k.remove})
	}
	return all
}

// Routes registers the interface.
func (s *Service) Routes(m *route.Mux) {
	for _, e := range endpoints() {
		method, path, _ := strings.Cut(e.pattern, " ")
		m.Handle(method+" /mithril"+path, s.serve(e.op, e.handle))
		m.Handle(method+" /mithril/admin"+path, s.serve(e.op, e.handle))
	}
	m.Handle("POST /mithril/oauth/tokens", s.serve("token.create", (*call).grant))
	m.Handle("POST /mithril/oauth/apps/authorize", s.serve("app.create", (*call).authorize))
	m.Handle("/mithril/", s.serve("unknown", func(*call) (*result, error) { return nil, notFound() }))
}

// Operations lists what is served, as method and path: for the documentation's test.
func Operations() []string {
	list := []string{http.MethodPost + " /mithril/oauth/tokens", http.MethodPost + " /mithril/oauth/apps/authorize"}
	for _, e := range endpoints() {
		method, path, _ := strings.Cut(e.pattern, " ")
		list = append(list, method+" /mithril"+path)
	}
	return list
}
