package jobs

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics tell whether work is done in time. Kinds are labels: they are few and of our own making; keys are not.
type metrics struct {
	lag     *prometheus.HistogramVec // due until started
	took    *prometheus.HistogramVec
	ends    *prometheus.CounterVec
	running *prometheus.GaugeVec
	panics  *prometheus.CounterVec
	lost    *prometheus.CounterVec
	oldest  prometheus.Gauge
}

var buckets = []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 1800}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	kind := []string{"kind"}
	return &metrics{
		lag: register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mintmark_jobs_due_lag_seconds", Help: "How long work that was due had to wait for a runner.", Buckets: buckets}, kind)),
		took: register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mintmark_jobs_duration_seconds", Help: "How long handlers took.", Buckets: buckets}, kind)),
		ends: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_jobs_ended_total", Help: "Handlers that ended: done, failed, timeout, lost or handed_back."}, []string{"kind", "result"})),
		running: register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mintmark_jobs_running", Help: "Handlers at work on this node."}, kind)),
		panics: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_jobs_panics_total", Help: "Handlers that panicked. Each is a bug."}, kind)),
		lost: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_jobs_lost_total", Help: "Claims that were lost before the end of the work could be recorded."}, kind)),
		oldest: register(r, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mintmark_jobs_oldest_due_seconds", Help: "How long the longest due work that nobody does has been waiting. It should stay near zero."})),
	}
}

// register registers c, or finds the one that another runner registered.
func register[C prometheus.Collector](r prometheus.Registerer, c C) C {
	var exists prometheus.AlreadyRegisteredError
	if err := r.Register(c); errors.As(err, &exists) {
		if other, ok := exists.ExistingCollector.(C); ok {
			return other
		}
	} else if err != nil {
		panic(err) // two different collectors of one name: a programming error
	}
	return c
}

// know makes the series of a kind exist before anything happens, so that an alert can tell zero from nothing.
func (m *metrics) know(kind string) {
	for _, result := range []string{"done", "failed", "timeout", "lost", "handed_back"} {
		m.ends.WithLabelValues(kind, result)
	}
	m.running.WithLabelValues(kind)
	m.panics.WithLabelValues(kind)
	m.lost.WithLabelValues(kind)
}

func (m *metrics) waiting(some bool, since time.Duration) {
	if !some {
		since = 0
	}
	m.oldest.Set(max(since, 0).Seconds())
}

func (m *metrics) started(kind string, lag time.Duration) {
	m.lag.WithLabelValues(kind).Observe(max(lag, 0).Seconds())
	m.running.WithLabelValues(kind).Inc()
}

func (m *metrics) ended(kind, result string, took time.Duration) {
	m.running.WithLabelValues(kind).Dec()
	m.ends.WithLabelValues(kind, result).Inc()
	m.took.WithLabelValues(kind).Observe(took.Seconds())
}
