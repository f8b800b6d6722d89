package mithril

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// An "app" of this interface is an approval: what a user has allowed a client.

type appView struct {
	ID       string `json:"id"`
	Scope    string `json:"scope"`
	UserID   string `json:"user_id"`
	ClientID string `json:"client_id"`
}

const appColumns = `a.id, a.scopes, a.user_id, a.client_id`

func scanApp(row db.Row) (v appView, name string, err error) {
	err = row.Scan(&name, &v.Scope, &v.UserID, &v.ClientID)
	v.ID, v.UserID, v.ClientID = id.UUID(name), id.UUID(v.UserID), id.UUID(v.ClientID)
	return v, name, err
}

// The scopes by which people act for themselves.
var (
	mayApprove  = []string{"app:authorize", "apps:create"}
	maySee      = []string{"apps:read"}
	mayWithdraw = []string{"apps:delete"}
)

// apps lists approvals: all that the query selects for who may read all, and else the caller's own, whatever the query
// says.
func (c *call) apps() (*result, error) {
	l := &listing{c: c, columns: appColumns, from: `approvals a`, key: `a.id`, prefix: id.Approval}
	l.and(`a.id <> ''`)
	if c.holds("app:read") {
		l.and(`a.user_id IN (SELECT id FROM users WHERE realm = ?)`, c.o.Realm)
		if err := l.byID(`a.user_id`, "user_id", id.User); err != nil {
			return nil, err
		}
	} else {
		if err := c.own(maySee...); err != nil {
			return nil, err
		}
		l.and(`a.user_id = ?`, c.who.ID)
	}
	if err := l.byID(`a.client_id`, "client_id", id.Client); err != nil {
		return nil, err
	}
	return readPage(c, l, scanApp)
}

// app finds the approval that the path names. Somebody else's is none for who may only see the own.
func (c *call) app(tx db.ReadTx, admin string, own []string) (v appView, user, client string, err error) {
	appID, err := c.one("id", id.Approval)
	if err != nil {
		return v, "", "", err
	}
	all := c.holds(admin)
	if !all {
		if err := c.own(own...); err != nil {
			return v, "", "", err
		}
	}
	v, _, err = scanApp(tx.QueryRow(c, `SELECT `+appColumns+` FROM approvals a WHERE a.id = $1`, appID))
	if errors.Is(err, db.ErrNoRows) {
		return v, "", "", notFound()
	}
	if err != nil {
		return v, "", "", fmt.Errorf("read an approval: %w", err)
	}
	user, _ = inner(id.User, v.UserID)
	client, _ = inner(id.Client, v.ClientID)
	if !all && user != c.who.ID {
		return v, "", "", notFound()
	}
	switch {
	case user == c.who.ID:
	case admin == "app:read":
		_, err = c.loadUser(tx, user) // what people of other realms allow is no matter of this interface
	default:
		_, err = c.manage(tx, user)
	}
	return v, user, client, err
}

func (c *call) getApp() (*result, error) {
	var v appView
	err := c.reading(func(tx db.ReadTx) (err error) {
		v, _, _, err = c.app(tx, "app:read", maySee)
		return err
	})
	return &result{data: v}, err
}

// appBody is what a caller says about an approval.
type appBody struct {
	UserID        string `json:"user_id"`
	ClientID      string `json:"client_id"`
	RedirectURI   string `json:"redirect_uri"`
	Scope         string `json:"scope"`
	State         string `json:"state"`
	CodeChallenge string `json:"code_challenge"`
}

// postApp approves for the caller, who gets a code for the client; or, with a user_id and without a redirect_uri, it puts
// an approval for a user.
func (c *call) postApp() (*result, error) {
	var b appBody
	if err := c.decodeApp(&b); err != nil {
		return nil, err
	}
	if b.RedirectURI == "" && b.UserID != "" {
		return c.putFor(b)
	}
	return c.approve(b)
}

func (c *call) decodeApp(b *appBody) error {
	err := c.decode("app", b)
	if err != nil && c.decode("approval", b) == nil { // as the older documentation has it
		return nil
	}
	return err
}

// authorize is postApp at its other address.
func (c *call) authorize() (*result, error) {
	var b appBody
	if err := c.decodeApp(&b); err != nil {
		return nil, err
	}
	return c.approve(b)
}

func badApproval(status int, message string) error {
	return grantFailure(status, "invalid_client", message)
}

