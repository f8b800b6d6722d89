package app

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/registry"
)

// checkTokens refuses lifetimes of realms and grants that do not exist: they would count for nothing.
func (c *Config) checkTokens() error {
	if c.Tokens.Bounds.Min > c.Tokens.Bounds.Max {
		return errors.New("tokens.bounds: min is more than max")
	}
	set, err := c.realmSet()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for name, of := range c.Tokens.Realms {
		r, err := set.Lookup(name)
		if err != nil {
			return fmt.Errorf("tokens.realms: there is no realm %q", name)
		}
		if seen[r.Name] {
			return fmt.Errorf("tokens.realms: %s is there twice", r.Name)
		}
		seen[r.Name] = true
		if of.PersonPassword && r.Kind != realm.People {
			return fmt.Errorf("tokens.realms.%s.person_password: there are no people in this realm", name)
		}
		for grant := range of.AccessByGrant {
			if !slices.Contains(registry.Grants, grant) {
				return fmt.Errorf("tokens.realms.%s.access_by_grant: there is no grant %q", name, grant)
			}
		}
		if of.RefreshIdle > of.RefreshAbsolute && of.RefreshAbsolute > 0 {
			return fmt.Errorf("tokens.realms.%s: refresh_idle is more than refresh_absolute", name)
		}
	}
	return nil
}

// passwordRealms are the realms whose people may give their password to clients.
func (c *Config) passwordRealms() (names []string) {
	set, err := c.realmSet()
	if err != nil {
		return nil // check refused it
	}
	for name, of := range c.Tokens.Realms {
		if r, err := set.Lookup(name); err == nil && of.PersonPassword {
			names = append(names, r.Name)
		}
	}
	return names
}

// ownerBounds are the settings as the registry takes them.
func (c *Config) ownerBounds() registry.Bounds {
	b := c.Tokens.OwnerBounds
	return registry.Bounds{
		AccessToken: time.Duration(b.Access), IDToken: time.Duration(b.IDToken),
		RefreshIdle: time.Duration(b.RefreshIdle), RefreshAbsolute: time.Duration(b.RefreshAbsolute),
	}
}

// lifetimes are the settings as the registry and the authorization server take them.
func (c *Config) lifetimes() registry.Lifetimes {
	b := c.Tokens.Bounds
	l := registry.Lifetimes{Realms: map[string]registry.RealmLifetimes{}, Min: time.Duration(b.Min), Max: time.Duration(b.Max), MaxRefresh: time.Duration(b.MaxRefresh)}
	set, err := c.realmSet()
	if err != nil {
		return l // check refused it
	}
	for name, of := range c.Tokens.Realms {
		r, err := set.Lookup(name)
		if err != nil {
			continue // check refused it
		}
		to := registry.RealmLifetimes{
			Access: time.Duration(of.Access), Grants: map[string]time.Duration{}, IDToken: time.Duration(of.IDToken),
			RefreshIdle: time.Duration(of.RefreshIdle), RefreshAbsolute: time.Duration(of.RefreshAbsolute),
		}
		for grant, life := range of.AccessByGrant {
			to.Grants[grant] = time.Duration(life)
		}
		l.Realms[r.Name] = to
	}
	services := l.Realms[realm.Robots]
	services.Access = cmp.Or(services.Access, time.Duration(c.Tokens.ServiceLifetime))
	l.Realms[realm.Robots] = services
	return l
}

// realmSet is the realms of this installation.
func (c *Config) realmSet() (*realm.Set, error) {
	names, _ := c.realmNames()
	set, err := realm.NewSet(names...)
	if err != nil {
		return nil, fmt.Errorf("realms: %w", err)
	}
	return set, nil
}
