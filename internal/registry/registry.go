// Package registry holds teams, applications, their OAuth clients, and which scopes each application was granted.
//
// What it guards:
//   - An application is changed by its owning team or an administrator; a new one is registered by a member of the team
//     that will own it. The team in the database decides, never the one in the request.
//   - An application has one service user and one OAuth client from the moment it exists, made in the same transaction.
//     Their ids never change and are never used again.
//   - An inactive application has no credentials: what was accepted is refused from the commit on, and activating it
//     again makes no old secret and no old token valid.
//   - What an application may do on its own account was granted by an administrator, scope by scope.
//   - A client that belongs to no application has an owner of its own, or none and is an administrator's to change. One that
//     registered itself stays within the policy of the token that it came with; one of a stranger is marked as untrusted.
//   - What makes a client trusted (see checkTrust) is given by administrators alone.
//   - Secrets beside those that rotate are shown once; a revoked one, or a removed key, is refused within a second on every
//     node. When a client ends, what was allowed it ends in the same transaction (OnClientEnded).
//   - Each change commits together with its audit event and with what other packages do about it (OnApplicationChanged).
//
// Client secrets are stored as HMACs of 256 random bits and verified in memory; see identity.Versions. Those that a client
// signs with (client_secret_jwt) lie in a box besides.
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// Options configure a Registry. Every field may be left at its zero value.
type Options struct {
	// DefaultScopes are what a token carries if none were asked for; every client may have them. nil: uid.
	DefaultScopes []string
	Capacity      int // clients, applications and members kept in memory; 0: 10000 of each
	// Bounds are the lifetimes beyond which only an administrator may set a client's. A zero one: as in DefaultBounds.
	Bounds Bounds
	// Lifetimes are those of the configuration, to tell what counts for a client.
	Lifetimes Lifetimes
	// Registration says who may register clients.
	Registration RegistrationOptions
	// Outbound calls the addresses that clients give. nil: no client may keep anything elsewhere.
	Outbound Outbound
	Clock    clock.Clock // nil: clock.System
	Logger   *slog.Logger
}

// UID is the scope that every application has: to know who the token is for.
const UID = "uid"

// Registry is the teams, applications and clients.
type Registry struct {
	d       *db.DB
	dir     *identity.Directory
	realms  *realm.Set
	keyring *seal.Keyring
	o       Options
	secrets *identity.Versions
	clients *Clients
	hooks   []func(ctx context.Context, tx db.WriteTx, app Application) error

	onReduced []func(ctx context.Context, tx db.WriteTx, x Reduction) error
	onEnded   []func(ctx context.Context, tx db.WriteTx, clientID string) error
	usedBy    []func(ctx context.Context, tx db.ReadTx, clientID string) (bool, error)
}

// New makes a Registry. It must be made before the database's feed starts; Run writes what it observes.
func New(d *db.DB, keyring *seal.Keyring, dir *identity.Directory, o Options) (*Registry, error) {
	if o.DefaultScopes == nil {
		o.DefaultScopes = []string{UID}
	}
	o.DefaultScopes = slices.Compact(slices.Sorted(slices.Values(o.DefaultScopes)))
	if slices.Contains(o.DefaultScopes, "") {
		return nil, errors.New("registry: a default scope is empty")
	}
	b, d0 := &o.Bounds, DefaultBounds()
	b.AccessToken, b.IDToken = cmp.Or(b.AccessToken, d0.AccessToken), cmp.Or(b.IDToken, d0.IDToken)
	b.RefreshIdle, b.RefreshAbsolute = cmp.Or(b.RefreshIdle, d0.RefreshIdle), cmp.Or(b.RefreshAbsolute, d0.RefreshAbsolute)
	o.Registration.Unused = cmp.Or(o.Registration.Unused, unusedLife)
	if o.Capacity == 0 {
		o.Capacity = 10_000
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{d: d, dir: dir, realms: dir.Realms(), keyring: keyring, o: o}
	r.secrets = identity.NewVersions(keyring, "client_secrets", "client_id", secretKind)
	r.clients = newClients(r)
	dir.OnPersonRenamed(r.renamed)
	return r, nil
}

// OnApplicationChanged makes f run in the transaction of each change of an application, after it is stored; an error
// undoes the change. Register before the first request.
func (r *Registry) OnApplicationChanged(f func(ctx context.Context, tx db.WriteTx, app Application) error) {
	r.hooks = append(r.hooks, f)
}

// Clients is this node's memory of clients.
func (r *Registry) Clients() *Clients { return r.clients }

// Run writes the observed uses of client secrets and keys until ctx ends, and then the rest.
func (r *Registry) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- r.clients.proofs.Run(ctx) }()
	return errors.Join(r.clients.uses.Run(ctx), <-done)
}

