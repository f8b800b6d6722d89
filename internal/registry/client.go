package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// ErrCredentials is the one answer to a client that does not prove to be it, whatever is wrong.
var ErrCredentials = identity.ErrCredentials

// ErrPublicClient is returned with the client when it has no secret to prove anything with: it may name itself, and
// nothing more follows from that.
var ErrPublicClient = errors.New("registry: the client is public and cannot be authenticated")

// The change feed's topics.
const (
	topicClient      = "client"      // by id of the client
	topicApplication = "application" // by id of the application
)

// Grant types of RFC 6749 that clients may use whose team has said nothing.
var (
	confidentialGrants = []string{GrantClientCredentials, GrantPassword}
	publicGrants       = []string{GrantPassword}
)

// Client is what memory holds of an OAuth client. Its slices are shared: do not change them.
type Client struct {
	ID            string
	Application   string // "": it stands alone
	Team          string // the owning team; "": none
	Owner         string // the id of the person who owns it; "": nobody
	Untrusted     bool   // a stranger registered it: people are asked each time
	Confidential  bool
	Enabled       bool      // and so is the person who owns it
	EnabledSince  time.Time // a token made before is not valid
	Scopes        []string  // what it may do on its own account, with the default scopes and uid; sorted
	OwnerScopes   []string  // what it may ask a resource owner for; sorted
	DefaultScopes []string  // what a token carries if nothing was asked for; sorted
	GrantTypes    []string

	// What people see when it signs them in, and where they are sent back to.
	Name                   string // never empty: its own, else the application's, else the id
	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	RefreshTokens          RefreshTokens
	Metadata               Metadata

	// Keys are the client's own public keys, as JWKs, to verify what it signs and to encrypt for it: those that have not
	// expired.
	Keys []ClientKey
	// Type is the client type that bounds what people may let it do (package mithril's surface); "": none.
	Type string

	// The application's service user: the subject of its own tokens. Empty of a client that stands alone.
	UserID   string
	Username string
	Realm    string
}

// May tells whether the client may use the grant type.
func (c Client) May(grantType string) bool { return slices.Contains(c.GrantTypes, grantType) }

// MayRedirect tells whether the client may have people sent back to this address.
func (c Client) MayRedirect(uri string) bool { return matchRedirect(c.RedirectURIs, uri) }

// MayRedirectAfterLogout is MayRedirect for people who have signed out.
func (c Client) MayRedirectAfterLogout(uri string) bool {
	return matchRedirect(c.PostLogoutRedirectURIs, uri)
}

// Clients is this node's memory of clients, of who belongs to which team, and of who owns which application. All of it
// is bounded, and at most a second behind the database.
type Clients struct {
	r            *Registry
	clients      *db.Cache[knownClient]
	applications *db.Cache[string]   // application → its client's id, or "" if there is no such application
	origins      *db.Cache[bool]     // whether any client has the origin
	teams        *db.Cache[[]string] // by id of the person: whoever shows a credential from before may have had another name
	uses         *identity.Uses      // of the secrets that rotate
	proofs       *identity.Uses      // of labelled secrets and of keys
}

func newClients(r *Registry) *Clients {
	c := &Clients{r: r, uses: identity.NewUses(r.d, r.secrets, r.o.Clock, r.o.Logger)}
	c.proofs = identity.NewUsesOf(r.d, noteProofs, r.o.Clock, r.o.Logger)
	c.clients = db.NewCache(r.d, topicClient, r.o.Capacity, c.load)
	c.applications = db.NewCache(r.d, topicApplication, r.o.Capacity, loadClientID)
	c.origins = db.NewCache(r.d, topicOrigin, r.o.Capacity, loadOrigin)
	c.teams = db.NewCache(r.d, identity.TopicUser, r.o.Capacity, loadTeamsOf)
	return c
}

func loadClientID(ctx context.Context, tx db.ReadTx, application string) (clientID string, err error) {
	err = tx.QueryRow(ctx, `SELECT id FROM clients WHERE application = $1`, application).Scan(&clientID)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find client of application: %w", err)
	}
	return clientID, nil
}

