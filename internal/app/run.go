package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
)

// Start opens the installation, does what a first start needs, and opens the listeners. Run then serves.
func Start(ctx context.Context, c Config, build Build, log *slog.Logger) (_ *App, err error) {
	certs, err := loadCertificates(c.TLS, clock.System, log)
	if err != nil {
		return nil, err
	}
	a, err := Open(ctx, c, build, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, s := range a.servers {
				s.ln.Close()
			}
			err = errors.Join(err, a.Close())
		}
	}()
	if a.lock, err = a.takeLock(); err != nil {
		return nil, err
	}
	first, err := a.FirstStart(ctx)
	if err != nil {
		return nil, err
	}
	if first.AdminKeyFile != "" {
		log.Warn("first start: an administrator was made; copy the root key to a safe place", "access_key_file", first.AdminKeyFile, "root_key_file", c.RootKey.File)
	}
	if err := a.makeParts(ctx); err != nil {
		return nil, err
	}
	a.ready.set("starting")
	a.ready.checks = a.readyChecks()
	for _, l := range []struct {
		name, addr string
		handler    http.Handler
		certs      *certificates
	}{
		{"operations", c.Listen.Operations, operations(&a.ready, a.metrics), nil},
		{"s3", c.Listen.S3, a.s3, certs},
		{"public", c.Listen.Public, a.mux, certs},
	} {
		if l.name == "s3" && !c.S3On() {
			continue
		}
		s, err := listen(ctx, l.name, l.addr, l.handler, l.certs, log)
		if err != nil {
			return nil, err
		}
		a.servers = append(a.servers, s)
	}
	return a, nil
}

// Run serves until ctx ends, then ends in order: it stops being ready, finishes the requests in flight, lets jobs finish
// or hand back their work, and writes what it has only in memory. It returns nil after an orderly end.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.Close()) }()
	background := &group{failed: make(chan error, 1)}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	// The operations listener first, so that somebody can see why the rest is slow to come; it also ends last.
	for _, s := range a.servers {
		if s.name == "operations" {
			background.serve(s)
		}
	}
	stopFeed, err := a.db.StartFeed(ctx)
	if err != nil {
		return fmt.Errorf("follow the change feed: %w", err)
	}
	defer stopFeed()
	if err := a.load(ctx); err != nil {
		return err
	}
	// What must still run while requests are being finished lives longer than ctx.
	recording, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRecording()
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	recorders := a.startRecorders(recording, background)
	workers := a.startWorkers(working, background)
	for _, s := range a.servers {
		if s.name != "operations" {
			background.serve(s)
		}
	}
	a.ready.set("")
	a.log.Info("ready", "issuer", a.config.Issuer, "public", a.config.Listen.Public, "s3", a.config.Listen.S3, "operations", a.config.Listen.Operations, "node", a.node, "version", a.build.Version, "database", a.config.Engine())

	select {
	case <-ctx.Done():
	case err = <-background.failed:
		a.log.Error("a part of the program ended by itself; stopping", "error", err)
	}
	a.ready.set("stopping")
	a.log.Info("stopping: finishing what is in flight", "at_most", time.Duration(a.config.ShutdownGrace))
	grace, cancelGrace := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(a.config.ShutdownGrace))
	defer cancelGrace()
	stopWorking() // no new jobs; those that run have the grace of their runner
	for _, s := range a.servers {
		if s.name != "operations" {
			s.stop(grace)
		}
	}
	workers.Wait()
	stopRecording()
	recorders.Wait()
	for _, s := range a.servers {
		s.stop(grace)
	}
	if a.s3 != nil {
		err = errors.Join(err, a.s3.Close())
	}
	a.log.Info("stopped")
	return err
}

// group is the goroutines of Run. The first that ends with an error ends the program.
type group struct {
	failed chan error // holds the first error
}

func (g *group) fail(err error) {
	select {
	case g.failed <- err:
	default:
	}
}

func (g *group) serve(s *server) {
	go func() {
		if err := s.serve(); err != nil {
			g.fail(err)
		}
	}()
}

// start runs f and adds it to wg.
func (g *group) start(ctx context.Context, wg *sync.WaitGroup, name string, f func(context.Context) error) {
	wg.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			g.fail(fmt.Errorf("%s: %w", name, err))
		}
	})
}
