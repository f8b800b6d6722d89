// Package access says who is calling and what they may do.
//
// Every operation on protected data takes a Caller and asks Allow before it touches anything. What no rule allows is
// denied: an action without a rule, a caller without a kind. The words of the actions are the same in code and in the
// API's documentation. The audit log names what was done instead, which is often finer (application.create for
// application.write), and the operation that was asked for where a caller was denied.
package access

import (
	"slices"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/realm"
)

// CallerKind tells what sort of caller it is. The zero value is nobody.
type CallerKind string

// The kinds of caller.
const (
	Anonymous CallerKind = ""        // nobody: no credential was shown
	Person    CallerKind = "person"  // a user of a realm of people
	Service   CallerKind = "service" // a service user: an application's own identity
	System    CallerKind = "system"  // mintmark itself: jobs, start-up, the local command line with the root key at hand
)

// Caller is who asks. It is made by package authn from a request, or by System, and never changes afterwards.
type Caller struct {
	Kind        CallerKind
	ID          string   // id of the user, or the name of the job
	Name        string   // name of the user within the realm
	Realm       string   // canonical, without a slash
	Application string   // the application whose service user this is
	ClientID    string   // the OAuth client that the token was made for
	Admin       bool     // holds the administrator role
	Teams       []string // teams that the caller belongs to
	Scopes      []string // scopes of the token that was shown
	Delegated   []Action // what the scopes of the token allow besides, on the surface that they belong to
	RequestID   string
	IP          string
	Agent       string // what the person's browser calls itself (route.UserAgent); empty: it does not matter or is not known
}

// SystemCaller is mintmark acting on its own account, under the name of the part that acts.
func SystemCaller(part string) Caller { return Caller{Kind: System, ID: part, Name: part} }

// String is how records name the caller in created_by and its like: realm/name of a user, the name of a part of the
// system. A user's name alone would not say whom it means, because each realm has its own.
func (c Caller) String() string {
	if c.Realm != "" {
		return c.Realm + "/" + c.Name
	}
	return c.ID
}

// HasScope tells whether the caller's token carries the scope.
func (c Caller) HasScope(scope string) bool { return slices.Contains(c.Scopes, scope) }

// InTeam tells whether the caller belongs to the team. Nobody belongs to the nameless team.
func (c Caller) InTeam(team string) bool { return team != "" && slices.Contains(c.Teams, team) }

// Action is an operation on a kind of thing: noun, dot, verb.
type Action string

// The actions. Each has one rule below.
const (
	ReadRegistry      Action = "application.read"       // list and read applications, teams, clients (never secrets)
	WriteApplication  Action = "application.write"      // create and change an application and where its credentials go
	GrantScope        Action = "application.grant"      // give or take an application scope
	ReadClient        Action = "client.read"            // list and read OAuth clients that belong to no application (never secrets)
	WriteClient       Action = "client.write"           // create, change and delete those
	TrustClient       Action = "client.trust"           // give a client what the owner may not: no consent, implicit grants, long lifetimes
	InviteClients     Action = "registration.manage"    // tokens with which clients register themselves
	RotateCredentials Action = "credential.rotate"      // ask for a rotation now
	ReadRotation      Action = "credential.read_status" // state of rotations and deliveries (never secrets)
	WriteTeam         Action = "team.write"
	ReadCatalog       Action = "catalog.read"
	WriteCatalog      Action = "catalog.write" // resource types and scopes
	ReadKeys          Action = "key.read"      // states of signing keys (public halves are public anyway)
	RotateKeys        Action = "key.rotate"
	ReadAudit         Action = "audit.read"
	ManageStorage     Action = "storage.manage"    // buckets and access keys of the embedded S3 endpoint
	IssueStorageKey   Action = "storage.issue_key" // an S3 access key that reads one application's own prefix
	ManageUsers       Action = "user.manage"       // users and access keys of administrators
	ManageGroups      Action = "group.manage"      // groups of people and who is in them
	RevokeTokens      Action = "token.revoke"      // other people's tokens
	ManageTrust       Action = "trust.manage"      // issuers whose JWTs count as authorization
	ManageProviders   Action = "provider.manage"   // OpenID providers with which people sign in
	ManageRoles       Action = "role.manage"       // client types, roles, and who has which role at which client
)

// Target is what the action is done to. Empty fields mean "any" and match no team rule.
type Target struct {
	Type  string // such as "application"
	ID    string
	Team  string // the team that owns it
	Owner string // the id of the person who owns it
}

type rule func(c Caller, t Target) bool

func insider(c Caller, _ Target) bool {
	return c.Kind == Person && c.Realm == realm.Employees || c.Kind == Service && c.Realm == realm.Robots
}

// owner: people of the owning team; services of the owning team only with the scope application.write (Kio's rule).
func owner(c Caller, t Target) bool {
	switch c.Kind {
	case Person:
		return c.Realm == realm.Employees && c.InTeam(t.Team)
	case Service:
		return c.Realm == realm.Robots && c.InTeam(t.Team) && c.HasScope("application.write")
	}
	return false
}

func administrator(c Caller, _ Target) bool { return c.Kind == Person && c.Admin }

// holder: the person who owns the thing, in person and not by some client's token.
func holder(c Caller, t Target) bool {
	return c.Kind == Person && t.Owner != "" && c.ID == t.Owner && c.ClientID == ""
}

func anyOf(rules ...rule) rule {
	return func(c Caller, t Target) bool {
		return slices.ContainsFunc(rules, func(r rule) bool { return r(c, t) })
	}
}

var rules = map[Action]rule{
	ReadRegistry:      anyOf(insider, administrator),
	WriteApplication:  anyOf(owner, administrator),
	GrantScope:        administrator,
	ReadClient:        anyOf(insider, holder, administrator),
	WriteClient:       anyOf(owner, holder, administrator),
	TrustClient:       administrator,
	InviteClients:     administrator,
	RotateCredentials: anyOf(owner, administrator),
	ReadRotation:      anyOf(insider, administrator),
	WriteTeam:         administrator,
	ReadCatalog:       anyOf(insider, administrator),
	WriteCatalog:      anyOf(owner, administrator),
	ReadKeys:          anyOf(insider, administrator),
	RotateKeys:        administrator,
	ReadAudit:         administrator,
	ManageStorage:     administrator,
	IssueStorageKey:   anyOf(owner, administrator),
	ManageUsers:       administrator,
	ManageGroups:      administrator,
	RevokeTokens:      administrator,
	ManageTrust:       administrator,
	ManageProviders:   administrator,
	ManageRoles:       administrator,
}

// Allow answers nil if the caller may do this, a fault of kind Unauthenticated if nobody is calling, and one of kind
// Forbidden otherwise. The system may do everything: its callers hold the root key already.
func Allow(c Caller, a Action, t Target) error {
	if c.Kind == System {
		return nil
	}
	if c.Kind == Anonymous {
		return fault.New(fault.Unauthenticated, "unauthenticated", "This needs an access token or an access key: send Authorization: Bearer <token>.")
	}
	if r := rules[a]; r != nil && (r(c, t) || slices.Contains(c.Delegated, a)) {
		return nil
	}
	return fault.New(fault.Forbidden, "forbidden", "You may not do this: it needs %s.", need(a, t))
}

func need(a Action, t Target) string {
	if t.Team != "" {
		return string(a) + " in team " + t.Team
	}
	return string(a)
}

// Actions lists every action that has a rule, sorted: for the documentation and the tests.
func Actions() []Action {
	var all []Action
	for a := range rules {
		all = append(all, a)
	}
	slices.Sort(all)
	return all
}
