package directory

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// Found is what a directory says of one person.
type Found struct {
	DN, Key, Username, DisplayName, Email, Phone string
}

// Look finds the entry that a name means, as a login would, and shows no password. It is for administrators, who have been
// asked for by the caller.
func (s *Service) Look(ctx context.Context, realmName, name string) (Found, error) {
	src := s.realms[realmName]
	if src == nil {
		return Found{}, noDirectory(realmName)
	}
	var f found
	err := src.pool.with(ctx, func(ctx context.Context, c *conn) (err error) {
		f, err = src.pool.find(ctx, c, src.c.nameFilter(name))
		return err
	})
	return Found{f.dn, f.Key, f.Username, f.DisplayName, f.Email, f.Phone}, err
}

// Test connects to the directory, binds as who searches, and looks whether the base is there.
func (s *Service) Test(ctx context.Context, realmName string) error {
	src := s.realms[realmName]
	if src == nil {
		return noDirectory(realmName)
	}
	return src.pool.with(ctx, func(ctx context.Context, c *conn) error {
		if _, err := src.pool.find(ctx, c, src.c.nameFilter("nobody")); err != nil && !fault.Is(err, fault.Unauthenticated) {
			return err
		}
		if err := src.bindNobody(ctx, c); !fault.Is(err, fault.Unauthenticated) {
			return fmt.Errorf("try a password of nobody: %w", err)
		}
		return nil
	})
}

func noDirectory(realmName string) error {
	return fault.New(fault.NotFound, "no_directory", "The realm %s has no directory.", realmName)
}

// Status is the directory of one realm.
type Status struct {
	Realm         string
	Servers, Down int // of which failed this node at the last try
	Only          bool
	Every         time.Duration // 0: people are not compared by themselves
	Last          *Report       // nil: never yet
}

// List tells of all directories, in the order of the configuration.
func (s *Service) List(ctx context.Context, c access.Caller) (list []Status, err error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "realm"}); err != nil {
		return nil, err
	}
	err = s.d.Read(ctx, func(tx db.ReadTx) error {
		list = nil
		for _, realm := range s.order {
			src := s.realms[realm]
			st := Status{Realm: realm, Only: src.c.Only, Every: src.c.Sync.Every}
			st.Down, st.Servers = src.pool.down()
			r, ok, err := loadReport(ctx, tx, realm)
			if err != nil {
				return err
			}
			if ok {
				st.Last = &r
			}
			list = append(list, st)
		}
		return nil
	})
	return list, err
}
