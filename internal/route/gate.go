package route

import (
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
	large   chan struct{} // held while the body of a typed request arrives, instead of a place
	queue   int64
	waiting atomic.Int64
	metrics *metrics
}

func newGate(places, queue int, m *metrics) *gate {
	return &gate{places: make(chan struct{}, places), large: make(chan struct{}, max(places/2, 1)), queue: int64(queue), metrics: m}
}

var errOverloaded = fault.New(fault.Unavailable, "overloaded", "Too many requests are under way. Please try again in a moment.").Retry(time.Second)

func (g *gate) enter(x *exchange) error {
	select {
	case g.places <- struct{}{}:
		g.entered(x)
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
		g.entered(x)
		return nil
	case <-patient.C:
		g.metrics.shed.Inc()
		return errOverloaded
	case <-x.Done():
		return x.Err()
	}
}

func (g *gate) entered(x *exchange) {
	x.placed = true
	g.metrics.inFlight.Inc()
}

// leave gives the place of the request back, if it has one.
func (g *gate) leave(x *exchange) {
	if !x.placed {
		return
	}
	x.placed = false
	<-g.places
	g.metrics.inFlight.Dec()
}
