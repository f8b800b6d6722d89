// Package directory lets people of a realm sign in by the password that a directory of their organisation keeps: LDAP
// (RFC 4511), as OpenLDAP and Active Directory speak it.
//
// What it guards:
//   - A password goes to the directory over TLS alone, and only for the one entry that the name led to. The name is a
//     value in the filter and nothing else (RFC 4515). An empty password, or an entry without a name, is refused here:
//     directories answer such a bind with success, and it proves nothing.
//   - Whom an entry is goes by what names the entry for ever (entryUUID, objectGUID), never by its DN, name or address.
//   - What cannot be found out refuses nobody for a wrong password, is not counted, and lets nobody in: there is no
//     second way to a password that the directory keeps.
//   - Guesses are counted by package identity before they come here, and once more for the entry that a name leads to:
//     whoever is made to wait there is not asked for here.
//   - People who are gone from the directory are disabled by a comparison of all (sync.go), which does nothing to anybody
//     when the directory fails, shows nothing, or would disable more than the operator allows.
//   - Groups and attributes that the directory says count by package sourced, as far as the operator's rules name them.
//   - What a server says is bounded in size and time, and nothing in it is followed: no referral, no alias.
//
// Stored form: person_entries and directory_syncs, see their migration.
package directory

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/sourced"
)

// Options configure a Service.
type Options struct {
	Realms  []Config
	Sourced *sourced.Service      // nil: directories give neither groups nor attributes
	Clock   clock.Clock           // nil: clock.System
	Logger  *slog.Logger          // nil: no log
	Metrics prometheus.Registerer // nil: none
}

// Service is the directories of an installation.
type Service struct {
	d       *db.DB
	dir     *identity.Directory
	o       Options
	realms  map[string]*source
	order   []string
	metrics *metrics
}

// source is the directory of one realm.
type source struct {
	s    *Service
	c    Config
	pool *pool
}

// New makes a Service and has the realms' passwords be looked at by it. Have Handle do the jobs of kind JobKind.
func New(d *db.DB, dir *identity.Directory, o Options) (*Service, error) {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{d: d, dir: dir, o: o, realms: map[string]*source{}}
	for _, c := range o.Realms {
		c.defaults()
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("directory of realm %s: %w", c.Realm, err)
		}
		if !c.Rules.Empty() && o.Sourced == nil {
			return nil, fmt.Errorf("directory of realm %s: there is nobody to keep groups and attributes", c.Realm)
		}
		src := &source{s: s, c: c}
		var err error
		if src.pool, err = newPool(&src.c, o.Clock); err != nil {
			return nil, fmt.Errorf("directory of realm %s: %w", c.Realm, err)
		}
		s.realms[c.Realm] = src
		s.order = append(s.order, c.Realm)
		dir.SetSource(c.Realm, src)
	}
	s.metrics = newMetrics(o.Metrics, s)
	return s, nil
}

func (c *Config) defaults() {
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.AtOnce = cmp.Or(c.AtOnce, 8)
	c.Sync.Page = cmp.Or(c.Sync.Page, 500)
	c.Sync.Entries = cmp.Or(c.Sync.Entries, 200_000)
	c.Sync.AtMost = cmp.Or(c.Sync.AtMost, 50)
	c.Sync.AtMostOf = cmp.Or(c.Sync.AtMostOf, 10)
}

// Close ends the connections that nobody uses.
func (s *Service) Close() {
	for _, src := range s.realms {
		src.pool.close(nil)
	}
}

// Policy is how the realm and its directory go together.
func (src *source) Policy() identity.SourcePolicy {
	p := identity.SourcePolicy{Only: src.c.Only, Adopt: src.c.Adopt, PasswordPage: src.c.PasswordPage}
	for field, attribute := range map[string]string{"display_name": src.c.DisplayName, "email": src.c.Email, "phone": src.c.Phone} {
		if attribute != "" {
			p.Keeps = append(p.Keeps, field)
		}
	}
	return p
}
