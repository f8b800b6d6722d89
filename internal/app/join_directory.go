package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/identity/directory"
)

// makeDirectories has the directories of the configuration look at their realms' passwords.
func (a *App) makeDirectories() error {
	realms, err := a.config.directories()
	if err != nil {
		return err
	}
	if a.directory, err = directory.New(a.db, a.identity, directory.Options{Realms: realms, Sourced: a.sourced, Clock: a.clock, Logger: a.log, Metrics: a.metrics}); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// lookAtDirectories asks each directory of the configuration whether it answers, for Doctor.
func (a *App) lookAtDirectories(ctx context.Context, add func(check string, err error, text, advice string) bool) {
	realms, err := a.config.directories()
	if err == nil && len(realms) == 0 {
		return
	}
	var s *directory.Service
	if err == nil {
		s, err = directory.New(a.db, a.identity, directory.Options{Realms: realms, Sourced: a.sourced, Clock: a.clock})
	}
	if err != nil {
		add("directories", err, "", "Mend the settings of the realm's directory.")
		return
	}
	defer s.Close()
	for _, r := range realms {
		err := s.Test(ctx, r.Realm)
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // the rest is for people who sign in
		}
		add("directory of "+r.Realm, err, "it answers, and the searcher may search", "docs/operations.md, section on people of a directory, tells what is needed.")
	}
}
