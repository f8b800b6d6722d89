package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// cleanEvery is how often what has expired is removed. It is removed a little at a time, however much it is (see
// db.RemoveExpired), and by itself, so that nothing waits for it.
const cleanEvery = time.Minute

// clean removes what nobody needs any more until ctx ends.
func (a *App) clean(ctx context.Context) error {
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			for what, remove := range a.cleaners() {
				if err := remove(ctx); err != nil && ctx.Err() == nil {
					a.log.Warn("what has expired could not be removed; it is tried again", "of", what, "error", err)
				}
			}
		}
	}
}

// cleaners are the parts that keep what expires.
func (a *App) cleaners() map[string]func(context.Context) error {
	counted := func(f func(context.Context) (int64, error)) func(context.Context) error {
		return func(ctx context.Context) error { _, err := f(ctx); return err }
	}
	parts := map[string]func(context.Context) error{
		"change feed":       a.db.Sweep,
		"authorization":     a.oauth.Sweep,
		"sessions":          counted(a.sessions.Sweep),
		"wrong passwords":   counted(a.identity.SweepAttempts),
		"known browsers":    a.identity.SweepDevices,
		"second factors":    a.factors.Sweep,
		"links of accounts": a.accounts.Sweep,
		"logins elsewhere":  a.upstream.Sweep,
		"letters":           a.outbox.Sweep,
		"clients":           a.registry.Sweep,
	}
	if a.mithril != nil {
		parts["tokens of the Mithril interface"] = a.mithril.Sweep
	}
	return parts
}

// countExpired counts the rows that are removed, by table.
func (a *App) countExpired() func(table string, rows int64) {
	removed := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintmark_expired_rows_removed_total", Help: "Rows that nobody needed any more, by table."}, []string{"table"})
	a.metrics.MustRegister(removed)
	return func(table string, rows int64) { removed.WithLabelValues(table).Add(float64(rows)) }
}
