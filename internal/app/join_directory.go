package app

import (
	"fmt"

	"github.com/mintmark/mintmark/internal/identity/directory"
)

// makeDirectories has the directories of the configuration look at their realms' passwords.
func (a *App) makeDirectories() error {
	realms, err := a.config.directories()
	if err != nil {
		return err
	}
	if a.directory, err = directory.New(a.db, a.identity, directory.Options{Realms: realms, Clock: a.clock, Logger: a.log, Metrics: a.metrics}); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}
