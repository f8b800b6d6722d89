package mithril

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// The names of tokens.
const (
	nameSession = "session_token"
	nameAccess  = "access_token"
	nameRefresh = "refresh_token"
	nameCode    = "authorization_code"
)

// macToken is the kind of the MACs by which values are found.
const macToken = "mithril-token"

// shown is how many characters of a value are kept to tell tokens apart by.
const shown = 6

// stored is the row of a token that was given here.
type stored struct {
	id, name, prefix, user, client, grant, grantType, scopes, redirect string
	created, expires                                                   time.Time
	superseded                                                         bool
}

const tokenColumns = `t.id, t.name, t.prefix, t.user_id, t.client_id, t.grant_id, t.grant_type, t.scopes, t.redirect_uri, t.created, t.expires, t.superseded`

// listed is the condition for tokens that were not taken back: neither here nor with the grant that they come from.
const listed = `t.revoked = 0 AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.id = t.grant_id AND g.ended <> 0)`

func scanToken(row db.Row) (stored, string, error) {
	var t stored
	var created, expires, superseded int64
	err := row.Scan(&t.id, &t.name, &t.prefix, &t.user, &t.client, &t.grant, &t.grantType, &t.scopes, &t.redirect, &created, &expires, &superseded)
	t.created, t.expires, t.superseded = db.Time(created), db.Time(expires), superseded != 0
	return t, t.id, err
}

// tokenView is a token as answers show it. The value is whole in the answer that makes it and nowhere else.
type tokenView struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Value     string       `json:"value"`
	ExpiresAt int64        `json:"expires_at"`
	UserID    *string      `json:"user_id"` // null: the client acts for itself
	Details   tokenDetails `json:"details"`
}

