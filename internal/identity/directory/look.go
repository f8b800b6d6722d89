package directory

import (
	"context"
	"fmt"

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
