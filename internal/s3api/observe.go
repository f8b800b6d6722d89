package s3api

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the endpoint counts. Labels hold no names of buckets or keys: their number is not ours to choose.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (metrics, error) {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_s3_requests_total", Help: "Requests to the embedded S3 endpoint, by operation, status and error code.",
		}, []string{"operation", "status", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mintmark_s3_request_duration_seconds", Help: "Time to answer a request to the embedded S3 endpoint.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30},
		}, []string{"operation"}),
	}
	if r == nil {
		return m, nil
	}
	if err := errors.Join(r.Register(m.requests), r.Register(m.seconds)); err != nil {
		return m, fmt.Errorf("s3api: register metrics: %w", err)
	}
	return m, nil
}

// account counts the request and writes its one log event: path and result, never the query, whose signature opens what
// a presigned URL opens.
func (s *Server) account(x *exchange, took time.Duration) {
	code := ""
	level := slog.LevelInfo
	if x.failure != nil {
		code = x.failure.code
	}
	if x.status >= 500 {
		level = slog.LevelError
	}
	s.metrics.requests.WithLabelValues(x.operation, strconv.Itoa(x.status), code).Inc()
	s.metrics.seconds.WithLabelValues(x.operation).Observe(took.Seconds())
	ctx := x.r.Context()
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.requestID), slog.String("operation", x.operation), slog.Int("status", x.status),
		slog.String("bucket", x.bucket), slog.String("key", x.key), slog.String("access_key", x.claim.keyID), slog.String("owner", x.accessKey.Owner),
		slog.Bool("presigned", x.claim.presigned), slog.String("remote", x.r.RemoteAddr),
		slog.Int64("received", x.received), slog.Int64("sent", x.sent), slog.Duration("took", took),
	}
	if code != "" {
		attrs = append(attrs, slog.String("code", code))
	}
	if x.failure != nil && x.failure.err != nil {
		attrs = append(attrs, slog.String("error", x.failure.err.Error()))
	}
	s.log.LogAttrs(ctx, level, "s3 request", attrs...)
}
