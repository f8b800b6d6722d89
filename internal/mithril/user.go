package mithril

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// userView is a user as answers show it. Never more: priv_settings and everything about the password stay inside.
type userView struct {
	ID          string          `json:"id"`
	Email       string          `json:"email"`
	Settings    json.RawMessage `json:"settings"`
	IsBlocked   bool            `json:"is_blocked,omitempty"`
	BlockReason string          `json:"block_reason,omitempty"`
}

const (
	userColumns = `u.id, p.email, coalesce(m.settings, '{}'), u.disabled, coalesce(m.block_reason, '')`
	userTables  = `users u JOIN people p ON p.user_id = u.id LEFT JOIN mithril_users m ON m.user_id = u.id`
)

func scanUser(row db.Row) (v userView, name string, err error) {
	var settings string
	var disabled int64
	err = row.Scan(&name, &v.Email, &settings, &disabled, &v.BlockReason)
	v.ID, v.Settings, v.IsBlocked = id.UUID(name), json.RawMessage(settings), disabled != 0
	if !v.IsBlocked {
		v.BlockReason = ""
	}
	return v, name, err
}

// loadUser reads a user of this interface's realm. Who was removed is nobody.
func (c *call) loadUser(tx db.ReadTx, userID string) (userView, error) {
	v, _, err := scanUser(tx.QueryRow(c, `SELECT `+userColumns+` FROM `+userTables+` WHERE u.id = $1 AND u.realm = $2`, userID, c.o.Realm))
	if errors.Is(err, db.ErrNoRows) {
		return v, notFound()
	}
	if err != nil {
		return v, fmt.Errorf("read a user: %w", err)
	}
	return v, nil
}

// manage finds the user that the path names, for who may do this to any. Administrators of ours are out of reach of
// everybody but their like, and so is who may do by a role what the caller may not: who sets another's password could sign
// in as that user, and have it all.
func (c *call) manage(tx db.ReadTx, userID string) (identity.Person, error) {
	if _, err := c.loadUser(tx, userID); err != nil {
		return identity.Person{}, err
	}
	p, err := identity.LoadPerson(c, tx, userID)
	if err == nil && p.Admin && !c.who.Admin {
		err = forbidden("This user administers mintmark itself.")
	}
	if err != nil || c.who.Admin || userID == c.who.ID {
		return p, err
	}
	held, err := c.scopesOfRoles(tx, userID)
	if err == nil && c.mayGiveRole(held) != nil {
		err = forbidden("This user has a role that allows more than you may do.")
	}
	if err == nil {
		err = c.manageOwned(tx, userID)
	}
	return p, err
}

// manageOwned refuses the owner of a client whose type is above the caller: the client's secrets are its owner's to make.
func (c *call) manageOwned(tx db.ReadTx, userID string) error {
	owned, err := c.scopesIn(tx, `SELECT t.scopes FROM typed_clients y JOIN client_types t ON t.id = y.type_id WHERE y.owner = $1`, userID)
	if err == nil && c.mayGive(owned) != nil {
		err = forbidden("This user owns a client whose type allows more than you may do.")
	}
	return err
}

// scopesOfRoles are the scopes of all roles that the user has, at whichever client.
func (c *call) scopesOfRoles(tx db.ReadTx, userID string) ([]string, error) {
	return c.scopesIn(tx, `SELECT r.scopes FROM user_roles u JOIN roles r ON r.id = u.role_id WHERE u.user_id = $1`, userID)
}

