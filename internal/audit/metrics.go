package audit

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// recorded counts over the whole process, because Record has nothing but the caller's transaction.
var recorded = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "mintmark_audit_events_recorded_total",
	Help: "Audit events committed by this process.",
}, []string{"outcome"})

// bell tells the sequencers of this process that an event was committed. It is a hint: they look by themselves, too. It
// is shared by all databases of the process for the same reason as recorded; a ring too many costs one look.
var bell = &doorbell{ears: map[chan struct{}]bool{}}

type doorbell struct {
	mu   sync.Mutex
	ears map[chan struct{}]bool // owned by mu
}

func (b *doorbell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ear := range b.ears {
		select {
		case ear <- struct{}{}:
		default: // it has rung already
		}
	}
}

// listen gives a channel that gets a value after each ring, and the function that stops it.
func (b *doorbell) listen() (<-chan struct{}, func()) {
	ear := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ears[ear] = true
	return ear, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.ears, ear)
	}
}

var (
	sequencedDesc = prometheus.NewDesc("mintmark_audit_events_sequenced_total", "Audit events that this process gave a place in the log.", nil, nil)
	sizeDesc      = prometheus.NewDesc("mintmark_audit_log_size", "Records in the audit log, as this process last saw it.", nil, nil)
	lagDesc       = prometheus.NewDesc("mintmark_audit_lag_seconds", "Age of the oldest audit event without a place in the log.", nil, nil)
	brokenDesc    = prometheus.NewDesc("mintmark_audit_broken", "1 while the log contradicts what was signed, so that nothing is added to it.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Sequencer) Describe(ch chan<- *prometheus.Desc) {
	recorded.Describe(ch)
	for _, d := range []*prometheus.Desc{sequencedDesc, sizeDesc, lagDesc, brokenDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Sequencer) Collect(ch chan<- prometheus.Metric) {
	recorded.Collect(ch)
	st := s.Status()
	broken := 0.0
	if st.Broken {
		broken = 1
	}
	ch <- prometheus.MustNewConstMetric(sequencedDesc, prometheus.CounterValue, float64(st.Sequenced))
	ch <- prometheus.MustNewConstMetric(sizeDesc, prometheus.GaugeValue, float64(st.Size))
	ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, st.Lag.Seconds())
	ch <- prometheus.MustNewConstMetric(brokenDesc, prometheus.GaugeValue, broken)
}
