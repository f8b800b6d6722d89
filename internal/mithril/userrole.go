package mithril

import (
	"fmt"
	"net/http"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/registry"
)

type userRoleView struct {
	ID       string `json:"id"`
	UserID   string `json:"user_id"`
	RoleID   string `json:"role_id"`
	ClientID string `json:"client_id"`
}

func viewUserRole(u registry.UserRole) userRoleView {
	return userRoleView{id.UUID(u.ID), id.UUID(u.UserID), id.UUID(u.RoleID), id.UUID(u.ClientID)}
}

// userRoleList is the roles of the user that the path names, as far as the query selects them.
func (c *call) userRoleList(tx db.ReadTx) (*listing, error) {
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	if _, err := c.loadUser(tx, userID); err != nil {
		return nil, err
	}
	l := &listing{c: c, columns: `x.id, x.user_id, x.role_id, x.client_id`, from: `user_roles x`, key: `x.id`, prefix: id.UserRole}
	l.and(`x.user_id = ?`, userID)
	if err := l.byID(`x.role_id`, "role_id", id.Role); err != nil {
		return nil, err
	}
	if err := l.byID(`x.client_id`, "client_id", id.Client); err != nil {
		return nil, err
	}
	if name := c.r.URL.Query().Get("role_name"); name != "" {
		l.and(`x.role_id IN (SELECT id FROM roles WHERE name = ?)`, name)
	}
	return l, nil
}

func scanUserRole(row db.Row) (u registry.UserRole, name string, err error) {
	err = row.Scan(&u.ID, &u.UserID, &u.RoleID, &u.ClientID)
	return u, u.ID, err
}

func (c *call) userRoles() (*result, error) {
	if _, err := c.may("role:read"); err != nil {
		return nil, err
	}
	var out *result
	err := c.reading(func(tx db.ReadTx) error {
		l, err := c.userRoleList(tx)
		if err != nil {
			return err
		}
		out, err = read(tx, l, func(row db.Row) (userRoleView, string, error) {
			u, name, err := scanUserRole(row)
			return viewUserRole(u), name, err
		})
		return err
	})
	return out, err
}

type userRoleBody struct {
	UserID   string `json:"user_id"`
	RoleID   string `json:"role_id"`
	ClientID string `json:"client_id"`
}

// giveRole gives the user of the path a role. A user_id in the body that is another's is not honoured.
func (c *call) giveRole() (*result, error) {
	who, err := c.may("role:write")
	if err != nil {
		return nil, err
	}
	userID, err := c.one("id", id.User)
	if err != nil {
		return nil, err
	}
	var b userRoleBody
	if err := c.decode("user_role", &b); err != nil {
		return nil, err
	}
	if named, ok := inner(id.User, b.UserID); b.UserID != "" && (!ok || named != userID) {
		return nil, notFound()
	}
	u := registry.UserRole{UserID: userID}
	var bad []wrong
	for _, f := range []struct {
		field, value, prefix string
		to                   *string
	}{{"role_id", b.RoleID, id.Role, &u.RoleID}, {"client_id", b.ClientID, id.Client, &u.ClientID}} {
		found, ok := inner(f.prefix, f.value)
		switch {
		case f.value == "":
			bad = append(bad, required(f.field))
		case !ok:
			bad = append(bad, entry(f.field, "cast", "is invalid", "uuid"))
		}
		*f.to = found
	}
	if bad != nil {
		return nil, invalid(bad...)
	}
	err = c.within(func(tx db.WriteTx) error {
		if _, err := c.loadUser(tx, userID); err != nil {
			return err
		}
		role, err := c.o.Registry.Roles().Load(c, tx, u.RoleID)
		if fault.Is(err, fault.NotFound) {
			return invalid(entry("role_id", "assoc", "does not exist"))
		}
		if err != nil {
			return err
		}
		if err := c.mayGiveRole(role.Scopes); err != nil {
			return err
		}
		given, err := c.o.Registry.GiveRole(c, tx, who, u)
		switch {
		case fault.Is(err, fault.NotFound):
			return invalid(entry("client_id", "assoc", "does not exist"))
		case fault.Code(err) == "user_role_exists":
			return invalid(entry("role_id", "unique", "has already been taken"))
		case err != nil:
			return err
		}
		u = given
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &result{status: http.StatusCreated, data: viewUserRole(u), location: c.at("users", userID) + "/roles/" + id.UUID(u.ID)}, nil
}

// theRole finds the role that the path names, if it is the user's who stands there too.
func (c *call) theRole(tx db.ReadTx) (registry.UserRole, error) {
	userID, err := c.one("id", id.User)
	if err != nil {
		return registry.UserRole{}, err
	}
	roleID, err := c.one("role", id.UserRole)
	if err != nil {
		return registry.UserRole{}, err
	}
	u, err := registry.LoadUserRole(c, tx, roleID)
	if err == nil && u.UserID != userID {
		err = notFound()
	}
	return u, err
}

func (c *call) userRole() (*result, error) {
	if _, err := c.may("role:read"); err != nil {
		return nil, err
	}
	var u registry.UserRole
	err := c.reading(func(tx db.ReadTx) (err error) {
		u, err = c.theRole(tx)
		return err
	})
	return &result{data: viewUserRole(u)}, err
}

func (c *call) takeRole() (*result, error) {
	who, err := c.may("role:delete")
	if err != nil {
		return nil, err
	}
	err = c.within(func(tx db.WriteTx) error {
		u, err := c.theRole(tx)
		if err != nil {
			return err
		}
		return c.take(tx, who, u)
	})
	return &result{status: http.StatusNoContent}, err
}

// take takes a role from a user. One that is above the caller's own is not the caller's to take.
func (c *call) take(tx db.WriteTx, who access.Caller, u registry.UserRole) error {
	role, err := c.o.Registry.Roles().Load(c, tx, u.RoleID)
	if err != nil {
		return err
	}
	if err := c.mayGiveRole(role.Scopes); err != nil {
		return err
	}
	return c.o.Registry.TakeRole(c, tx, who, u)
}

// takeRoles takes all roles of a user that the query selects; without a filter, all.
func (c *call) takeRoles() (*result, error) {
	who, err := c.may("role:delete")
	if err != nil {
		return nil, err
	}
	err = c.within(func(tx db.WriteTx) error {
		l, err := c.userRoleList(tx)
		if err != nil {
			return err
		}
		list, err := c.allRoles(tx, l)
		if err != nil {
			return err
		}
		for _, u := range list {
			if err := c.take(tx, who, u); err != nil {
				return err
			}
		}
		return nil
	})
	return &result{status: http.StatusNoContent}, err
}

func (c *call) allRoles(tx db.ReadTx, l *listing) ([]registry.UserRole, error) {
	rows, err := tx.Query(c, l.query(), l.args...)
	if err != nil {
		return nil, fmt.Errorf("list roles of a user: %w", err)
	}
	defer rows.Close()
	var list []registry.UserRole
	for rows.Next() {
		u, _, err := scanUserRole(rows)
		if err != nil {
			return nil, fmt.Errorf("list roles of a user: %w", err)
		}
		list = append(list, u)
	}
	return list, rows.Err()
}
