package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// readiness tells whether this node should get requests, and if not, why. Liveness is another question: a node that
// waits for its database is alive, and restarting it would help nobody.
type readiness struct {
	phase atomic.Pointer[string] // why the node as a whole is not ready: starting, draining; nil when it is
	// checks are asked at each look, by name; they must be quick.
	checks map[string]func(context.Context) error
}

func (r *readiness) set(phase string) {
	if phase == "" {
		r.phase.Store(nil)
		return
	}
	r.phase.Store(&phase)
}

// reasons lists why the node is not ready, sorted, so that the same trouble gives the same answer.
func (r *readiness) reasons(ctx context.Context) []string {
	if p := r.phase.Load(); p != nil {
		return []string{*p}
	}
	var out []string
	for name, check := range r.checks {
		if err := check(ctx); err != nil {
			out = append(out, name+": "+err.Error())
		}
	}
	slices.Sort(out)
	return out
}

// Err is nil when the node is ready.
func (r *readiness) Err() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if reasons := r.reasons(ctx); len(reasons) > 0 {
		return errors.New(reasons[0])
	}
	return nil
}

// operations is the handler of the operations listener. It answers whoever reaches it, so it must listen where only
// operators do.
func operations(r *readiness, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		w.Header().Set("Cache-Control", "no-store")
		reasons := r.reasons(ctx)
		if len(reasons) == 0 {
			fmt.Fprintln(w, "ready")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		for _, why := range reasons {
			fmt.Fprintln(w, why)
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}