type tokenDetails struct {
	GrantType    string `json:"grant_type"`
	ClientID     string `json:"client_id"`
	Scope        string `json:"scope"`
	RedirectURI  string `json:"redirect_uri,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Used         bool   `json:"used,omitempty"`
}

func (t stored) view() tokenView {
	v := tokenView{ID: id.UUID(t.id), Name: t.name, Value: t.prefix + "…", ExpiresAt: t.expires.Unix(),
		Details: tokenDetails{GrantType: t.grantType, ClientID: id.UUID(t.client), Scope: t.scopes, RedirectURI: t.redirect, Used: t.superseded}}
	if t.user != "" {
		user := id.UUID(t.user)
		v.UserID = &user
	}
	return v
}

// keep stores the row of a token.
func (c *call) keep(tx db.WriteTx, t stored, value redact.Secret) error {
	text := value.Reveal()
	if t.created.IsZero() {
		t.created = tx.Now()
	}
	if err := db.One(tx.Exec(c, `INSERT INTO mithril_tokens (id, name, mac, prefix, user_id, client_id, grant_id, grant_type, scopes, redirect_uri, created, expires, superseded, revoked)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0) ON CONFLICT (mac) DO UPDATE SET expires = excluded.expires`,
		t.id, t.name, c.o.Keyring.MAC(macToken, value), text[:min(shown, len(text))], t.user, t.client, t.grant, t.grantType, t.scopes, t.redirect,
		db.Micros(t.created), db.Micros(t.expires))); err != nil {
		return fmt.Errorf("store a token: %w", err)
	}
	return nil
}

// give stores what was issued and answers it. If it cannot be stored nothing is given: a token that nobody could list
// could not be taken back by its name either.
func (c *call) give(name string, x oauth.Issued, redirect string) (*result, error) {
	k := x.Claims
	t := stored{id: k.ID, name: name, client: k.ClientID, grant: k.GrantID, grantType: x.GrantType, scopes: strings.Join(k.Scopes, " "), redirect: redirect,
		created: k.IssuedAt, expires: k.Expires}
	if k.GrantID != "" {
		t.user = k.Subject
	}
	err := c.within(func(tx db.WriteTx) error {
		if err := c.keep(tx, t, x.Token); err != nil || k.GrantID == "" {
			return err
		}
		if x.GrantType != grantPassword {
			// The code, or the refresh token before this one, was used.
			if _, err := tx.Exec(c, `UPDATE mithril_tokens SET superseded = $2 WHERE grant_id = $1 AND superseded = 0 AND name IN ($3, $4)`,
				k.GrantID, db.Micros(tx.Now()), nameCode, nameRefresh); err != nil {
				return fmt.Errorf("mark a token as used: %w", err)
			}
		}
		if x.Refresh.Empty() {
			return nil
		}
		r := t
		r.id, r.name, r.created, r.expires = id.New(id.Token, tx.Now()), nameRefresh, tx.Now(), x.RefreshEnds
		return c.keep(tx, r, x.Refresh)
	})
	if err != nil {
		return nil, err
	}
	v := t.view()
	v.Value = x.Token.Reveal()
	if !x.Refresh.Empty() {
		v.Details.RefreshToken = x.Refresh.Reveal()
	}
	return &result{status: http.StatusCreated, data: v, location: c.at("tokens", t.id)}, nil
}

// find reads the row of a token by its value, or by its id.
func (c *call) find(tx db.ReadTx, condition string, value any) (stored, error) {
	t, _, err := scanToken(tx.QueryRow(c, `SELECT `+tokenColumns+` FROM mithril_tokens t WHERE `+condition, value))
	if errors.Is(err, db.ErrNoRows) {
		return stored{}, notFound()
	}
	if err != nil {
		return stored{}, fmt.Errorf("read a token: %w", err)
	}
	return t, nil
}

func (c *call) findValue(tx db.ReadTx, value redact.Secret) (stored, error) {
	for _, mac := range c.o.Keyring.LookupMACs(macToken, value) {
		t, err := c.find(tx, `t.mac = $1`, mac)
		var none *failure
		if !errors.As(err, &none) {
			return t, err
		}
	}
	return stored{}, notFound()
}

// look finds the token that the path names and tells whether it is good. By its value, showing it is proof enough; by its
// id, the caller must hold that token itself or the right to read all. `self` is the token in the Authorization header.
func (c *call) look() (t stored, err error) {
	name := c.r.PathValue("token")
	if name == "self" {
		if c.who.claims == nil {
			return stored{}, unauthenticated("This needs a token: send Authorization: Bearer <token>.")
		}
		return ofClaims(*c.who.claims), nil
	}
	if tokenID, ok := inner(id.Token, name); ok {
		if c.who.claims == nil || c.who.claims.ID != tokenID {
			if _, err := c.may("token:read"); err != nil {
				return stored{}, err
			}
		}
		err = c.reading(func(tx db.ReadTx) (err error) {
			t, err = c.find(tx, listed+` AND t.id = $1`, tokenID)
			return err
		})
		if err == nil && (t.name == nameAccess || t.name == nameSession) {
			err = c.alive(t)
		}
		if err == nil {
			err = c.suffices(t)
		}
		return t, err
	}
	value := redact.New(name)
	if strings.Count(name, ".") == 2 {
		claims, err := c.o.OAuth.Verifier().Verify(c, name, oauth.VerifyOptions{})
		if err == nil {
			t = ofClaims(*claims)
			return t, c.suffices(t)
		}
		if !errors.Is(err, oauth.ErrToken) {
			return stored{}, err
		}
		if err := c.reading(func(tx db.ReadTx) error { _, err := c.findValue(tx, value); return err }); err != nil {
			return stored{}, err // one that we never gave
		}
		return stored{}, overOrRevoked(err)
	}
	var live bool
	err = c.reading(func(tx db.ReadTx) (err error) {
		if t, err = c.findValue(tx, value); err != nil {
			return err
		}
		live, err = c.o.OAuth.Live(c, tx, t.grant, value)
		return err
	})
	if err == nil && !live {
		err = overOrRevoked(nil)
	}
	return t, err
}

// alive tells whether an access token that is known by its row alone is good. Every claim by which tokens can be revoked is
// said as the token says it.
func (c *call) alive(t stored) error {
	k := oauth.Claims{ID: t.id, GrantID: t.grant, ClientID: t.client, Subject: t.client, Realm: realm.Robots, Scopes: strings.Fields(t.scopes),
		IssuedAt: t.created.Truncate(time.Second), Expires: t.expires}
	k.NameParty()
	if t.user != "" {
		var u identity.User
		err := c.reading(func(tx db.ReadTx) (err error) {
			u, err = identity.LoadUser(c, tx, t.user)
			return err
		})
		if fault.Is(err, fault.NotFound) {
			return overOrRevoked(err)
		}
		if err != nil {
			return err
		}
		k.Subject, k.Realm = u.ID, u.Realm
	}
	err := c.o.OAuth.Good(c, k)
	if errors.Is(err, oauth.ErrToken) {
		err = overOrRevoked(err)
	}
	return err
}

// suffices refuses a session by a password alone of who has to prove more by now: a second factor that was added since, or
// that the realm began to want.
func (c *call) suffices(t stored) error {
	if t.name != nameSession || t.user == "" || c.o.Admit == nil {
		return nil
	}
	err := c.reading(func(tx db.ReadTx) error {
		u, err := identity.LoadUser(c, tx, t.user)
		if err != nil {
			return err
		}
		return c.o.Admit(c, tx, u, byPasswordAlone)
	})
	if tooLittle(err) || fault.Is(err, fault.NotFound) {
		err = overOrRevoked(err)
	}
	return err
}

func overOrRevoked(cause error) *failure {
	f := grantFailure(http.StatusUnauthorized, "invalid_grant", "Token expired or client approval was revoked.")
	f.cause = cause
	return f
}

// ofClaims is the row of a token that says everything by itself.
func ofClaims(k oauth.Claims) stored {
	t := stored{id: k.ID, name: nameAccess, client: k.ClientID, grant: k.GrantID, grantType: k.Grant, scopes: strings.Join(k.Scopes, " "), expires: k.Expires}
	if k.Grant == grantPassword {
		t.name = nameSession
	}
	if k.GrantID != "" {
		t.user = k.Subject
	}
	return t
}

// verify tells whether a token is good, and what it says.
func (c *call) verify() (*result, error) {
	t, err := c.look()
	if err != nil {
		return nil, err
	}
	return &result{data: t.view()}, nil
}

// urgent is what clients act upon: when the token ends, and which roles the person has at its client.
type urgent struct {
	ClientID string      `json:"client_id"`
	Roles    []setView   `json:"roles"`
	Token    urgentToken `json:"token"`
}

type urgentToken struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	ExpiresAt int64  `json:"expires_at"`
	Scope     string `json:"scope"`
}

type userWithUrgent struct {
	userView
	Urgent *urgent `json:"urgent,omitempty"`
}

// tokenUser tells whose a token is. The token itself must allow that, or the caller must be one who reads all.
func (c *call) tokenUser() (*result, error) {
	t, err := c.look()
	if err != nil {
		return nil, err
	}
	// Whoever signed in with a password may know who that was.
	if t.name != nameSession && !slices.Contains(strings.Fields(t.scopes), userRead) && !c.holds("token:read") {
		return nil, missingScope(userRead)
	}
	if t.user == "" {
		return nil, notFound() // it is a client's own
	}
	out := &result{urgent: &urgent{ClientID: id.UUID(t.client), Roles: []setView{},
		Token: urgentToken{id.UUID(t.id), t.name, t.expires.Unix(), t.scopes}}}
	err = c.reading(func(tx db.ReadTx) error {
		u, err := c.loadUser(tx, t.user)
		if err != nil {
			return err
		}
		out.urgent.Roles = []setView{}
		rows, err := tx.Query(c, `SELECT r.id, r.name, r.scopes FROM user_roles u JOIN roles r ON r.id = u.role_id WHERE u.user_id = $1 AND u.client_id = $2 ORDER BY r.id`, t.user, t.client)
		if err != nil {
			return fmt.Errorf("read roles: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			v, _, err := scanSet(rows)
			if err != nil {
				return fmt.Errorf("read roles: %w", err)
			}
			out.urgent.Roles = append(out.urgent.Roles, v)
		}
		view := userWithUrgent{userView: u}
		if c.o.UrgentInData {
			view.Urgent = out.urgent
		}
		out.data = view
		return rows.Err()
	})
	return out, err
}

// tokens lists what was given here.
func (c *call) tokens() (*result, error) {
	if _, err := c.may("token:read"); err != nil {
		return nil, err
	}
	l := &listing{c: c, columns: tokenColumns, from: `mithril_tokens t`, key: `t.id`, prefix: id.Token}
	l.and(listed)
	l.and(`(t.user_id = '' OR t.user_id IN (SELECT id FROM users WHERE realm = ?))`, c.o.Realm)
	if err := c.tokenFilter(l); err != nil {
		return nil, err
	}
	if err := l.byID(`t.user_id`, "user_id", id.User); err != nil {
		return nil, err
	}
	var out *result
	err := c.reading(func(tx db.ReadTx) (err error) {
		fresh := *l
		out, err = read(tx, &fresh, func(row db.Row) (tokenView, string, error) {
			t, name, err := scanToken(row)
			return t.view(), name, err
		})
		return err
	})
	return out, err
}

// tokenFilter takes name, value and client_id from the query. A value is looked for as a whole, or by its first
// characters: more of it is not stored.
func (c *call) tokenFilter(l *listing) error {
	q := c.r.URL.Query()
	if names := q.Get("name") + q.Get("names"); names != "" {
		l.in(`t.name`, strings.SplitN(names, ",", 10))
	}
	if value := q.Get("value"); len(value) == shown {
		l.and(`t.prefix = ?`, value)
	} else if value != "" {
		macs := c.o.Keyring.LookupMACs(macToken, redact.New(value))
		marks := make([]any, len(macs))
		for i, mac := range macs {
			marks[i] = mac
		}
		l.and(`t.mac IN (`+strings.TrimSuffix(strings.Repeat("?, ", len(marks)), ", ")+`)`, marks...)
	}
	return l.byID(`t.client_id`, "client_id", id.Client)
}

func (c *call) token() (*result, error) {
	if _, err := c.may("token:read"); err != nil {
		return nil, err
	}
	tokenID, err := c.one("token", id.Token)
	if err != nil {
		return nil, err
	}
	var t stored
	err = c.reading(func(tx db.ReadTx) (err error) {
		if t, err = c.find(tx, listed+` AND t.id = $1`, tokenID); err == nil && t.user != "" {
			_, err = c.loadUser(tx, t.user) // what people of other realms have is no matter of this interface
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &result{data: t.view()}, nil
}

// deleteToken takes a token back. A session, a code and a refresh token are what the others come from, and take them along.
func (c *call) deleteToken() (*result, error) {
	who, err := c.may("token:delete")
	if err != nil {
		return nil, err
	}
	tokenID, err := c.one("token", id.Token)
	if err != nil {
		return nil, err
	}
	err = c.within(func(tx db.WriteTx) error {
		t, err := c.find(tx, listed+` AND t.id = $1`, tokenID)
		if err != nil {
			return err
		}
		if err := c.mayEnd(tx, t); err != nil {
			return err
		}
		return c.revoke(tx, who, t)
	})
	return &result{status: http.StatusNoContent}, err
}

// mayEnd refuses the token of somebody, or of a client on its own account, who is above the caller.
func (c *call) mayEnd(tx db.ReadTx, t stored) error {
	if t.user != "" {
		_, err := c.manage(tx, t.user)
		return err
	}
	typing, err := registry.LoadTyping(c, tx, t.client)
	if err != nil {
		return err
	}
	return c.mayChange(tx, typing)
}

// deleteTokens takes back the tokens of a person, or those among them that the query selects.
func (c *call) deleteTokens() (*result, error) {
	who, err := c.may("token:delete")
	if err != nil {
		return nil, err
	}
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	l := &listing{c: c, columns: tokenColumns, from: `mithril_tokens t`}
	l.and(listed)
	if err := c.tokenFilter(l); err != nil {
		return nil, err
	}
	l.and(`t.user_id = ?`, userID)
	q := c.r.URL.Query()
	err = c.within(func(tx db.WriteTx) error {
		if _, err := c.manage(tx, userID); err != nil {
			return err
		}
		if q.Get("name")+q.Get("names")+q.Get("value") == "" {
			// All of them, also what other surfaces gave.
			clients, err := c.ids("client_id", id.Client)
			if err != nil {
				return err
			}
			if clients == nil {
				clients = []string{""} // every one
			}
			for _, client := range clients {
				if err := c.o.OAuth.EndGrantsOf(c, tx, userID, client, "revoked"); err != nil {
					return err
				}
				if err := c.markRevoked(tx, userID, client); err != nil {
					return err
				}
			}
			return audit.Done(c, tx, who, "token.revoke", "user", userID, map[string]any{"client_ids": clients})
		}
		list, err := c.collect(tx, l)
		if err != nil {
			return err
		}
		for _, t := range list {
			if err := c.revoke(tx, who, t); err != nil {
				return err
			}
		}
		return nil
	})
	return &result{status: http.StatusNoContent}, err
}

func (c *call) collect(tx db.ReadTx, l *listing) ([]stored, error) {
	rows, err := tx.Query(c, l.query(), l.args...)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	defer rows.Close()
	var list []stored
	for rows.Next() {
		t, _, err := scanToken(rows)
		if err != nil {
			return nil, fmt.Errorf("list tokens: %w", err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// markRevoked takes the rows of a user's tokens from the lists; client "" means every one.
func (c *call) markRevoked(tx db.WriteTx, userID, clientID string) error {
	if _, err := tx.Exec(c, `UPDATE mithril_tokens SET revoked = $3 WHERE user_id = $1 AND ($2 = '' OR client_id = $2) AND revoked = 0`,
		userID, clientID, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("mark tokens as revoked: %w", err)
	}
	return nil
}
