package route

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/fault"
)

// patience is how long a request waits for a place before it is refused: overload must answer quickly, or the clients'
// retries make it worse.
const patience = 80 * time.Millisecond

// gate bounds the requests in flight, and those that wait for a place.
type gate struct {
	places  chan struct{}
	queue   int64
	waiting atomic.Int64
	metrics *metrics
}

func newGate(places, queue int, m *metrics) *gate {
	return &gate{places: make(chan struct{}, places), queue: int64(queue), metrics: m}
}

var errOverloaded = fault.New(fault.Unavailable, "overloaded", "Too many requests are under way. Please try again in a moment.").Retry(time.Second)

func (g *gate) enter(ctx context.Context) error {
	select {
	case g.places <- struct{}{}:
		g.metrics.inFlight.Inc()
		return nil
	default:
	}
	if g.waiting.Add(1) > g.queue {
		g.waiting.Add(-1)
		g.metrics.shed.Inc()
		return errOverloaded
	}
	defer g.waiting.Add(-1)
	patient := time.NewTimer(patience)
	defer patient.Stop()
	select {
	case g.places <- struct{}{}:
		g.metrics.inFlight.Inc()
		return nil
	case <-patient.C:
		g.metrics.shed.Inc()
		return errOverloaded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) leave() {
	<-g.places
	g.metrics.inFlight.Dec()
}
