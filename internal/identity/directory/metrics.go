package directory

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/fault"
)

// metrics count what directories were asked. Labels name realms, and nobody and nothing else.
type metrics struct {
	logins *prometheus.CounterVec
	synced *prometheus.CounterVec
	people *prometheus.CounterVec
	last   *prometheus.GaugeVec
	held   *prometheus.GaugeVec
	down   *prometheus.Desc
	s      *Service
}

func newMetrics(r prometheus.Registerer, s *Service) *metrics {
	m := &metrics{
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintmark_directory_logins_total", Help: "Passwords that a directory was asked about, by outcome."}, []string{"realm", "outcome"}),
		synced: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintmark_directory_syncs_total", Help: "Comparisons of a realm with its directory, by outcome."}, []string{"realm", "outcome"}),
		people: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintmark_directory_sync_people_total", Help: "People that comparisons changed, by what was done."}, []string{"realm", "what"}),
		last:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mintmark_directory_sync_last_done_timestamp_seconds", Help: "When this node last compared a realm with its directory to the end."}, []string{"realm"}),
		held:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mintmark_directory_sync_held", Help: "How many people the last comparison would have disabled, but did not, because they were too many."}, []string{"realm"}),
		down:   prometheus.NewDesc("mintmark_directory_servers_down", "Servers of a directory that failed this node at the last try.", []string{"realm"}, nil),
		s:      s,
	}
	if r != nil {
		r.MustRegister(m.logins, m.synced, m.people, m.last, m.held, m)
	}
	return m
}

// Describe is for Prometheus.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.down }

// Collect is for Prometheus.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for realm, src := range m.s.realms {
		down, _ := src.pool.down()
		ch <- prometheus.MustNewConstMetric(m.down, prometheus.GaugeValue, float64(down), realm)
	}
}

func (m *metrics) login(realm string, err error) {
	outcome := "error"
	switch {
	case err == nil:
		outcome = "ok"
	case fault.Is(err, fault.Unauthenticated):
		outcome = "refused"
	case fault.Is(err, fault.Limited):
		outcome = "limited"
	case fault.Is(err, fault.Unavailable):
		outcome = "unavailable"
	}
	m.logins.WithLabelValues(realm, outcome).Inc()
}

func (m *metrics) compared(realm string, r Report) {
	m.synced.WithLabelValues(realm, r.Outcome).Inc()
	for what, n := range map[string]int{"refreshed": r.Refreshed, "enabled": r.Enabled, "disabled": r.Disabled} {
		m.people.WithLabelValues(realm, what).Add(float64(n))
	}
	var held float64
	switch r.Outcome {
	case Failed:
		return
	case Held:
		held = float64(r.Gone)
	case Done:
		m.last.WithLabelValues(realm).Set(float64(r.Finished.Unix()))
	}
	m.held.WithLabelValues(realm).Set(held)
}
