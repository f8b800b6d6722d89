package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mintmark/mintmark/internal/clock"
)

// metrics are what monitoring sees. They are also what /healthz answers from.
type metrics struct {
	registry   *prometheus.Registry
	cycles     *prometheus.CounterVec
	failures   *prometheus.CounterVec
	hooks      *prometheus.CounterVec
	generation prometheus.Gauge
	success    prometheus.Gauge
	change     prometheus.Gauge

	mu     sync.Mutex
	health health // owned by mu
}

// health is the document of /healthz.
type health struct {
	OK          bool   `json:"ok"`
	Generation  int64  `json:"generation"`
	LastSuccess string `json:"last_success,omitempty"`
	LastError   string `json:"last_error,omitempty"`
}

func newMetrics(r *prometheus.Registry) *metrics {
	m := &metrics{
		registry: r,
		cycles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_agent_cycles_total", Help: "Cycles, by result."}, []string{"result"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_agent_object_failures_total", Help: "Objects that could not be used, by reason."}, []string{"object", "reason"}),
		hooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_agent_hooks_total", Help: "Changes told to the application, by result."}, []string{"result"}),
		generation: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mintmark_agent_generation", Help: "Number of the generation in place; 0: none."}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mintmark_agent_last_success_timestamp_seconds", Help: "When both objects were last seen to be in place."}),
		change: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mintmark_agent_last_change_timestamp_seconds", Help: "When a new generation was last put in place by this run."}),
	}
	r.MustRegister(m.cycles, m.failures, m.hooks, m.generation, m.success, m.change)
	for _, result := range []string{"ok", "failed"} {
		m.cycles.WithLabelValues(result)
		m.hooks.WithLabelValues(result)
	}
	return m
}

// inPlace is what was found on the disk at the start.
func (m *metrics) inPlace(generation int64, complete bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation.Set(float64(generation))
	m.health = health{OK: complete, Generation: generation}
}

func (m *metrics) changed(generation int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation.Set(float64(generation))
	m.change.Set(seconds(clock.System.Now()))
	m.health.OK, m.health.Generation = true, generation
}

func (m *metrics) cycled(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.cycles.WithLabelValues("failed").Inc()
		m.health.LastError = err.Error()
		return
	}
	now := clock.System.Now()
	m.cycles.WithLabelValues("ok").Inc()
	m.success.Set(seconds(now))
	m.health.LastError, m.health.LastSuccess = "", now.Format(time.RFC3339)
}

func (m *metrics) failed(object string, err error) {
	reason := "other"
	for text, sentinel := range map[string]error{"forbidden": ErrForbidden, "not_found": ErrNotFound, "shape": ErrShape, "timeout": context.DeadlineExceeded} {
		if errors.Is(err, sentinel) {
			reason = text
		}
	}
	m.failures.WithLabelValues(object, reason).Inc()
}

func (m *metrics) told(err error) {
	if err != nil {
		m.hooks.WithLabelValues("failed").Inc()
		return
	}
	m.hooks.WithLabelValues("ok").Inc()
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// serve opens the listener for /healthz and /metrics, if one is configured.
func (a *Agent) serve() (stop func(), err error) {
	if a.c.Listen == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", a.c.Listen)
	if err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", a.metrics.serveHealth)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("health and metrics are not served any more", "err", err)
		}
	}()
	return func() { _ = server.Close(); <-done }, nil
}

// serveHealth answers 200 while whole and valid credentials are in place: they may be old, which last_success tells, but
// to restart the application would not make them younger.
func (m *metrics) serveHealth(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	h := m.health
	m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !h.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(h) // the client went away
}
