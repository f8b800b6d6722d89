package rotation

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/db"
)

// metrics counts what happened on this node, and asks the database, when it is scraped, how the credentials are. Nothing
// is labelled by application: there may be ten thousand.
type metrics struct {
	rotations, retirements, failures *prometheus.CounterVec
	puts                             *prometheus.HistogramVec
	lateWrites                       prometheus.Counter
	interruptions, lostWatchers      prometheus.Counter
}

func newMetrics(s *Service, r prometheus.Registerer) (metrics, error) {
	m := metrics{
		rotations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintmark_rotation_commits_total",
			Help: "Rotations that were committed by this node."}, []string{"kind"}),
		retirements: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintmark_rotation_retirements_total",
			Help: "Versions that were retired by this node; forced: at the hard limit, not by evidence."}, []string{"kind", "forced"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintmark_rotation_publish_errors_total",
			Help: "Puts to destinations that failed."}, []string{"store", "code"}),
		puts: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "mintmark_rotation_put_duration_seconds",
			Help: "Time of one put to a destination.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}, []string{"store"}),
		lateWrites: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintmark_rotation_late_writes_total",
			Help: "Puts of an older version that may have overwritten a later one."}),
		interruptions: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintmark_rotation_interruptions_total",
			Help: "Times in which no server reported what it observed: none ran, the database was away, or its clock jumped."}),
		lostWatchers: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintmark_rotation_lost_watchers_total",
			Help: "Servers that went without a goodbye, with what they observed last."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.rotations, m.retirements, m.failures, m.puts, m.lateWrites, m.interruptions, m.lostWatchers, gauges{s}} {
		if err := r.Register(c); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m metrics) rotated(kind string) { m.rotations.WithLabelValues(kind).Inc() }

func (m metrics) retired(kind string, forced bool) {
	m.retirements.WithLabelValues(kind, map[bool]string{true: "true", false: "false"}[forced]).Inc()
}

func (m metrics) failed(store, code string) { m.failures.WithLabelValues(store, code).Inc() }

func (m metrics) put(store string, d time.Duration) {
	m.puts.WithLabelValues(store).Observe(d.Seconds())
}

// gauges reads the state of all credentials at each scrape.
type gauges struct{ s *Service }

var (
	gaugeVersions = prometheus.NewDesc("mintmark_rotation_versions", "Versions by state.", []string{"kind", "state"}, nil)
	gaugeAge      = prometheus.NewDesc("mintmark_rotation_oldest_seconds", "Age of the oldest version in the state: since it was prepared, became active, or began to retire.", []string{"kind", "state"}, nil)
	gaugeProblems = prometheus.NewDesc("mintmark_rotation_problems", "Credentials whose next version cannot be made.", []string{"kind"}, nil)
	gaugeWatching = prometheus.NewDesc("mintmark_rotation_watching_seconds", "For how long uses have been observed without a gap. While it is shorter than the grace, nothing retires by evidence.", nil, nil)
	gaugeFailing  = prometheus.NewDesc("mintmark_rotation_failing_deliveries", "Deliveries that keep failing.", []string{"store"}, nil)
)

// Describe is for the registry.
func (gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{gaugeVersions, gaugeAge, gaugeProblems, gaugeFailing, gaugeWatching} {
		ch <- d
	}
}

// Collect is for the registry. While the database is away it tells nothing, rather than something old.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := g.s.db.Read(ctx, func(tx db.ReadTx) error { return g.read(ctx, tx, ch) })
	if err != nil {
		g.s.log.Warn("the state of rotations could not be read for metrics", "error", err)
	}
}

// What is counted, each out of an index of its own that holds nothing else.
const (
	countVersions = `SELECT kind, state, COUNT(*), MIN(CASE state WHEN 'prepared' THEN prepared_at WHEN 'active' THEN activated_at ELSE retiring_at END)
		FROM rotation_versions WHERE state IN ('prepared', 'active', 'retiring') GROUP BY kind, state`
	countProblems = `SELECT kind, COUNT(*) FROM rotation_credentials WHERE live AND problem <> '' GROUP BY kind`
	countFailing  = `SELECT store, COUNT(*) FROM rotation_deliveries WHERE failures > 0 GROUP BY store`
)

func (g gauges) read(ctx context.Context, tx db.ReadTx, ch chan<- prometheus.Metric) error {
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	w, err := readWatch(ctx, tx)
	if err != nil {
		return err
	}
	send(gaugeWatching, tx.Now().Sub(w.at(tx.Now(), g.s.pace).since).Seconds())
	rows, err := tx.Query(ctx, countVersions)
	if err != nil {
		return err
	}
	_, err = collect(rows, func() (_ struct{}, err error) {
		var kind, state string
		var n, oldest int64
		if err = rows.Scan(&kind, &state, &n, &oldest); err == nil {
			send(gaugeVersions, float64(n), kind, state)
			send(gaugeAge, tx.Now().Sub(db.Time(oldest)).Seconds(), kind, state)
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	for _, q := range []struct {
		desc *prometheus.Desc
		sql  string
	}{
		{gaugeProblems, countProblems},
		{gaugeFailing, countFailing},
	} {
		rows, err := tx.Query(ctx, q.sql)
		if err != nil {
			return err
		}
		_, err = collect(rows, func() (_ struct{}, err error) {
			var label string
			var n int64
			if err = rows.Scan(&label, &n); err == nil {
				send(q.desc, float64(n), label)
			}
			return struct{}{}, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
