package mithril

import (
	"net/http"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/registry"
)

// sets are the endpoints of client types, or of roles: two collections of the same form.
type sets struct {
	noun, collection, prefix, table string
	of                              func(r *registry.Registry) registry.ScopeSets
}

var (
	clientTypes = sets{"client_type", "client_types", id.ClientType, "client_types", (*registry.Registry).ClientTypes}
	roles       = sets{"role", "roles", id.Role, "roles", (*registry.Registry).Roles}
)

// mayGive refuses scopes that the caller does not hold in the sense that they have in a set of this kind.
func (k sets) mayGive(c *call, scopes []string) error {
	if k.prefix == id.Role {
		return c.mayGiveRole(scopes)
	}
	return c.mayGive(scopes)
}

type setView struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Scope string `json:"scope"`
}

func scanSet(row db.Row) (v setView, name string, err error) {
	err = row.Scan(&name, &v.Name, &v.Scope)
	v.ID = id.UUID(name)
	return v, name, err
}

func viewSet(s registry.ScopeSet) setView {
	return setView{id.UUID(s.ID), s.Name, strings.Join(s.Scopes, " ")}
}

// setBody is what a caller says about one. nil keeps what is stored.
type setBody struct {
	Name  *string `json:"name"`
	Scope *string `json:"scope"`
}

// complete answers the set that the body makes of one that is stored, or of none.
func (b setBody) complete(s registry.ScopeSet) (registry.ScopeSet, error) {
	if b.Name != nil {
		s.Name = strings.TrimSpace(*b.Name)
	}
	var wrong []wrong
	if s.Name == "" {
		wrong = append(wrong, required("name"))
	}
	if b.Scope == nil && s.Scopes == nil || b.Scope != nil && strings.TrimSpace(*b.Scope) == "" {
		wrong = append(wrong, required("scope"))
	}
	if wrong != nil {
		return s, invalid(wrong...)
	}
	if b.Scope == nil {
		return s, nil
	}
	scopes, err := registry.ParseScopes("body.scope", *b.Scope)
	if fault.Code(err) == "too_long" {
		return s, invalid(entry("scope", "length", "should be at most 2048 characters", "2048"))
	}
	s.Scopes = scopes
	return s, err
}

func (k sets) list(c *call) (*result, error) {
	if _, err := c.may(k.noun + ":read"); err != nil {
		return nil, err
	}
	l := &listing{c: c, columns: `x.id, x.name, x.scopes`, from: k.table + ` x`, key: `x.id`, prefix: k.prefix}
	q := c.r.URL.Query()
	if name := q.Get("name"); name != "" {
		l.contains(`x.search`, name)
	}
	if scopes := q.Get("scope"); scopes != "" {
		var shares []string
		var values []any
		for s := range strings.SplitSeq(scopes, ",") {
			if len(shares) == maxLimit {
				return nil, invalid(entry("scope", "length", "has too many values"))
			}
			shares = append(shares, `replace(' ' || x.scopes || ' ', ?, '') <> ' ' || x.scopes || ' '`)
			values = append(values, " "+strings.TrimSpace(s)+" ")
		}
		l.and(`(`+strings.Join(shares, " OR ")+`)`, values...)
	}
	return readPage(c, l, scanSet)
}

// contains wants the column, which is in lower case, to hold the text. replace means the same on both engines and knows no
// wildcards.
func (l *listing) contains(column, text string) {
	l.and(`replace(`+column+`, ?, '') <> `+column, strings.ToLower(text))
}

// readPage is read in a transaction of its own.
func readPage[T any](c *call, l *listing, scan func(row db.Row) (T, string, error)) (out *result, err error) {
	err = c.reading(func(tx db.ReadTx) error {
		fresh := *l // the function may run again
		out, err = read(tx, &fresh, scan)
		return err
	})
	return out, err
}

func (k sets) create(c *call) (*result, error) {
	who, err := c.may(k.noun + ":write")
	if err != nil {
		return nil, err
	}
	var b setBody
	if err := c.decode(k.noun, &b); err != nil {
		return nil, err
	}
	s, err := b.complete(registry.ScopeSet{})
	if err != nil {
		return nil, err
	}
	if err := k.mayGive(c, s.Scopes); err != nil {
		return nil, err
	}
	err = c.within(func(tx db.WriteTx) error {
		made, err := c.once(tx, func() (string, error) {
			stored, err := k.of(c.o.Registry).Create(c, tx, who, s)
			return stored.ID, err
		})
		if err != nil {
			return err
		}
		s, err = k.of(c.o.Registry).Load(c, tx, made)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &result{status: http.StatusCreated, data: viewSet(s), location: c.at(k.collection, s.ID)}, nil
}

func (k sets) get(c *call) (*result, error) {
	if _, err := c.may(k.noun + ":read"); err != nil {
		return nil, err
	}
	setID, err := c.one("id", k.prefix)
	if err != nil {
		return nil, err
	}
	var s registry.ScopeSet
	err = c.reading(func(tx db.ReadTx) (err error) {
		s, err = k.of(c.o.Registry).Load(c, tx, setID)
		return err
	})
	return &result{data: viewSet(s)}, err
}

// change stores another name or other scopes. What a scope that goes had allowed ends with the commit.
func (k sets) change(c *call) (*result, error) {
	who, err := c.may(k.noun + ":write")
	if err != nil {
		return nil, err
	}
	setID, err := c.one("id", k.prefix)
	if err != nil {
		return nil, err
	}
	var b setBody
	if err := c.decode(k.noun, &b); err != nil {
		return nil, err
	}
	var s registry.ScopeSet
	err = c.within(func(tx db.WriteTx) error {
		before, err := k.of(c.o.Registry).Load(c, tx, setID)
		if err != nil {
			return err
		}
		if s, err = b.complete(before); err != nil {
			return err
		}
		if err := k.mayGive(c, slices.Concat(before.Scopes, s.Scopes)); err != nil {
			return err
		}
		s, err = k.of(c.o.Registry).Change(c, tx, who, s)
		return err
	})
	return &result{data: viewSet(s)}, err
}

func (k sets) remove(c *call) (*result, error) {
	who, err := c.may(k.noun + ":delete")
	if err != nil {
		return nil, err
	}
	setID, err := c.one("id", k.prefix)
	if err != nil {
		return nil, err
	}
	err = c.within(func(tx db.WriteTx) error {
		s, err := k.of(c.o.Registry).Load(c, tx, setID)
		if err != nil {
			return err
		}
		if err := k.mayGive(c, s.Scopes); err != nil {
			return err
		}
		return k.of(c.o.Registry).Delete(c, tx, who, setID)
	})
	return &result{status: http.StatusNoContent}, err
}