// maxState bounds what is handed back to the client.
const maxState = 4 << 10

// approve remembers what the user behind the token allows, and answers the code for the client and where to bring it.
func (c *call) approve(b appBody) (*result, error) {
	if err := c.own(mayApprove...); err != nil {
		return nil, err
	}
	if b.ClientID == "" || b.RedirectURI == "" || strings.TrimSpace(b.Scope) == "" {
		return nil, badApproval(http.StatusBadRequest, "Request must include at least client_id, redirect_uri and scope.")
	}
	const no = http.StatusUnprocessableEntity
	client, ok, err := c.typedClient(b.ClientID)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, badApproval(no, "Client not found.")
	}
	if !continues(client, b.RedirectURI) {
		return nil, badApproval(no, "The redirection URI provided does not match a pre-registered value.")
	}
	scopes, err := registry.ParseScopes("body.scope", b.Scope)
	if err != nil {
		return nil, badApproval(no, "Scope is not valid.")
	}
	if withinType(client, scopes) != nil {
		return nil, badApproval(no, "Scope is not allowed by client type.")
	}
	if len(b.State) > maxState {
		return nil, badApproval(no, "state is too long.")
	}
	a := oauth.SurfaceApproval{Client: client, UserID: c.who.ID, Redirect: b.RedirectURI, Challenge: b.CodeChallenge, Scopes: scopes, Caller: c.who.Caller}
	if !c.who.gateway {
		a.Session = c.who.claims
	}
	code, err := c.o.OAuth.ApproveFor(c, a)
	if err != nil {
		return nil, badApprovalOf(err)
	}
	t := stored{id: id.New(id.Token, c.o.Clock.Now()), name: nameCode, user: c.who.ID, client: client.ID, grant: code.GrantID, grantType: grantPassword,
		scopes: strings.Join(scopes, " "), redirect: b.RedirectURI, expires: code.Expires}
	if err := c.within(func(tx db.WriteTx) error { return c.keep(tx, t, code.Code) }); err != nil {
		return nil, err
	}
	v := t.view()
	v.Value = code.Code.Reveal()
	return &result{status: http.StatusCreated, data: v, location: withCode(b.RedirectURI, v.Value, b.State)}, nil
}

// badApprovalOf is the form of a refusal of the gate: 422, in the words that the clients of this interface know.
func badApprovalOf(err error) error {
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	no := oauth.RefusedBy(err)
	switch {
	case errors.Is(err, oauth.ErrNoRole):
		return badApproval(http.StatusUnprocessableEntity, "User has no role for this client.")
	case no.Status >= http.StatusInternalServerError, no.Status == http.StatusTooManyRequests:
		return refusedGrant(err)
	case no.Code == "invalid_grant":
		return unauthenticated("The session is over.")
	}
	return badApproval(http.StatusUnprocessableEntity, no.Description)
}

// continues tells whether the address is one that is registered, exactly or with a query of its own behind it. The query
// must not speak for us.
func continues(client registry.Client, uri string) bool {
	if client.MayRedirect(uri) {
		return true
	}
	base, query, found := strings.Cut(uri, "?")
	if !found || !client.MayRedirect(base) || strings.ContainsAny(uri, "#\\ ") || len(uri) > 2048 {
		return false
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return false
	}
	for _, name := range []string{"code", "state", "error", "error_description", "iss", "response", "access_token", "id_token"} {
		if values.Has(name) {
			return false
		}
	}
	return true
}

// withCode is the address with the code behind what query it has, and the state if there is one.
func withCode(uri, code, state string) string {
	join := "?"
	if strings.Contains(uri, "?") {
		join = "&"
	}
	uri += join + "code=" + url.QueryEscape(code)
	if state != "" {
		uri += "&state=" + url.QueryEscape(state)
	}
	return uri
}

// putFor puts an approval for a user, by who may do so for all.
func (c *call) putFor(b appBody) (*result, error) {
	who, err := c.may("app:write")
	if err != nil {
		return nil, err
	}
	userID, ok := inner(id.User, b.UserID)
	if !ok {
		return nil, invalid(entry("user_id", "cast", "is invalid", "uuid"))
	}
	clientID, ok := inner(id.Client, b.ClientID)
	if !ok {
		return nil, invalid(entry("client_id", "cast", "is invalid", "uuid"))
	}
	out, err := c.setApproval(who, b.Scope, func(db.ReadTx) (string, string, error) { return userID, clientID, nil })
	if err == nil {
		out.status = http.StatusCreated
		if v, ok := out.data.(appView); ok {
			found, _ := inner(id.Approval, v.ID)
			out.location = c.at("apps", found)
		}
	}
	return out, err
}

