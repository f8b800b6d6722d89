package access_test

import (
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/fault"
)

func TestRules(t *testing.T) {
	shop := access.Target{Type: "application", ID: "sales-orders", Team: "shop"}
	member := access.Caller{Kind: access.Person, Realm: "employees", Teams: []string{"shop"}}
	stranger := access.Caller{Kind: access.Person, Realm: "employees", Teams: []string{"bank"}}
	customer := access.Caller{Kind: access.Person, Realm: "customers", Teams: []string{"shop"}}
	robot := access.Caller{Kind: access.Service, Realm: "services", Teams: []string{"shop"}}
	writer := access.Caller{Kind: access.Service, Realm: "services", Teams: []string{"shop"}, Scopes: []string{"application.write"}}
	admin := access.Caller{Kind: access.Person, Realm: "employees", Admin: true}
	adminRobot := access.Caller{Kind: access.Service, Realm: "services", Admin: true}
	for _, c := range []struct {
		name   string
		caller access.Caller
		action access.Action
		target access.Target
		want   bool
	}{
		{"member writes", member, access.WriteApplication, shop, true},
		{"stranger writes", stranger, access.WriteApplication, shop, false},
		{"customer writes", customer, access.WriteApplication, shop, false},
		{"robot without scope writes", robot, access.WriteApplication, shop, false},
		{"robot with scope writes", writer, access.WriteApplication, shop, true},
		{"admin writes", admin, access.WriteApplication, shop, true},
		{"a service user is never an administrator", adminRobot, access.WriteTeam, shop, false},
		{"member grants a scope", member, access.GrantScope, shop, false},
		{"admin grants a scope", admin, access.GrantScope, shop, true},
		{"stranger reads", stranger, access.ReadRegistry, shop, true},
		{"customer reads", customer, access.ReadRegistry, shop, false},
		{"member of no team, thing of no team", access.Caller{Kind: access.Person, Realm: "employees", Teams: []string{""}}, access.WriteApplication, access.Target{}, false},
		{"unknown action", admin, access.Action("application.destroy"), shop, false},
		{"system", access.SystemCaller("test"), access.Action("application.destroy"), shop, true},
	} {
		if got := access.Allow(c.caller, c.action, c.target) == nil; got != c.want {
			t.Errorf("%s: allowed %v, want %v", c.name, got, c.want)
		}
	}
}

func TestNobodyMayDoNothing(t *testing.T) {
	for _, a := range access.Actions() {
		if err := access.Allow(access.Caller{Admin: true, Teams: []string{"shop"}}, a, access.Target{Team: "shop"}); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: anonymous got %v", a, err)
		}
		if err := access.Allow(access.Caller{Kind: "robot", Admin: true}, a, access.Target{}); !fault.Is(err, fault.Forbidden) {
			t.Errorf("%s: unknown kind of caller got %v", a, err)
		}
	}
}

func TestCallerHasOneName(t *testing.T) {
	for want, c := range map[string]access.Caller{
		"employees/jane": {Kind: access.Person, ID: "usr_1", Name: "jane", Realm: "employees"},
		"customers/jane": {Kind: access.Person, ID: "usr_2", Name: "jane", Realm: "customers"},
		"rotation":       access.SystemCaller("rotation"),
	} {
		if got := c.String(); got != want {
			t.Errorf("%s is named %q, want %q", c.ID, got, want)
		}
	}
}
