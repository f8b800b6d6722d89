package app

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/catalog"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/web"
)

// What joins the people with the authorization server, and it with their pages.

// people tells the authorization server who a person is, from memory that is at most a second behind the database.
type people struct{ known *db.Cache[oauth.Person] }

// rememberedPeople bounds the memory of people: some 10 MB when full.
const rememberedPeople = 20_000

// newPeople must be called before the feed starts.
func newPeople(d *db.DB) people {
	return people{db.NewCache(d, identity.TopicUser, rememberedPeople, func(ctx context.Context, tx db.ReadTx, userID string) (oauth.Person, error) {
		u, err := identity.LoadPerson(ctx, tx, userID)
		if err != nil {
			return oauth.Person{}, err
		}
		return oauth.Person{ID: u.ID, Realm: u.Realm, Username: u.Username, Name: u.DisplayName, Email: u.Email, EmailVerified: !u.EmailVerified.IsZero(), Phone: u.Phone, Address: u.Address, Enabled: u.Disabled.IsZero()}, nil
	})}
}

// Person reads once more before it says that somebody is disabled, who may be enabled since.
func (j people) Person(ctx context.Context, userID string) (oauth.Person, error) {
	p, err := j.known.Get(ctx, userID)
	if err == nil && !p.Enabled {
		return j.known.Fresh(ctx, userID)
	}
	return p, err
}

// scopeTexts tells the authorization server what scopes are about.
type scopeTexts struct{ catalog *catalog.Catalog }

func (j scopeTexts) Describe(ctx context.Context, tx db.ReadTx, name string) (oauth.ScopeText, error) {
	s, err := catalog.Lookup(ctx, tx, name)
	if err != nil {
		return oauth.ScopeText{}, err
	}
	t, err := j.catalog.Type(ctx, tx, access.SystemCaller("oauth"), s.ResourceType)
	if err != nil {
		return oauth.ScopeText{}, err
	}
	text := oauth.ScopeText{Name: name, Text: s.UserInformation}
	if text.Text == "" {
		text.Text = s.Summary
	}
	if s.IsResourceOwnerScope { // nobody owns what an application scope is about
		text.Realms = t.ResourceOwners
	}
	return text, nil
}

// oauthPages shows the pages of the authorization server. They are made after it, because they ask it in turn.
type oauthPages struct{ a *App }

func (j oauthPages) Error(w http.ResponseWriter, r *http.Request, status int, code, text string) {
	j.a.pages.Error(w, r, status, code, text)
}

func (j oauthPages) Consent(w http.ResponseWriter, r *http.Request, v oauth.ConsentView) {
	view := web.ConsentView{ClientName: v.ClientName, Team: v.Team, Untrusted: v.Untrusted, RedirectURI: v.RedirectURI, User: v.User, Lasts: v.Lasts, Offline: v.Offline, Flow: v.Flow}
	for _, s := range v.Scopes {
		view.Scopes = append(view.Scopes, web.ConsentScope{Name: s.Name, Text: s.Text, Of: s.Of})
	}
	j.a.pages.Consent(w, r, view)
}

func (j oauthPages) Device(w http.ResponseWriter, r *http.Request, v oauth.DeviceView) {
	view := web.DeviceView{
		Step: string(v.Step), User: v.User, UserCode: v.UserCode, Wrong: v.Wrong, Wait: v.Wait, ClientName: v.ClientName, Team: v.Team, Untrusted: v.Untrusted, Lasts: v.Lasts,
		IP: v.IP, Agent: v.Agent, Asked: v.Asked, Ago: v.Ago, Shown: v.Shown,
	}
	for _, s := range v.Scopes {
		view.Scopes = append(view.Scopes, web.ConsentScope{Name: s.Name, Text: s.Text, Of: s.Of})
	}
	j.a.pages.Device(w, r, view)
}

func (j oauthPages) Select(w http.ResponseWriter, r *http.Request, v oauth.SelectView) {
	j.a.pages.Select(w, r, web.SelectView{ClientName: v.ClientName, RedirectURI: v.RedirectURI, User: v.User, Flow: v.Flow, Other: v.Other})
}

func (j oauthPages) Logout(w http.ResponseWriter, r *http.Request, v oauth.LogoutView) {
	view := web.LogoutView{User: v.User, ClientName: v.ClientName, Next: v.Next}
	for _, f := range v.Fields {
		view.Fields = append(view.Fields, web.LogoutField(f))
	}
	j.a.pages.AskLogout(w, r, view)
}

