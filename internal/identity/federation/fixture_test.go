package federation_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/federation/federationtest"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/identity/sourced"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	admin = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
)

// place is a service with two providers that it could be connected to.
type place struct {
	t        *testing.T
	d        *db.DB
	keyring  *seal.Keyring
	clock    *clock.Fake
	dir      *identity.Directory
	sessions *session.Manager
	groups   *groups.Service
	*federation.Service
	org, other *federationtest.Provider
	told       []federation.Change
	refused    chan string
}

func onBoth(t *testing.T, f func(t *testing.T, s *place)) {
	t.Helper()
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			f(t, newPlace(t, d, c))
		})
	}
}

func newPlace(t *testing.T, d *db.DB, c *clock.Fake) *place {
	t.Helper()
	s := &place{t: t, d: d, clock: c, keyring: sealtest.New(t, d), org: federationtest.New("https://login.example.org", c), other: federationtest.New("https://id.evil.example", c), refused: make(chan string, 1000)}
	var err error
	if s.dir, err = identity.New(d, s.keyring, identity.Options{Clock: c}); err != nil {
		t.Fatal(err)
	}
	if s.sessions, err = session.New(d, s.keyring, s.dir, session.Options{Clock: c}); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewRing(d, s.keyring, keys.Options{Alg: keys.ES256, Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	personal := attributes.New(map[string][]attributes.Attribute{"employees": {{Name: "department"}, {Name: "floors", Type: attributes.List}, {Name: "grade", Type: attributes.Number}, {Name: "contractor", Type: attributes.Boolean}}})
	s.groups = groups.New(s.dir.Realms())
	s.Service = federation.New(d, s.keyring, s.dir, federation.Options{Issuer: "https://mint.example.org", Outbound: federationtest.Several{s.org, s.other}, Signers: ring, Sessions: s.sessions, Sourced: sourced.New(s.groups, personal), Clock: c})
	s.OnLinksChanged(func(_ context.Context, _ db.WriteTx, c federation.Change) error {
		s.told = append(s.told, c)
		return nil
	})
	s.OnRefused(func(_ access.Caller, _ string, err error) { s.refused <- fault.Code(err) })
	return s
}

// put makes or changes a provider.
func (s *place) put(id string, p *federationtest.Provider, change func(*api.PutLoginProvider)) {
	s.t.Helper()
	b := api.PutLoginProvider{Realm: "employees", Name: "Example Org", Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: p.Secret}
	if change != nil {
		change(&b)
	}
	if err := s.tryPut(admin, id, b); err != nil {
		s.t.Fatalf("put %s: %v", id, err)
	}
}

func (s *place) tryPut(c access.Caller, id string, b api.PutLoginProvider) error {
	return s.d.Write(s.t.Context(), func(tx db.WriteTx) error {
		_, _, err := s.PutProvider(s.t.Context(), tx, c, id, b, func(int64) error { return nil })
		return err
	})
}

// policy changes the policy of the provider org.
func (s *place) policy(p api.ProviderPolicy) {
	s.t.Helper()
	s.put("org", s.org, func(b *api.PutLoginProvider) { b.Policy = p })
}

// person makes somebody known, with a verified address if there is one.
func (s *place) person(username, email string, change ...func(*identity.NewPerson)) identity.Person {
	s.t.Helper()
	var p identity.Person
	if err := s.d.Write(s.t.Context(), func(tx db.WriteTx) error {
		n := identity.NewPerson{Realm: "employees", Username: username, Email: email}
		for _, f := range change {
			f(&n)
		}
		u, err := s.dir.CreatePersonHashed(s.t.Context(), tx, access.SystemCaller("test"), n, identity.Hashed{})
		if err != nil {
			return err
		}
		if p, err = identity.LoadPerson(s.t.Context(), tx, u.ID); err != nil || email == "" {
			return err
		}
		return identity.MarkEmailVerified(s.t.Context(), tx, admin, p, email)
	}); err != nil {
		s.t.Fatal(err)
	}
	return s.load(p.ID)
}

func (s *place) load(userID string) (p identity.Person) {
	s.t.Helper()
	if err := s.d.Read(s.t.Context(), func(tx db.ReadTx) (err error) {
		p, err = identity.LoadPerson(s.t.Context(), tx, userID)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// begin sends a browser to a provider.
func (s *place) begin(b federation.Begin) federation.Begun {
	s.t.Helper()
	if b.Provider == "" {
		b.Provider = "org"
	}
	b.IP = "192.0.2.1"
	begun, err := s.Start(s.t.Context(), b)
	if err != nil {
		s.t.Fatalf("begin: %v", err)
	}
	return begun
}

// back brings the browser back with an answer.
func (s *place) back(providerID string, q url.Values, browser redact.Secret) (federation.Result, error) {
	return s.Callback(s.t.Context(), federation.Answer{Provider: providerID, Query: q, Browser: browser, IP: "192.0.2.1", Request: "req_1"})
}

// answer is what the provider sends the browser back with.
func (s *place) answer(p *federationtest.Provider, begun federation.Begun) url.Values {
	s.t.Helper()
	q, err := p.Authorize(begun.Location)
	if err != nil {
		s.t.Fatal(err)
	}
	return q
}

// login is the whole way with the provider org.
func (s *place) login() (federation.Result, error) {
	s.t.Helper()
	begun := s.begin(federation.Begin{ReturnTo: "/account"})
	return s.back("org", s.answer(s.org, begun), begun.Browser)
}

// fails expects a login to be refused with this code.
func (s *place) fails(what, code string) {
	s.t.Helper()
	if r, err := s.login(); fault.Code(err) != code {
		s.t.Errorf("%s: %+v, %v; want %s", what, r, err, code)
	}
}

// link links the person with who the provider org says it is.
func (s *place) link(u identity.User) {
	s.t.Helper()
	begun := s.begin(federation.Begin{UserID: u.ID, SessionID: "ses_1"})
	r, err := s.back("org", s.answer(s.org, begun), begun.Browser)
	if err != nil || r.Outcome != federation.Confirm {
		s.t.Fatalf("link: %+v, %v", r, err)
	}
	if err := s.confirm(u, "ses_1", r.Login, begun.Browser); err != nil {
		s.t.Fatalf("link: %v", err)
	}
}

func (s *place) confirm(u identity.User, sessionID, loginID string, browser redact.Secret) error {
	return s.d.Write(s.t.Context(), func(tx db.WriteTx) error {
		_, err := s.LinkPending(s.t.Context(), tx, self(u), u, sessionID, loginID, browser)
		return err
	})
}

func self(u identity.User) access.Caller {
	return access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm}
}

func (s *place) links(userID string) (list []api.LinkedIdentity) {
	s.t.Helper()
	if err := s.d.Read(s.t.Context(), func(tx db.ReadTx) (err error) {
		list, err = federation.Links(s.t.Context(), tx, userID)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// session begins one with what a provider proved.
func (s *place) session(r federation.Result) (session.Session, error) {
	w, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/login/callback/org", nil)
	return s.sessions.BeginProved(s.t.Context(), w, req, r.User, r.AMR, federation.Proved(r.Proof))
}

func (s *place) alive(id string) (alive bool) {
	s.t.Helper()
	if err := s.d.Read(s.t.Context(), func(tx db.ReadTx) (err error) {
		alive, err = session.Alive(s.t.Context(), tx, id)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return alive
}

var errDown = errors.New("connection refused")

func disable(s *place, userID string) func(tx db.WriteTx) error {
	return func(tx db.WriteTx) error { return s.dir.DisablePerson(s.t.Context(), tx, admin, userID) }
}

// federationBegin is a login with this provider, or, of somebody, a link.
func federationBegin(provider string, u identity.User) federation.Begin {
	b := federation.Begin{Provider: provider, UserID: u.ID}
	if u.ID != "" {
		b.SessionID = "ses_1"
	}
	return b
}
