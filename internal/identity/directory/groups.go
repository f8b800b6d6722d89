package directory

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// GroupSearch says how the groups of a person are found that are not named in its entry. The zero value searches none.
type GroupSearch struct {
	Base   string // below which groups are; "": no search
	Filter string // which groups somebody is in: {dn} stands for the entry's DN, {username} for its username, escaped
	Name   string // attribute with the group's name
}

func (g *GroupSearch) defaults() {
	if g.Base == "" {
		return
	}
	if g.Filter == "" {
		g.Filter = "(|(member={dn})(uniqueMember={dn})(memberUid={username}))"
	}
	if g.Name == "" {
		g.Name = "cn"
	}
}

func (g *GroupSearch) check() error {
	if g.Base == "" {
		if g.Filter != "" || g.Name != "" {
			return errors.New("groups: filter and name go with base")
		}
		return nil
	}
	if _, err := ldap.ParseDN(g.Base); err != nil {
		return fmt.Errorf("groups.base: %w", err)
	}
	filter := g.filter(found{dn: "cn=x"})
	if filter == g.Filter {
		return errors.New("groups.filter: it must say where the person stands, as {dn} or {username}")
	}
	if _, err := ldap.CompileFilter(filter); err != nil {
		return fmt.Errorf("groups.filter: %w", err)
	}
	return nil
}

// filter finds the groups of a person. Both values are escaped (RFC 4515, section 3).
func (g *GroupSearch) filter(f found) string {
	return strings.NewReplacer("{dn}", ldap.EscapeFilter(f.dn), "{username}", ldap.EscapeFilter(f.Username)).Replace(g.Filter)
}
