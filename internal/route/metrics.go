package route

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the collectors of one registry. Labels are patterns and classes of status, both of our own making, so that
// no stranger can add a series.
type metrics struct {
	requests *prometheus.CounterVec   // by route and class of status
	duration *prometheus.HistogramVec // by route
	inFlight prometheus.Gauge
	shed     prometheus.Counter
	panics   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	return &metrics{
		requests: register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_http_requests_total", Help: "Requests answered, by route pattern and class of status.",
		}, []string{"route", "class"})),
		duration: register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mintmark_http_request_duration_seconds", Help: "Time from the request's header to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"})),
		inFlight: register(r, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mintmark_http_in_flight", Help: "Requests being worked on.",
		})),
		shed: register(r, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mintmark_http_shed_total", Help: "Requests refused because too many were under way.",
		})),
		panics: register(r, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mintmark_http_panics_total", Help: "Requests that ended in a panic. Each is a bug.",
		})),
	}
}

// register registers c, or finds the one that another Mux registered.
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

// observer is one route's own collectors, looked up once: the token endpoint should not hash labels.
type observer struct {
	classes  [6]prometheus.Counter // by the status's first digit; [0] is for what has none
	duration prometheus.Observer
}

var classNames = [6]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m *metrics) observer(route string) observer {
	o := observer{duration: m.duration.WithLabelValues(route)}
	for i, name := range classNames {
		if i >= 2 { // our handlers send nothing else
			o.classes[i] = m.requests.WithLabelValues(route, name)
		}
	}
	return o
}

func (o *observer) observe(status int, took time.Duration) {
	if class := status / 100; class >= 2 && class <= 5 {
		o.classes[class].Inc()
	}
	o.duration.Observe(took.Seconds())
}
