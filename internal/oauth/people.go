package oauth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// Person is what a client may learn of a person.
type Person struct {
	ID            string
	Realm         string // canonical
	Username      string
	Name          string
	Email         string // may be empty
	EmailVerified bool
	Phone         string // may be empty, and so may Address
	Address       string // of a house, in lines
	Enabled       bool
}

// ScopeText is a scope as a person is asked for it.
type ScopeText struct {
	Name   string   // such as "sales_order.read"
	Text   string   // in words
	Realms []string // whose people own such data, canonical
	// Of fills the gap {0} of Text with what an organisation calls things, by language; "" is for every other. nil: there is
	// no gap.
	Of map[string]string
}

// ConsentView is what a person is asked to agree to.
type ConsentView struct {
	ClientName  string
	Team        string
	Untrusted   bool // nobody here vouches for the client
	RedirectURI string
	User        identity.User
	Scopes      []ScopeText
	Lasts       time.Duration // how long the client can go on without asking again
	Offline     bool          // also after the person has signed out
	Flow        string        // hidden field flow; the buttons send decision=allow or decision=deny
}

// SelectView is which account a person may go on with.
type SelectView struct {
	ClientName  string
	RedirectURI string
	User        identity.User // who is signed in
	Flow        string        // hidden field flow; the button sends choice=continue
	Other       string        // where to sign in as somebody else
}

// Sessions tells who is signed in (session.Manager).
type Sessions interface {
	// LedBy tells who led the browser here that sent r, as far as the browser says.
	LedBy(r *http.Request) session.Site
	Current(ctx context.Context, r *http.Request) (session.Session, bool, error)
	// CheckToken tells whether a form comes from a page of ours in this browser. It reads the form.
	CheckToken(r *http.Request) error
	// End signs out the browser that sent r.
	End(ctx context.Context, w http.ResponseWriter, r *http.Request) error
	// BrowserState is what tells the browser's session from another, for scripts; the browser gets it if it must.
	BrowserState(w http.ResponseWriter, r *http.Request, s session.Session) string
	// StateCookie is the name of the cookie that holds it.
	StateCookie() string
	// EndThese ends sessions in the caller's transaction, and tells how many.
	EndThese(ctx context.Context, tx db.WriteTx, which session.Which, why string) (int, error)
}

// People tells from memory who a person is; a fault of kind NotFound if there is none.
type People interface {
	Person(ctx context.Context, userID string) (Person, error)
}

// Catalog tells what a scope is called and whose people may allow it; a fault of kind NotFound if there is none.
type Catalog interface {
	Describe(ctx context.Context, tx db.ReadTx, scope string) (ScopeText, error)
}

// Pages are what people see.
type Pages interface {
	// Error shows a page of our own origin: for whatever must not be told to an address that is not proven good.
	Error(w http.ResponseWriter, r *http.Request, status int, code, text string)
	Consent(w http.ResponseWriter, r *http.Request, v ConsentView)
	Device(w http.ResponseWriter, r *http.Request, v DeviceView)
	// Select asks which account to go on with.
	Select(w http.ResponseWriter, r *http.Request, v SelectView)
	// Logout asks whether to sign out.
	Logout(w http.ResponseWriter, r *http.Request, v LogoutView)
	// Goodbye is for who has signed out, and tells clients of it through the browser.
	Goodbye(w http.ResponseWriter, r *http.Request, v GoodbyeView)
}

// PeopleOptions are what the server needs to serve people as well as services. All must be set but those that say
// otherwise.
type PeopleOptions struct {
	Keyring  *seal.Keyring
	Sessions Sessions
	People   People
	Catalog  Catalog
	Pages    Pages
	// More is what the organisation says of people besides. nil: nothing.
	More PersonClaims
	// Passwords let people give theirs to clients. The zero value does not.
	Passwords PersonPasswords

	// Outbound tells clients that somebody has signed out. nil: they are not told.
	Outbound Outbound
	// RequirePAR refuses requests for authorization that were not pushed first, of all clients.
	RequirePAR bool
	// StepUp tells whether a person who is signed in can prove to be it by another factor as well, at /login with
	// acr_values=2; a session of which that is true has "mfa" among its methods. nil: nobody can.
	StepUp func(ctx context.Context, u identity.User) (bool, error)
	// RegisterAt is the address, with a query, of the page to register at, from which the browser goes on to returnTo,
	// signed in. nil: people cannot register.
	RegisterAt func(returnTo string) string
	// Languages that the pages speak, as tags of BCP 47, for the metadata. Empty: not said.
	Languages []string
}

