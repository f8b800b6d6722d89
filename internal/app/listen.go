package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
)

// server is one listener with its limits. Slow or silent peers are cut off; a body's size is the handler's business.
type server struct {
	name string
	http *http.Server
	ln   net.Listener
}

// listen opens the address at once, so that a port in use is an error of the start and not of a goroutine later.
func listen(ctx context.Context, name, addr string, h http.Handler, certs *certificates, log *slog.Logger) (*server, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", name, err)
	}
	if certs != nil {
		ln = tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get, NextProtos: []string{"h2", "http/1.1"}})
	}
	return &server{name: name, ln: ln, http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		// Else net/http answers OPTIONS * by itself, past every limit of ours.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.With("listener", name).Handler(), slog.LevelDebug),
	}}, nil
}

// serve runs until the listener is closed.
func (s *server) serve() error {
	if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.name, err)
	}
	return nil
}

// stop finishes what is in flight, and cuts it off when ctx ends.
func (s *server) stop(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}

// certificates serves the pair on disk and reads it again when it changed; a pair that cannot be read leaves the last
// good one in place.
type certificates struct {
	certFile, keyFile string
	clock             clock.Clock
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate // owned by mu, like the rest
	stamp   time.Time        // modification time of the pair that current was read from
	looked  time.Time
}

func loadCertificates(t TLS, c clock.Clock, log *slog.Logger) (*certificates, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	cs := &certificates{certFile: t.CertFile, keyFile: t.KeyFile, clock: c, log: log}
	if err := cs.load(); err != nil {
		return nil, fmt.Errorf("%w: tls: %w", ErrConfig, err)
	}
	return cs, nil
}

func (cs *certificates) load() error {
	pair, err := tls.LoadX509KeyPair(cs.certFile, cs.keyFile)
	if err != nil {
		return err
	}
	cs.current, cs.stamp = &pair, cs.modified()
	return nil
}

func (cs *certificates) modified() (t time.Time) {
	for _, f := range []string{cs.certFile, cs.keyFile} {
		if info, err := os.Stat(f); err == nil && info.ModTime().After(t) {
			t = info.ModTime()
		}
	}
	return t
}

func (cs *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if now := cs.clock.Now(); now.Sub(cs.looked) > time.Second {
		cs.looked = now
		if !cs.modified().Equal(cs.stamp) {
			if err := cs.load(); err != nil {
				cs.log.Error("the new TLS certificate cannot be used; the old one stays", "error", err)
			}
		}
	}
	return cs.current, nil
}
