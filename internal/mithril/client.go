package mithril

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// clientView is a client as answers show it. The secret is there in the answer that makes it, and nowhere else.
type clientView struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Secret       string          `json:"secret,omitempty"`
	RedirectURI  string          `json:"redirect_uri"`
	Settings     json.RawMessage `json:"settings"`
	PrivSettings json.RawMessage `json:"priv_settings"`
	UserID       string          `json:"user_id"`
	ClientTypeID string          `json:"client_type_id"`
}

const (
	clientColumns = `y.client_id, coalesce(s.name, ''), coalesce((SELECT r.uri FROM client_redirects r WHERE r.client_id = y.client_id AND r.use = 'sign_in' AND r.position = 0), ''),
		y.settings, y.priv_settings, y.owner, y.type_id`
	clientTables = `typed_clients y LEFT JOIN client_settings s ON s.client_id = y.client_id`
)

func scanClient(row db.Row) (v clientView, name string, err error) {
	var settings, private, owner, kind string
	err = row.Scan(&name, &v.Name, &v.RedirectURI, &settings, &private, &owner, &kind)
	v.ID, v.UserID, v.ClientTypeID = id.UUID(name), id.UUID(owner), id.UUID(kind)
	v.Settings, v.PrivSettings = json.RawMessage(settings), json.RawMessage(private)
	return v, name, err
}

func (c *call) loadClient(tx db.ReadTx, clientID string) (clientView, error) {
	v, _, err := scanClient(tx.QueryRow(c, `SELECT `+clientColumns+` FROM `+clientTables+` WHERE y.client_id = $1`, clientID))
	if errors.Is(err, db.ErrNoRows) {
		return v, notFound()
	}
	if err != nil {
		return v, fmt.Errorf("read a client: %w", err)
	}
	return v, nil
}

// clientBody is what a caller says about a client. nil keeps what is stored. A secret cannot be said: it is made here.
type clientBody struct {
	Name         *string         `json:"name"`
	UserID       *string         `json:"user_id"`
	TypeID       *string         `json:"client_type_id"`
	RedirectURI  *string         `json:"redirect_uri"`
	Settings     json.RawMessage `json:"settings"`
	PrivSettings json.RawMessage `json:"priv_settings"`
}

// check refuses what is wrong in itself; with all, nothing may be missing.
func (b clientBody) check(all bool) error {
	list := append(checkSettings("settings", b.Settings), checkSettings("priv_settings", b.PrivSettings)...)
	for _, f := range []struct {
		field, prefix string
		value         *string
	}{{"name", "", b.Name}, {"user_id", id.User, b.UserID}, {"client_type_id", id.ClientType, b.TypeID}, {"redirect_uri", "", b.RedirectURI}} {
		if f.value == nil && !all {
			continue
		}
		if f.value == nil || strings.TrimSpace(*f.value) == "" {
			list = append(list, required(f.field))
			continue
		}
		if _, ok := inner(f.prefix, *f.value); f.prefix != "" && !ok {
			list = append(list, entry(f.field, "cast", "is invalid", "uuid"))
		}
		if f.field == "redirect_uri" && !webAddress(*f.value) {
			list = append(list, entry("redirect_uri", "format", "has invalid format"))
		}
	}
	if len(list) > 0 {
		return invalid(list...)
	}
	return nil
}

func webAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