// The bounds of what people let clients do.
const (
	flowLife    = 10 * time.Minute
	codeLife    = time.Minute
	retryWindow = 10 * time.Second
	maxRetries  = 5
	batchSize   = 100
)

// people is the part of the server that people deal with. It is nil in a server for services alone.
type people struct {
	PeopleOptions
	s      *Server
	secure bool // the public address is https
	cookie string

	frame      sessionFrame
	changes    *db.Batch[change]
	ahead      ahead // owned by the transaction of changes that is under way
	remembered toldMemory
	begun      *limiter // requests that wait for a person, by address
	pushes     *limiter // pushed requests, by client

	devices   *limiter // devices that wait for a person, by address
	devicesOf *limiter // and by client
}

func (s *Server) servePeople(o PeopleOptions) error {
	if o.Keyring == nil || o.Sessions == nil || o.People == nil || o.Catalog == nil || o.Pages == nil {
		return errors.New("oauth: to serve people, Keyring, Sessions, People, Catalog and Pages must be set")
	}
	p := &people{PeopleOptions: o, s: s, secure: strings.HasPrefix(s.issuer, "https://"), cookie: "mintmark-flow"}
	if p.secure {
		p.cookie = "__Host-" + p.cookie
	}
	p.frame = newSessionFrame(o.Sessions.StateCookie())
	p.begun, p.pushes = newFlowLimiter(s.clock), newPushLimiter(s.clock)
	p.devices, p.devicesOf = newLimiter(s.clock), newLimiter(s.clock)
	p.devices.limit, p.devicesOf.limit = deviceLimit, deviceClientLimit
	p.changes = db.NewBatch(s.db, batchSize, p.writeChanges)
	p.changes.Open(p.readAhead)
	s.people = p
	return nil
}

func (p *people) register(m *route.Mux) {
	m.Handle("/oauth2/authorize", p.authorize)
	m.Handle("GET /consent", p.consent)
	m.Handle("POST /consent", p.consent)
	m.Handle("/oauth2/device_authorization", p.s.shared("POST", only(http.MethodPost, p.deviceAuthorization)))
	m.Handle("GET /device", p.devicePage)
	m.Handle("POST /device", p.devicePage)
	m.Handle("GET /select", p.selectAccount)
	m.Handle("POST /select", p.selectAccount)
	m.Handle("/oauth2/par", only(http.MethodPost, p.pushRequest))
	m.Handle("/oauth2/userinfo", p.s.shared("GET, POST", p.userinfo))
	m.Handle("/oauth2/logout", p.logout)
	m.Handle("/oauth2/session", get(p.sessionPage))
	p.s.approvalRoutes(m)
}

// caller is the person behind a session, for the audit log.
func caller(ctx context.Context, u identity.User, clientID string) access.Caller {
	return access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm, ClientID: clientID, RequestID: route.RequestID(ctx), IP: route.ClientIP(ctx), Agent: route.UserAgent(ctx)}
}

// The scopes of OpenID Connect. Any client that signs people in may ask for them.
const (
	scopeOpenID  = "openid"
	scopeProfile = "profile"
	scopeEmail   = "email"
	scopePhone   = "phone"
	scopeAddress = "address"
	scopeOffline = "offline_access"
)

var commonScopes = []string{scopeOpenID, scopeProfile, scopeEmail, scopePhone, scopeAddress, scopeOffline, scopeUID, scopeAZP}

// texts of the scopes that the catalog does not hold.
var commonTexts = map[string]string{
	scopeOpenID:  "Know that it is you.",
	scopeProfile: "See your name.",
	scopeEmail:   "See your e-mail address.",
	scopePhone:   "See your telephone number.",
	scopeAddress: "See where you live.",
	scopeOffline: "Keep doing this while you are away, until you or an administrator ends it.",
	scopeUID:     "Know which user you are.",
	scopeAZP:     "Show its own name to the services that it calls for you.",
}

// mayAsk tells whether the client may ask a person for the scope. An application scope is not among them: that is an
// administrator's to give, and no person's.
func mayAsk(c Client, scope string) bool {
	if scope == scopeOffline {
		return c.May(grantRefreshToken)
	}
	return slices.Contains(commonScopes, scope) || slices.Contains(c.OwnerScopes, scope) || slices.Contains(c.Metadata.PersonScopes, scope)
}

// trusted tells whether nobody needs to be asked about the scope: it is a client of the organisation itself, and the scope
// does not outlast the person's session.
func trusted(c Client, scope string) bool { return c.Metadata.FirstParty && scope != scopeOffline }

// covers tells whether all of some scopes are among those that were allowed.
func covers(allowed, scopes []string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(allowed, s) })
}