// scopesIn joins what a query about a user finds in its one column of scopes.
func (c *call) scopesIn(tx db.ReadTx, query, userID string) (all []string, err error) {
	rows, err := tx.Query(c, query, userID)
	if err != nil {
		return nil, fmt.Errorf("read what a user may do: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var scopes string
		if err := rows.Scan(&scopes); err != nil {
			return nil, fmt.Errorf("read what a user may do: %w", err)
		}
		all = append(all, strings.Fields(scopes)...)
	}
	return all, rows.Err()
}

// userBody is what a caller says about a user. nil keeps what is stored.
type userBody struct {
	Email        *string         `json:"email"`
	Password     *string         `json:"password"`
	Confirmation *string         `json:"password_confirmation"`
	Current      *string         `json:"current_password"`
	Settings     json.RawMessage `json:"settings"`
	PrivSettings json.RawMessage `json:"priv_settings"`
	BlockReason  string          `json:"block_reason"`
}

// maxSettings bounds each of the two objects.
const maxSettings = 16 << 10

func checkSettings(field string, raw json.RawMessage) []wrong {
	switch {
	case raw == nil || string(raw) == "null":
		return nil
	case raw[0] != '{':
		return []wrong{entry(field, "cast", "is invalid", "map")}
	case len(raw) > maxSettings:
		return []wrong{entry(field, "length", "is too long")}
	}
	return nil
}

// check refuses what is wrong in itself.
func (b userBody) check() error {
	list := append(checkSettings("settings", b.Settings), checkSettings("priv_settings", b.PrivSettings)...)
	if b.Email != nil && strings.TrimSpace(*b.Email) == "" {
		list = append(list, required("email"))
	}
	if b.Password != nil && *b.Password == "" {
		list = append(list, required("password"))
	}
	if b.Password != nil && b.Confirmation != nil && *b.Confirmation != *b.Password {
		list = append(list, entry("password_confirmation", "confirmation", "does not match confirmation"))
	}
	if len(list) > 0 {
		return invalid(list...)
	}
	return nil
}

func object(raw json.RawMessage) string {
	if raw == nil || string(raw) == "null" {
		return "{}"
	}
	return string(raw)
}

func (c *call) users() (*result, error) {
	if _, err := c.may(userRead); err != nil {
		return nil, err
	}
	l := &listing{c: c, columns: userColumns, from: userTables, key: `u.id`, prefix: id.User}
	l.and(`u.realm = ?`, c.o.Realm)
	if email := c.r.URL.Query().Get("email"); email != "" {
		l.and(`p.email_key = ?`, identity.EmailKey(email))
	}
	return readPage(c, l, scanUser)
}

// createUser makes a user. The slow hash is made before the transaction, which must not wait for it.
func (c *call) createUser() (*result, error) {
	who, err := c.may("user:write")
	if err != nil {
		return nil, err
	}
	var b userBody
	if err := c.decode("user", &b); err != nil {
		return nil, err
	}
	var missing []wrong
	if b.Email == nil {
		missing = append(missing, required("email"))
	}
	if b.Password == nil {
		missing = append(missing, required("password"))
	}
	if missing != nil {
		return nil, invalid(missing...)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	p := identity.NewPerson{Realm: c.o.Realm, Username: *b.Email, Email: *b.Email}
	if _, err := identity.CanonicalUsername(p.Username); err != nil {
		p.Username, p.DisplayName = id.New(id.User, c.o.Clock.Now()), *b.Email // an address that is no username
	}
	h, err := c.o.Identity.HashPassword(c, c.o.Realm, redact.New(*b.Password), append(strings.FieldsFunc(*b.Email, func(r rune) bool { return r == '@' }), *b.Email)...)
	if err != nil {
		return nil, err
	}
	var v userView
	var userID string
	err = c.within(func(tx db.WriteTx) error {
		userID, err = c.once(tx, func() (string, error) {
			u, err := c.o.Identity.CreatePersonHashed(c, tx, who, p, h)
			if err != nil {
				return "", taken(err)
			}
			return u.ID, c.putSettings(tx, u.ID, &b)
		})
		if err != nil {
			return err
		}
		v, err = c.loadUser(tx, userID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &result{status: http.StatusCreated, data: v, location: c.at("users", userID)}, nil
}

// taken is the form in which this interface says that an address belongs to somebody already.
func taken(err error) error {
	if fault.Code(err) == "user_exists" {
		f := invalid(entry("email", "unique", "has already been taken"))
		f.cause = err
		return f
	}
	return err
}

func (c *call) putSettings(tx db.WriteTx, userID string, b *userBody) error {
	if b.Settings == nil && b.PrivSettings == nil {
		return nil
	}
	if err := db.One(tx.Exec(c, `INSERT INTO mithril_users (user_id, settings, priv_settings, block_reason) VALUES ($1, $2, $3, '')
		ON CONFLICT (user_id) DO UPDATE SET settings = CASE WHEN $4 THEN excluded.settings ELSE mithril_users.settings END,
			priv_settings = CASE WHEN $5 THEN excluded.priv_settings ELSE mithril_users.priv_settings END`,
		userID, object(b.Settings), object(b.PrivSettings), b.Settings != nil, b.PrivSettings != nil)); err != nil {
		return fmt.Errorf("store the settings of a user: %w", err)
	}
	return nil
}

func (c *call) user() (*result, error) {
	if _, err := c.may(userRead); err != nil {
		return nil, err
	}
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	var v userView
	err = c.reading(func(tx db.ReadTx) (err error) {
		v, err = c.loadUser(tx, userID)
		return err
	})
	return &result{data: v}, err
}

// hash hashes a new password by the rules for this user.
func (c *call) hash(userID string, password *string) (h identity.Hashed, err error) {
	if password == nil {
		return h, nil
	}
	var words []string
	err = c.reading(func(tx db.ReadTx) (err error) {
		words, err = identity.PasswordWords(c, tx, userID)
		return err
	})
	if err != nil {
		return h, err
	}
	return c.o.Identity.HashPassword(c, c.o.Realm, redact.New(*password), words...)
}

func (c *call) changeUser() (*result, error) {
	who, err := c.may("user:write")
	if err != nil {
		return nil, err
	}
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	var b userBody
	if err := c.decode("user", &b); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := c.reading(func(tx db.ReadTx) error { _, err := c.manage(tx, userID); return err }); err != nil {
		return nil, err
	}
	h, err := c.hash(userID, b.Password)
	if err != nil {
		return nil, err
	}
	return c.store(who, userID, b, h)
}

// store changes a user in one transaction.
func (c *call) store(who access.Caller, userID string, b userBody, h identity.Hashed, checks ...func(tx db.ReadTx) error) (*result, error) {
	var v userView
	err := c.within(func(tx db.WriteTx) error {
		if _, err := c.manage(tx, userID); err != nil {
			return err
		}
		for _, check := range checks {
			if err := check(tx); err != nil {
				return err
			}
		}
		if b.Email != nil {
			if err := c.o.Identity.ChangeEmail(c, tx, who, userID, *b.Email); err != nil {
				return taken(err)
			}
		}
		if err := c.putSettings(tx, userID, &b); err != nil {
			return err
		}
		if b.Password != nil {
			if err := c.o.Identity.SetPasswordHashed(c, tx, who, userID, h); err != nil {
				return err
			}
		}
		var err error
		v, err = c.loadUser(tx, userID)
		return err
	})
	return &result{data: v}, err
}

// changePassword changes a password for who knows the one before: the person, or an administrator who was told it. Wrong
// ones are counted like those of a login.
func (c *call) changePassword() (*result, error) {
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	if !c.holds("user:write") {
		if err := c.own("user:update"); err != nil {
			return nil, err
		}
		if c.who.ID != userID {
			return nil, notFound()
		}
	}
	who := c.delegate()
	var b userBody
	if err := c.decode("user", &b); err != nil {
		return nil, err
	}
	if b.Current == nil || *b.Current == "" {
		return nil, invalid(required("current_password"))
	}
	var p identity.Person
	if err := c.reading(func(tx db.ReadTx) (err error) { p, err = c.manage(tx, userID); return err }); err != nil {
		return nil, err
	}
	u, err := c.o.Identity.VerifyPersonPassword(c, p.Realm, p.Username, redact.New(*b.Current), identity.Origin{IP: c.who.IP, RequestID: c.who.RequestID})
	if fault.Is(err, fault.Unauthenticated) || err == nil && u.ID != userID {
		return nil, invalid(entry("current_password", "password", "password does not match password in field current_password"))
	}
	if err != nil {
		return nil, err
	}
	if b.Password == nil || *b.Password == "" || *b.Password == *b.Current {
		return nil, invalid(entry("password", "required", "is not changed"))
	}
	if !c.holds("user:write") {
		b.Email, b.PrivSettings = nil, nil // those are not the person's to say
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	h, err := c.hash(userID, b.Password)
	if err != nil {
		return nil, err
	}
	return c.store(who, userID, b, h, func(tx db.ReadTx) error {
		proved, err := identity.StillProved(c, tx, u)
		if err == nil && !proved {
			err = invalid(entry("current_password", "password", "password does not match password in field current_password"))
		}
		return err
	})
}

// deleteUser removes a user with all that belongs to it: clients, roles, approvals, and every token.
func (c *call) deleteUser() (*result, error) {
	who, err := c.may("user:delete")
	if err != nil {
		return nil, err
	}
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	err = c.within(func(tx db.WriteTx) error {
		if _, err := c.manage(tx, userID); err != nil {
			return err
		}
		if err := c.manageOwned(tx, userID); err != nil { // the clients go as well, even with who removes himself
			return err
		}
		if _, err := tx.Exec(c, `UPDATE mithril_tokens SET revoked = $2 WHERE revoked = 0 AND client_id IN (SELECT client_id FROM typed_clients WHERE owner = $1)`,
			userID, db.Micros(tx.Now())); err != nil {
			return fmt.Errorf("mark tokens as revoked: %w", err)
		}
		if err := c.o.Registry.DeleteClientsOf(c, tx, who, userID); err != nil {
			return err
		}
		for _, query := range []string{`DELETE FROM user_roles WHERE user_id = $1`, `DELETE FROM mithril_users WHERE user_id = $1`} {
			if _, err := tx.Exec(c, query, userID); err != nil { // any number is right
				return fmt.Errorf("remove what a user had: %w", err)
			}
		}
		if err := c.markRevoked(tx, userID, ""); err != nil {
			return err
		}
		return c.o.Identity.RemovePerson(c, tx, who, userID) // ends its approvals, grants and tokens
	})
	return &result{status: http.StatusNoContent}, err
}

// block refuses a user and ends its tokens; unblock accepts it again.
func (c *call) block() (*result, error)   { return c.setBlocked(true) }
func (c *call) unblock() (*result, error) { return c.setBlocked(false) }

func (c *call) setBlocked(block bool) (*result, error) {
	who, err := c.may("user:write")
	if err != nil {
		return nil, err
	}
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	var b userBody
	if len(c.body) > 0 {
		if err := c.decode("user", &b); err != nil {
			return nil, err
		}
	}
	if len(b.BlockReason) > 1000 {
		return nil, invalid(entry("block_reason", "length", "is too long"))
	}
	var v userView
	err = c.within(func(tx db.WriteTx) error {
		p, err := c.manage(tx, userID)
		if err != nil {
			return err
		}
		// Whom a directory disabled, it may enable again: an administrator's block comes on top, and stays.
		gone, err := identity.GoneBySource(c, tx, userID)
		if err != nil {
			return err
		}
		if p.Disabled.IsZero() != block && !(block && gone) {
			return &failure{status: http.StatusConflict, kind: "request_conflict", message: "The user is so already."}
		}
		if block {
			err = c.o.Identity.DisablePerson(c, tx, who, userID)
		} else if err = c.o.Identity.EnablePerson(c, tx, who, userID); err == nil {
			err = c.o.Identity.ForgetAttempts(c, tx, userID)
		}
		if err != nil {
			return err
		}
		if err := db.One(tx.Exec(c, `INSERT INTO mithril_users (user_id, settings, priv_settings, block_reason) VALUES ($1, '{}', '{}', $2)
			ON CONFLICT (user_id) DO UPDATE SET block_reason = excluded.block_reason`, userID, b.BlockReason)); err != nil {
			return fmt.Errorf("store why a user is blocked: %w", err)
		}
		v, err = c.loadUser(tx, userID)
		return err
	})
	return &result{data: v}, err
}