func loadTeamsOf(ctx context.Context, tx db.ReadTx, userID string) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT m.team FROM users u JOIN team_members m ON m.realm = u.realm AND m.username = u.username WHERE u.id = $1 ORDER BY m.team`, userID)
	if err != nil {
		return nil, fmt.Errorf("read teams of a person: %w", err)
	}
	defer rows.Close()
	var teams []string
	for rows.Next() {
		var team string
		if err := rows.Scan(&team); err != nil {
			return nil, fmt.Errorf("read teams of a person: %w", err)
		}
		teams = append(teams, team)
	}
	return teams, rows.Err()
}

// Client answers from memory. A disabled client is answered with Enabled false; one that does not exist is a fault of
// kind NotFound.
func (c *Clients) Client(ctx context.Context, clientID string) (Client, error) {
	if !id.Is(clientID, id.Client) {
		return Client{}, errNoClient()
	}
	k, err := c.clients.Get(ctx, clientID)
	if err != nil {
		return Client{}, unavailable(err)
	}
	if k.client.ID == "" { // it may be so new that this node has not heard of it
		if k, err = c.clients.Fresh(ctx, clientID); err != nil {
			return Client{}, unavailable(err)
		}
	}
	if k.client.ID == "" {
		return Client{}, errNoClient()
	}
	return k.current(c.r.o.Clock.Now()), nil
}

// OfApplication answers the application's client from memory, or a fault of kind NotFound: for what an application's
// service user may do, whichever client asked for its token.
func (c *Clients) OfApplication(ctx context.Context, application string) (Client, error) {
	if !ValidApplicationID(application) {
		return Client{}, errNoApplication()
	}
	clientID, err := c.applications.Get(ctx, application)
	if err == nil && clientID == "" {
		clientID, err = c.applications.Fresh(ctx, application)
	}
	if err != nil {
		return Client{}, unavailable(err)
	}
	if clientID == "" {
		return Client{}, errNoApplication()
	}
	return c.Client(ctx, clientID)
}

// maxSecret is the longest secret that is looked at.
const maxSecret = 1000

// AuthenticateClient checks a client's secret and tells which version it was, 0 for one of the labelled ones. Unknown client, wrong secret, retired
// secret and disabled client are all ErrCredentials, after the same work. A public client is answered with
// ErrPublicClient; any other error says that it could not be found out.
func (c *Clients) AuthenticateClient(ctx context.Context, clientID string, secret redact.Secret) (Client, int64, error) {
	if !id.Is(clientID, id.Client) || len(secret.Bytes()) > maxSecret {
		return Client{}, 0, ErrCredentials
	}
	k, err := c.clients.Get(ctx, clientID)
	if err != nil {
		return Client{}, 0, unavailable(err)
	}
	now := c.r.o.Clock.Now()
	if version, ok := c.match(k, secret, now); ok {
		return k.current(now), version, nil
	}
	// It may be a version of which this node has not heard yet: the database is asked before a refusal.
	if k, err = c.clients.Fresh(ctx, clientID); err != nil {
		return Client{}, 0, unavailable(err)
	}
	if version, ok := c.match(k, secret, now); ok {
		return k.current(now), version, nil
	}
	if k.client.ID != "" && k.client.Enabled && !k.client.Confidential {
		return k.client, 0, ErrPublicClient
	}
	return Client{}, 0, ErrCredentials
}

func (c *Clients) match(k knownClient, secret redact.Secret, now time.Time) (version int64, ok bool) {
	version, ok = c.r.secrets.Match(k.accepted, secret)
	if !ok || !k.client.Enabled || k.client.ID == "" {
		return 0, false
	}
	if version < 0 {
		s := k.labelled[-1-version]
		if s.ended(now) {
			return 0, false
		}
		c.NoteUse(s.id)
		return 0, true
	}
	c.uses.Note(k.client.ID, version)
	return version, true
}

// TeamsOf answers from memory which teams the caller belongs to: a person to those that list it, a service to the team
// of its application. Anybody else belongs to none.
func (c *Clients) TeamsOf(ctx context.Context, caller access.Caller) ([]string, error) {
	switch {
	case caller.Kind == access.Person && caller.ID != "":
		teams, err := c.teams.Get(ctx, caller.ID)
		if err != nil {
			return nil, unavailable(err)
		}
		return teams, nil
	case caller.Kind == access.Service && caller.Application != "":
		client, err := c.OfApplication(ctx, caller.Application)
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if !client.Enabled || client.UserID != caller.ID {
			return nil, nil
		}
		return []string{client.Team}, nil
	}
	return nil, nil
}

func errNoClient() error {
	return fault.New(fault.NotFound, "client_not_found", "There is no such client.")
}

func unavailable(err error) error {
	return fault.Wrap(fmt.Errorf("look up clients: %w", err), fault.Unavailable, "unavailable", "The registry cannot be asked just now.").Retry(time.Second)
}