// setApproval stores the scopes of an approval. Tokens that hold more end with the commit.
func (c *call) setApproval(who access.Caller, scope string, whose func(tx db.ReadTx) (user, client string, err error)) (*result, error) {
	scopes, err := registry.ParseScopes("body.scope", scope)
	if err != nil {
		return nil, err
	}
	if err := c.mayGive(scopes); err != nil {
		return nil, err
	}
	var v appView
	err = c.within(func(tx db.WriteTx) error {
		userID, clientID, err := whose(tx)
		if err != nil {
			return err
		}
		if _, err := c.loadUser(tx, userID); err != nil {
			return invalid(entry("user_id", "assoc", "does not exist"))
		}
		if _, err := c.manage(tx, userID); err != nil {
			return err
		}
		if err := c.o.OAuth.PutApproval(c, tx, who, userID, clientID, scopes); err != nil {
			if no := oauth.RefusedBy(err); no.Status < http.StatusInternalServerError {
				return invalid(entry("scope", "inclusion", no.Description))
			}
			return err
		}
		v, _, err = scanApp(tx.QueryRow(c, `SELECT `+appColumns+` FROM approvals a WHERE a.user_id = $1 AND a.client_id = $2`, userID, clientID))
		return err
	})
	return &result{data: v}, err
}

// putApp changes the scopes of an approval, by who may do so for all; a user approves once more by it, and gets a code.
func (c *call) putApp() (*result, error) {
	var b appBody
	if err := c.decodeApp(&b); err != nil {
		return nil, err
	}
	if !c.holds("app:write") {
		var client string
		err := c.reading(func(tx db.ReadTx) (err error) {
			_, _, client, err = c.app(tx, "app:write", mayApprove)
			return err
		})
		if err != nil {
			return nil, err
		}
		b.ClientID = client
		out, err := c.approve(b)
		if err == nil {
			out.status = http.StatusOK
		}
		return out, err
	}
	return c.setApproval(c.delegate(), b.Scope, func(tx db.ReadTx) (string, string, error) {
		_, user, client, err := c.app(tx, "app:write", nil)
		return user, client, err
	})
}

// deleteApp withdraws an approval. Code, refresh token and access tokens of it are refused from the commit on.
func (c *call) deleteApp() (*result, error) {
	err := c.within(func(tx db.WriteTx) error {
		_, user, client, err := c.app(tx, "app:delete", mayWithdraw)
		if err != nil {
			return err
		}
		return c.withdraw(tx, user, client)
	})
	return &result{status: http.StatusNoContent}, err
}

func (c *call) withdraw(tx db.WriteTx, user, client string) error {
	if err := c.o.OAuth.Withdraw(c, tx, c.delegate(), user, client); err != nil {
		return err
	}
	return c.markRevoked(tx, user, client)
}

// deleteApps withdraws the approvals of a user: all, or the one for a client.
func (c *call) deleteApps() (*result, error) {
	if _, err := c.may("app:delete"); err != nil {
		return nil, err
	}
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	l := &listing{c: c, columns: `a.client_id`, from: `approvals a`}
	l.and(`a.user_id = ?`, userID)
	if err := l.byID(`a.client_id`, "client_id", id.Client); err != nil {
		return nil, err
	}
	err = c.within(func(tx db.WriteTx) error {
		if _, err := c.manage(tx, userID); err != nil {
			return err
		}
		clients, err := c.names(tx, l)
		if err != nil {
			return err
		}
		for _, client := range clients {
			if err := c.withdraw(tx, userID, client); err != nil {
				return err
			}
		}
		return nil
	})
	return &result{status: http.StatusNoContent}, err
}

// names reads a list of one column.
func (c *call) names(tx db.ReadTx, l *listing) ([]string, error) {
	rows, err := tx.Query(c, l.query(), l.args...)
	if err != nil {
		return nil, fmt.Errorf("list names: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("list names: %w", err)
		}
		list = append(list, name)
	}
	return list, rows.Err()
}