// Flush writes the observed uses now.
func (r *Registry) Flush(ctx context.Context) error {
	return errors.Join(r.clients.uses.Flush(ctx), r.clients.proofs.Flush(ctx))
}

// ValidApplicationID tells whether id is ^[a-z][a-z0-9-]*[a-z0-9]$, and not too long.
func ValidApplicationID(id string) bool {
	return len(id) >= 2 && len(id) <= maxID && id[0] >= 'a' && id[0] <= 'z' && validTail(id[1:])
}

// ValidTeamID tells whether id is ^[a-z0-9][a-z0-9-]*[a-z0-9]$, and not too long.
func ValidTeamID(id string) bool {
	return len(id) >= 2 && len(id) <= maxID && id[0] != '-' && validTail(id)
}

func validTail(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s[len(s)-1] != '-'
}

// The bounds of what is stored.
const (
	maxID          = 100
	maxLine        = 200
	maxURL         = 1000
	maxDescription = 16 << 10
	maxMembers     = 1000
	maxScopes      = 500
)

// Team is a group of people who own things.
type Team struct {
	ID         string
	Name       string
	Members    []Member // sorted
	Revision   int64
	Created    time.Time
	CreatedBy  string
	Modified   time.Time
	ModifiedBy string
}

// Member names a person.
type Member struct {
	Realm    string // canonical
	Username string
}

// String is realm/username.
func (m Member) String() string { return m.Realm + "/" + m.Username }

// Team answers the team of the application. The caller has asked for the right to know.
func (r *Registry) Team(ctx context.Context, tx db.ReadTx, application string) (string, error) {
	team, ok, err := r.ApplicationTeam(ctx, tx, application)
	if err == nil && !ok {
		err = errNoApplication()
	}
	return team, err
}

// ApplicationTeam answers the team of the application with exactly this id, if there is one.
func (r *Registry) ApplicationTeam(ctx context.Context, tx db.ReadTx, application string) (team string, ok bool, err error) {
	err = tx.QueryRow(ctx, `SELECT team FROM applications WHERE id = $1`, application).Scan(&team)
	if errors.Is(err, db.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read team of application: %w", err)
	}
	return team, true, nil
}

