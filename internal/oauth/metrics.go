package oauth

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what the endpoints did. The labels are realms and grants that exist, outcomes and endpoints of our own:
// no stranger can add a series.
type metrics struct {
	issued   *prometheus.CounterVec // realm, grant, outcome
	verified *prometheus.CounterVec // endpoint, realm, outcome
	refused  prometheus.Counter     // wrong client credentials
	blocked  prometheus.Counter     // attempts that the limiter did not let through
	revoked  *prometheus.CounterVec // kind, outcome: requests for a revocation
	fed      prometheus.Counter     // revocations that verifiers were told of
}

// The outcomes besides those of refusal.class.
const (
	outcomeSuccess = "success"
	outcomeInvalid = "invalid"
	outcomeOther   = "other"
)

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		issued: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_oauth_token_requests_total",
			Help: "Requests for access tokens, by realm, grant and outcome: success, or whose fault it was (client, user, other).",
		}, []string{"realm", "grant", "outcome"}),
		verified: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintmark_oauth_token_verifications_total",
			Help: "Access tokens that were checked, by endpoint, realm and outcome (success, invalid, other).",
		}, []string{"endpoint", "realm", "outcome"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mintmark_oauth_client_authentication_failures_total",
			Help: "Requests with an unknown client or a wrong client secret.",
		}),
		blocked: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mintmark_oauth_client_authentication_blocked_total",
			Help: "Requests refused because their address had sent too many wrong secrets for the client.",
		}),
	}
	m.revoked = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintmark_oauth_revocations_total",
		Help: "Requests for a revocation, by kind and outcome (success, refused, failed).",
	}, []string{"kind", "outcome"})
	m.fed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "mintmark_oauth_revocations_fed_total",
		Help: "Revocations told to verifiers that read the feed.",
	})
	r.MustRegister(m.issued, m.verified, m.refused, m.blocked, m.revoked, m.fed)
	return m
}

// gauges shows how much memory the remembered tokens and revocations take.
func (s *Server) gauges(r prometheus.Registerer) {
	gauge := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(f()) })
	}
	r.MustRegister(
		gauge("mintmark_oauth_verified_tokens", "Verified tokens held in memory.", s.verifier.cache.size),
		gauge("mintmark_oauth_revoked_tokens", "Revoked tokens that have not expired yet.", s.revoked.size),
		gauge("mintmark_oauth_covering_revocations", "Revocations in force that reach many tokens at once.", s.revoked.many.size),
		gauge("mintmark_oauth_limited_addresses", "Pairs of address and client with a recent wrong secret.", s.limiter.size),
	)
}