func (j oauthPages) Goodbye(w http.ResponseWriter, r *http.Request, v oauth.GoodbyeView) {
	j.a.pages.Goodbye(w, r, web.GoodbyeView{ClientName: v.ClientName, Frames: v.Frames, Next: v.Next})
}

// clientsOfPeople tells the pages which clients people use, and what they let them do.
type clientsOfPeople struct{ a *App }

func (j clientsOfPeople) Name(ctx context.Context, clientID string) (string, error) {
	c, err := j.a.registry.Clients().Client(ctx, clientID)
	return c.Name, err
}

func (j clientsOfPeople) Approvals(ctx context.Context, c access.Caller, userID string) ([]web.Approval, error) {
	var list []web.Approval
	err := j.a.db.Read(ctx, func(tx db.ReadTx) error {
		list = nil
		found, err := j.a.oauth.Approvals(ctx, tx, c, userID)
		if err != nil {
			return err
		}
		for _, f := range found {
			v := web.Approval{ClientID: f.ClientID, Asked: f.Asked, Since: f.Since}
			if f.LastUsed != nil {
				v.LastUsed = *f.LastUsed
			}
			for _, scope := range f.Scopes {
				text, err := j.a.oauth.InWords(ctx, tx, c.Realm, scope)
				if err != nil {
					return err
				}
				v.Scopes = append(v.Scopes, web.ConsentScope{Name: scope, Text: text.Text, Of: text.Of})
			}
			list = append(list, v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range list {
		c, err := j.a.registry.Clients().Client(ctx, list[i].ClientID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		list[i].Name, list[i].Team, list[i].Untrusted = cmp.Or(c.Name, list[i].ClientID), c.Team, c.Untrusted
	}
	slices.SortStableFunc(list, func(a, b web.Approval) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (j clientsOfPeople) Withdraw(ctx context.Context, tx db.WriteTx, c access.Caller, userID, clientID string) error {
	return j.a.oauth.Withdraw(ctx, tx, c, userID, clientID)
}

// stepUp tells the authorization server that everybody can prove more than a password: who has no second factor gets one at
// the login.
func stepUp(context.Context, identity.User) (bool, error) { return true, nil }

// destination tells the page to sign in at which client a login is for.
func (a *App) destination(ctx context.Context, address string) (web.Destination, bool) {
	d, ok := a.oauth.Destination(ctx, address)
	return web.Destination(d), ok
}

// followPeople has what clients were let do end with the people and applications that it came from, in the same
// transaction.
func (a *App) followPeople() {
	a.identity.OnPersonRemoved(groups.Forget)
	a.identity.OnPersonDisabled(func(ctx context.Context, tx db.WriteTx, u identity.User) error {
		return a.oauth.PersonDisabled(ctx, tx, u.ID)
	})
	// What is somebody's own is refused with the person. What a team owns is not, whoever made it.
	ofOwner := func(ctx context.Context, tx db.WriteTx, u identity.User) error {
		return a.registry.OwnerChanged(ctx, tx, u.ID)
	}
	a.identity.OnPersonDisabled(ofOwner)
	a.identity.OnPersonEnabled(ofOwner)
	a.identity.OnPasswordChanged(func(ctx context.Context, tx db.WriteTx, u identity.User) error {
		return a.oauth.PasswordChanged(ctx, tx, u.ID)
	})
	a.registry.OnApplicationChanged(a.oauth.ApplicationChanged)
	a.sessions.OnEnding(a.oauth.SessionsEnding)
	a.factors.OnFactorsChanged(a.accounts.FactorsChanged)
	// Whoever took the person's phone may be signed in with it.
	a.factors.OnFactorsChanged(func(ctx context.Context, tx db.WriteTx, c mfa.Change) error {
		if c.What != mfa.Removed || c.By.ID == c.User.ID {
			return nil
		}
		return a.sessions.EndAllOf(ctx, tx, c.User.ID)
	})
	// What somebody got for the password alone ends when that does not suffice any more.
	a.factors.OnFactorsChanged(func(ctx context.Context, tx db.WriteTx, c mfa.Change) error {
		if c.What != mfa.Added || c.Factor == mfa.Codes {
			return nil
		}
		return a.oauth.SecondFactorAdded(ctx, tx, c.User.ID)
	})
	a.upstream.OnLinksChanged(func(ctx context.Context, tx db.WriteTx, c federation.Change) error {
		return a.accounts.LinksChanged(ctx, tx, c.User, c.Provider, c.Linked, c.By.ID)
	})
	a.factors.OtherWay(federation.Linked)
	a.registry.OnReduced(a.oauth.RightsReduced)
	a.registry.OnClientEnded(a.oauth.ClientEnded)
	a.registry.ClientUsed(a.oauth.ClientUsed)
}