// TeamExists tells whether there is a team with exactly this id.
func (r *Registry) TeamExists(ctx context.Context, tx db.ReadTx, team string) (bool, error) {
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM teams WHERE id = $1`, team).Scan(&n); err != nil {
		return false, fmt.Errorf("look for team: %w", err)
	}
	return n == 1, nil
}

// GetTeam reads a team.
func (r *Registry) GetTeam(ctx context.Context, tx db.ReadTx, c access.Caller, teamID string) (Team, error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "team", ID: teamID}); err != nil {
		return Team{}, err
	}
	return loadTeam(ctx, tx, teamID)
}

// ListTeams lists teams by id, at most limit of them, after the given id.
func (r *Registry) ListTeams(ctx context.Context, tx db.ReadTx, c access.Caller, after string, limit int) ([]Team, error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "team"}); err != nil {
		return nil, err
	}
	return listTeams(ctx, tx, after, limit)
}

// PutTeam creates the team or replaces all of it. check gets the stored revision (0: there is none) and may refuse.
func (r *Registry) PutTeam(ctx context.Context, tx db.WriteTx, c access.Caller, t Team, check func(revision int64) error) (Team, error) {
	if err := access.Allow(c, access.WriteTeam, access.Target{Type: "team", ID: t.ID}); err != nil {
		return Team{}, err
	}
	if !ValidTeamID(t.ID) {
		return Team{}, fault.InvalidAt("path.id", "team_id", "A team's id is lower-case letters, digits and '-'; it neither begins nor ends with '-'.")
	}
	if err := route.CheckLine("body.name", t.Name, 1, maxLine); err != nil {
		return Team{}, err
	}
	members, err := r.canonicalMembers(t.Members)
	if err != nil {
		return Team{}, err
	}
	t.Members = members
	stored, err := loadTeam(ctx, tx, t.ID)
	exists := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Team{}, err
	}
	if err := check(stored.Revision); err != nil {
		return Team{}, err
	}
	joined, left := difference(t.Members, stored.Members), difference(stored.Members, t.Members)
	if err := needPeople(ctx, tx, joined); err != nil {
		return Team{}, err
	}
	now, who := tx.Now(), c.String()
	t.Revision, t.Created, t.CreatedBy, t.Modified, t.ModifiedBy = stored.Revision+1, stored.Created, stored.CreatedBy, now, who
	action := "team.change"
	if !exists {
		t.Created, t.CreatedBy, action = now, who, "team.create"
	}
	if err := storeTeam(ctx, tx, t, exists); err != nil {
		return Team{}, err
	}
	for _, m := range slices.Concat(joined, left) {
		if err := announceMember(ctx, tx, m); err != nil {
			return Team{}, err
		}
	}
	return t, audit.Done(ctx, tx, c, action, "team", t.ID, map[string]any{"name": t.Name, "joined": names(joined), "left": names(left)})
}

// needPeople refuses members whom nobody is: whoever took the name later, by registering or by a directory, would be in
// the team. From then on places follow the person, as renamed and the removal of people see to.
func needPeople(ctx context.Context, tx db.ReadTx, joined []Member) error {
	for _, m := range joined {
		u, err := identity.FindUser(ctx, tx, m.Realm, m.Username)
		if fault.Is(err, fault.NotFound) || err == nil && u.Application != "" {
			return fault.InvalidAt("body.members", "member_not_found", "Nobody is called %s yet. Make the person known first, or have her sign in once.", m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// announceMember has the nodes look anew in which teams somebody is, if there is somebody of that name.
func announceMember(ctx context.Context, tx db.WriteTx, m Member) error {
	u, err := identity.FindUser(ctx, tx, m.Realm, m.Username)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return tx.Changed(ctx, identity.TopicUser, u.ID)
}

// renamed has a person's places in teams follow the name: whoever is given the name before next must not find them. The
// teams have another revision, so that nobody stores the name before again who has not seen the change.
func (r *Registry) renamed(ctx context.Context, tx db.WriteTx, before identity.User, username string, by access.Caller) error {
	was, is := Member{before.Realm, before.Username}, Member{before.Realm, username}
	teams, err := db.Texts(ctx, tx, `SELECT team FROM team_members WHERE realm = $1 AND username = $2 ORDER BY team`, was.Realm, was.Username)
	if err != nil {
		return fmt.Errorf("read the teams of a person: %w", err)
	}
	for _, team := range teams {
		t, err := loadTeam(ctx, tx, team)
		if err != nil {
			return err
		}
		t.Members = slices.DeleteFunc(t.Members, func(m Member) bool { return m == was || m == is })
		t.Members = append(t.Members, is)
		t.Revision, t.Modified, t.ModifiedBy = t.Revision+1, tx.Now(), by.String()
		if err := storeTeam(ctx, tx, t, true); err != nil {
			return err
		}
		if err := audit.Done(ctx, tx, by, "team.change", "team", team, map[string]any{"name": t.Name, "joined": names([]Member{is}), "left": names([]Member{was})}); err != nil {
			return err
		}
	}
	return nil // the person is announced by whoever renames it
}

func (r *Registry) canonicalMembers(given []Member) ([]Member, error) {
	if len(given) > maxMembers {
		return nil, fault.InvalidAt("body.members", "too_many", "A team has at most %d members.", maxMembers)
	}
	members := make([]Member, 0, len(given))
	for i, m := range given {
		location := fmt.Sprintf("body.members[%d]", i)
		at, err := r.realms.Lookup(m.Realm)
		if err != nil || at.Kind != realm.People {
			return nil, fault.InvalidAt(location, "unknown_realm", "A member is written as realm/username, such as employees/jane, and the realm must be one of people.")
		}
		if err := route.CheckLine(location, m.Username, 1, maxLine); err != nil {
			return nil, err
		}
		username, err := identity.CanonicalUsername(m.Username)
		if err != nil {
			return nil, fault.InvalidAt(location, "unknown_name", "This is no name that a person can have.")
		}
		members = append(members, Member{at.Name, username})
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(members), nil
}

// difference is what a has and b has not.
func difference(a, b []Member) []Member {
	var d []Member
	for _, m := range a {
		if !slices.Contains(b, m) {
			d = append(d, m)
		}
	}
	return d
}

func names(list []Member) []string {
	s := make([]string, 0, len(list))
	for _, m := range list {
		s = append(s, m.String())
	}
	return s
}