// apply puts what the body says into the type's and the client's own settings.
func (b clientBody) apply(s *registry.Settings, t *registry.Typing) {
	if b.Name != nil {
		s.Name = strings.TrimSpace(*b.Name)
	}
	if b.RedirectURI != nil {
		s.RedirectURIs = []string{*b.RedirectURI}
	}
	if b.UserID != nil {
		t.Owner, _ = inner(id.User, *b.UserID)
	}
	if b.TypeID != nil {
		t.TypeID, _ = inner(id.ClientType, *b.TypeID)
	}
	if b.Settings != nil || t.Settings == nil {
		t.Settings = json.RawMessage(object(b.Settings))
	}
	if b.PrivSettings != nil || t.PrivSettings == nil {
		t.PrivSettings = json.RawMessage(object(b.PrivSettings))
	}
	// People can always be sent to such a client for a code; the other two grants are allowed by being listed.
	s.GrantTypes, s.RefreshTokens = []string{registry.GrantAuthorizationCode}, registry.RefreshAlways
	allowed := t.AllowedGrantTypes()
	if slices.Contains(allowed, grantForClient) {
		s.GrantTypes = append(s.GrantTypes, grantForClient)
	}
	s.Metadata.PersonPassword = slices.Contains(allowed, grantPassword)
	if s.Metadata.PersonPassword {
		s.GrantTypes = append(s.GrantTypes, grantPassword)
	}
}

func (c *call) clients() (*result, error) {
	if _, err := c.may("client:read"); err != nil {
		return nil, err
	}
	l := &listing{c: c, columns: clientColumns, from: clientTables, key: `y.client_id`, prefix: id.Client}
	if name := c.r.URL.Query().Get("name"); name != "" {
		l.contains(`lower(coalesce(s.name, ''))`, name)
	}
	if err := l.byID(`y.owner`, "user_id", id.User); err != nil {
		return nil, err
	}
	return readPage(c, l, scanClient)
}

// belongs refuses an owner or a type that does not exist, and a type that the caller may not hand out.
func (c *call) belongs(tx db.ReadTx, t registry.Typing) error {
	if _, err := c.loadUser(tx, t.Owner); err != nil {
		var none *failure
		if errors.As(err, &none) {
			return invalid(entry("user_id", "assoc", "does not exist"))
		}
		return err
	}
	kind, err := c.o.Registry.ClientTypes().Load(c, tx, t.TypeID)
	if fault.Is(err, fault.NotFound) {
		return invalid(entry("client_type_id", "assoc", "does not exist"))
	}
	if err != nil {
		return err
	}
	return c.mayGive(kind.Scopes)
}

// mayChange refuses a client whose type is above the caller: its address and its owner are worth what its tokens are.
func (c *call) mayChange(tx db.ReadTx, t registry.Typing) error {
	kind, err := c.o.Registry.ClientTypes().Load(c, tx, t.TypeID)
	if err != nil {
		return err
	}
	return c.mayGive(kind.Scopes)
}

// redirectFault is the form in which this interface says that an address cannot be redirected to.
func redirectFault(err error) error {
	if fault.Code(err) == "invalid_redirect_uri" {
		f := invalid(entry("redirect_uri", "format", fault.Of(err).Detail))
		f.cause = err
		return f
	}
	return err
}

