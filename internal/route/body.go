package route

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// crowd is how many bodies may be on their way to protocol endpoints before the slow ones are hurried.
	crowd = 1024
	// crowdPatience is how long a body may take then. One that came with its header, as those of our clients do, needs
	// no time at all.
	crowdPatience = 250 * time.Millisecond
	// crush is how many may be on their way in any case: their bytes are held in memory.
	crush = 4096
)

// bodies takes in the bodies of requests to protocol endpoints, before the request takes a place among those in flight:
// there, a few hundred strangers who send a byte now and then would hold every place.
type bodies struct {
	arriving atomic.Int64
}

// body is one that has arrived, or as much of it as did.
type body struct {
	bytes []byte
	taken int
	err   error // behind the last byte
}

// Read hands out what arrived, then how it ended.
func (b *body) Read(p []byte) (int, error) {
	if b.taken == len(b.bytes) {
		return 0, b.err
	}
	n := copy(p, b.bytes[b.taken:])
	b.taken += n
	return n, nil
}

// Close does nothing: net/http closes what the bytes came from.
func (b *body) Close() error { return nil }

var bodyPool = sync.Pool{New: func() any { return &body{bytes: make([]byte, 0, 1024)} }}

// release clears the bytes, for there are secrets among them, and gives the room back.
func (b *body) release() {
	clear(b.bytes[:cap(b.bytes)])
	if cap(b.bytes) <= 8<<10 { // an attacker's large ones are not kept
		*b = body{bytes: b.bytes[:0]}
		bodyPool.Put(b)
	}
}

// take reads the body of r up to one byte more than limit. What goes wrong with the body itself is for its reader to see.
func (s *bodies) take(w http.ResponseWriter, r *http.Request, limit int64) (*body, error) {
	b, _ := bodyPool.Get().(*body)
	if r.ContentLength > limit {
		b.err = &http.MaxBytesError{Limit: limit}
		return b, nil
	}
	n := s.arriving.Add(1)
	defer s.arriving.Add(-1)
	if n > crush {
		b.release()
		return nil, errOverloaded
	}
	hurried := n > crowd
	if hurried {
		// A connection that has no deadlines (a test's recorder) is bounded by the server's own.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(crowdPatience))
	}
	b.fill(r.Body, limit)
	if hurried && errors.Is(b.err, io.EOF) {
		// It would fire in the handler. After an error it stays: net/http must not wait for the rest either.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	return b, nil
}

func (b *body) fill(from io.Reader, limit int64) {
	for b.err == nil && int64(len(b.bytes)) <= limit {
		if len(b.bytes) == cap(b.bytes) {
			wider := append(make([]byte, 0, 2*cap(b.bytes)), b.bytes...)
			clear(b.bytes)
			b.bytes = wider
		}
		var n int
		n, b.err = from.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
	}
	if int64(len(b.bytes)) > limit {
		b.err = &http.MaxBytesError{Limit: limit}
	}
}

// awayFrom gives the place of a typed request back while its body arrives, and takes one again then. Few may do so at
// once, because their bodies may be large; but they are in the way of each other alone.
func (g *gate) awayFrom(x *exchange, arrive func() error) error {
	select {
	case g.large <- struct{}{}:
	default:
		patient := time.NewTimer(patience)
		defer patient.Stop()
		select {
		case g.large <- struct{}{}:
		case <-patient.C:
			g.metrics.shed.Inc()
			return errOverloaded
		case <-x.Done():
			return x.Err()
		}
	}
	g.leave(x)
	err := arrive()
	<-g.large
	if again := g.enter(x); again != nil && err == nil {
		err = again
	}
	return err
}
