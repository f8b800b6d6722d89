package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// load brings into memory what must be known before the first request.
func (a *App) load(ctx context.Context) error {
	if err := a.keys.Refresh(ctx); err != nil {
		return fmt.Errorf("load the signing keys: %w", err)
	}
	if err := a.oauth.Load(ctx); err != nil {
		return fmt.Errorf("load the revoked tokens: %w", err)
	}
	if err := a.directory.Plan(ctx); err != nil {
		return fmt.Errorf("plan the comparisons with directories: %w", err)
	}
	_, strict := a.config.realmNames()
	if err := a.oauth.PasswordsNoLongerSuffice(ctx, strict); err != nil {
		return err
	}
	if err := a.rotation.Start(ctx); err != nil {
		return fmt.Errorf("start rotation: %w", err)
	}
	return nil
}

// startRecorders starts what keeps memory and database the same: it must outlive the requests whose traces it writes.
func (a *App) startRecorders(ctx context.Context, g *group) *sync.WaitGroup {
	wg := new(sync.WaitGroup)
	for name, run := range map[string]func(context.Context) error{
		"signing keys":                a.keys.Run,
		"uses of service users":       a.identity.Run,
		"sessions":                    a.sessions.Run,
		"uses of clients":             a.registry.Run,
		"observation of uses":         a.watchUses,
		"token journal":               a.oauth.Run,
		"denials":                     a.denials.Run,
		"sequencer":                   a.sequencer.Run,
		"removal of what has expired": a.clean,
	} {
		g.start(ctx, wg, name, run)
	}
	if a.s3 != nil {
		g.start(ctx, wg, "object store", a.s3.Run)
	}
	return wg
}

// watchUses tells the other nodes until when all uses that this one saw are written.
func (a *App) watchUses(ctx context.Context) error {
	return a.rotation.Watch(ctx, func(ctx context.Context) error {
		return errors.Join(a.identity.Flush(ctx), a.registry.Flush(ctx))
	})
}

// startWorkers starts what changes credentials on its own account.
func (a *App) startWorkers(ctx context.Context, g *group) *sync.WaitGroup {
	wg := new(sync.WaitGroup)
	g.start(ctx, wg, "jobs", a.jobs.Run)
	return wg
}

// staleAfter is when a node that hears no changes stops being ready. Its caches promise one second.
const staleAfter = 5 * time.Second

func (a *App) readyChecks() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"database": a.db.Ping,
		"change feed": func(context.Context) error {
			if lag := a.db.FeedLag(); lag > staleAfter {
				return fmt.Errorf("no change was heard for %s", lag.Round(time.Second))
			}
			return nil
		},
		"tokens": a.oauth.Ready,
	}
}