func (c *call) createClient() (*result, error) {
	who, err := c.may("client:write")
	if err != nil {
		return nil, err
	}
	var b clientBody
	if err := c.decode("client", &b); err != nil {
		return nil, err
	}
	if err := b.check(true); err != nil {
		return nil, err
	}
	var v clientView
	var clientID string
	var secret redact.Secret
	err = c.within(func(tx db.WriteTx) error {
		secret = redact.Secret{}
		clientID, err = c.once(tx, func() (string, error) {
			var s registry.Settings
			var t registry.Typing
			b.apply(&s, &t)
			if err := c.belongs(tx, t); err != nil {
				return "", err
			}
			n, made, err := c.o.Registry.CreateClient(c, tx, who, registry.StandaloneClient{Owner: t.Owner, Confidential: true, Settings: s})
			if err != nil {
				return "", redirectFault(err)
			}
			secret, t.ClientID = made, n.ID
			return n.ID, c.o.Registry.PutTyping(c, tx, who, t)
		})
		if err != nil {
			return err
		}
		v, err = c.loadClient(tx, clientID)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !secret.Empty() { // a repeated request is not told it again
		v.Secret = secret.Reveal()
	}
	return &result{status: http.StatusCreated, data: v, location: c.at("clients", clientID)}, nil
}

func (c *call) getClient() (*result, error) {
	if _, err := c.may("client:read"); err != nil {
		return nil, err
	}
	clientID, err := c.one("id", id.Client)
	if err != nil {
		return nil, err
	}
	var v clientView
	err = c.reading(func(tx db.ReadTx) (err error) {
		v, err = c.loadClient(tx, clientID)
		return err
	})
	return &result{data: v}, err
}

// detailsView is what a page that asks people may show of a client.
type detailsView struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	RedirectURI    string          `json:"redirect_uri"`
	Settings       json.RawMessage `json:"settings"`
	ClientTypeName string          `json:"client_type_name"`
}

// details tells the public facts of a client to who is about to approve, and to who may read clients.
func (c *call) details() (*result, error) {
	if !c.holds("client:read") {
		if err := c.own(mayApprove...); err != nil {
			return nil, err
		}
	}
	clientID, err := c.one("id", id.Client)
	if err != nil {
		return nil, err
	}
	var v detailsView
	err = c.reading(func(tx db.ReadTx) error {
		k, err := c.loadClient(tx, clientID)
		if err != nil {
			return err
		}
		v = detailsView{ID: k.ID, Name: k.Name, RedirectURI: k.RedirectURI, Settings: k.Settings}
		err = tx.QueryRow(c, `SELECT t.name FROM typed_clients y JOIN client_types t ON t.id = y.type_id WHERE y.client_id = $1`, clientID).Scan(&v.ClientTypeName)
		if err != nil {
			return fmt.Errorf("read the type of a client: %w", err)
		}
		return nil
	})
	return &result{data: v}, err
}

// changeClient changes what the body names. Another type takes effect with the commit: what is more than it allows ends.
func (c *call) changeClient() (*result, error) {
	who, err := c.may("client:write")
	if err != nil {
		return nil, err
	}
	clientID, err := c.one("id", id.Client)
	if err != nil {
		return nil, err
	}
	var b clientBody
	if err := c.decode("client", &b); err != nil {
		return nil, err
	}
	if err := b.check(false); err != nil {
		return nil, err
	}
	var v clientView
	err = c.within(func(tx db.WriteTx) error {
		t, err := registry.LoadTyping(c, tx, clientID)
		if err != nil {
			return err
		}
		if err := c.mayChange(tx, t); err != nil {
			return err
		}
		n, err := c.o.Registry.GetClient(c, tx, who, clientID)
		if err != nil {
			return err
		}
		b.apply(&n.Settings, &t)
		if err := c.belongs(tx, t); err != nil {
			return err
		}
		anyRevision := func(int64) error { return nil } // this interface knows no conditional requests
		if _, err := c.o.Registry.UpdateClient(c, tx, who, clientID, registry.ClientChange{Settings: &n.Settings}, anyRevision); err != nil {
			return redirectFault(err)
		}
		if err := c.o.Registry.PutTyping(c, tx, who, t); err != nil {
			return err
		}
		v, err = c.loadClient(tx, clientID)
		return err
	})
	return &result{data: v}, err
}

// deleteClient removes a client with its roles and approvals, and every token that was given for it.
func (c *call) deleteClient() (*result, error) {
	who, err := c.may("client:delete")
	if err != nil {
		return nil, err
	}
	clientID, err := c.one("id", id.Client)
	if err != nil {
		return nil, err
	}
	err = c.within(func(tx db.WriteTx) error {
		t, err := registry.LoadTyping(c, tx, clientID)
		if err != nil {
			return err
		}
		if err := c.mayChange(tx, t); err != nil {
			return err
		}
		if _, err := tx.Exec(c, `UPDATE mithril_tokens SET revoked = $2 WHERE client_id = $1 AND revoked = 0`, clientID, db.Micros(tx.Now())); err != nil {
			return fmt.Errorf("mark tokens as revoked: %w", err)
		}
		return c.o.Registry.DeleteClient(c, tx, who, clientID)
	})
	return &result{status: http.StatusNoContent}, err
}
