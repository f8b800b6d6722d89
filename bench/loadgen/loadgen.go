// Package loadgen runs bounded load against servers on this machine and tells what it cost them: throughput, latency,
// and the processor time of the server's process tree, from /proc.
//
// It is a closed loop: so many connections, each with one request under way. It never talks to anything but the loopback
// address.
package loadgen

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Request is one HTTP request.
type Request struct {
	Method, URL string
	Header      map[string]string
	Body        string
}

// encode makes the bytes of the request.
func (r Request) encode() (addr string, b []byte, err error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return "", nil, err
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
		return "", nil, fmt.Errorf("%s is not a loopback address", r.URL)
	}
	var w bytes.Buffer
	fmt.Fprintf(&w, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, u.RequestURI(), u.Host)
	for name, value := range r.Header {
		fmt.Fprintf(&w, "%s: %s\r\n", name, value)
	}
	if r.Method != "GET" {
		fmt.Fprintf(&w, "Content-Length: %d\r\n", len(r.Body))
	}
	w.WriteString("\r\n" + r.Body)
	return u.Host, w.Bytes(), nil
}

// Load is what to run.
type Load struct {
	Requests    []Request // in turn; all to one server
	Connections int
	Count       int            // requests in all
	Limit       time.Duration  // no request begins later than this
	Servers     map[string]int // whose processor time counts: label → process id
	Expect      string         // must be in the body of each answer
	Collect     func(body []byte)

	// Script is run Count times in place of Requests, where one request depends on the answer to another. worker tells
	// whose connection it runs on; no two run on one at a time.
	Script func(worker int, do func(Request) (Answer, error)) error
	Server string // URL of the one server of the script
}

// Answer is what came back. Its body is good until the next request.
type Answer struct {
	Status   int
	Location string
	Body     []byte
}

// Result is what it cost.
type Result struct {
	OK, Errors  int
	FirstError  string
	Wall        time.Duration
	P50, P95    time.Duration
	P99         time.Duration
	CPU         map[string]float64 // seconds, by label
	LoadCPU     float64            // seconds of this program
	OtherShare  float64            // of the machine, used by anything else
	PeakMemory  map[string]float64 // MiB, by label
	PerThousand float64            // seconds of processor time of all servers for 1000 requests
}

// Rate is how many requests a second were answered.
func (r Result) Rate() float64 { return float64(r.OK) / r.Wall.Seconds() }

// run is one load under way.
type run struct {
	load    Load
	encoded [][]byte
	next    atomic.Int64
	stop    time.Time
	mu      sync.Mutex
	result  Result          // owned by mu
	took    []time.Duration // owned by mu
}

// Run runs the load. An error is one of the load itself; refused and failed requests are in the result.
func Run(load Load) (Result, error) {
	x := &run{load: load}
	var addr string
	for _, r := range load.Requests {
		a, b, err := r.encode()
		if err != nil {
			return Result{}, err
		}
		if addr != "" && a != addr {
			return Result{}, fmt.Errorf("a load has one server, not both %s and %s", addr, a)
		}
		addr, x.encoded = a, append(x.encoded, b)
	}
	if load.Script != nil {
		u, err := url.Parse(load.Server)
		if err != nil {
			return Result{}, err
		}
		addr = u.Host
	}
	if addr == "" || load.Connections < 1 || load.Count < 1 {
		return Result{}, fmt.Errorf("nothing to run")
	}
	x.stop = time.Now().Add(load.Limit)
	before := map[string]float64{}
	for label, pid := range load.Servers {
		before[label] = CPU(pid)
	}
	own := ownCPU()
	busy, total := machineCPU()
	begin := time.Now()
	var wg sync.WaitGroup
	for worker := range load.Connections {
		wg.Go(func() { x.work(addr, worker) })
	}
	wg.Wait()
	r := x.result
	r.Wall, r.LoadCPU = time.Since(begin), ownCPU()-own
	busyAfter, totalAfter := machineCPU()
	r.CPU, r.PeakMemory = map[string]float64{}, map[string]float64{}
	var sum float64
	for label, pid := range load.Servers {
		r.CPU[label] = CPU(pid) - before[label]
		r.PeakMemory[label], _ = Memory(pid)
		sum += r.CPU[label]
	}
	if r.OK > 0 {
		r.PerThousand = sum / float64(r.OK) * 1000
	}
	if totalAfter > total {
		r.OtherShare = max(0, (busyAfter-busy-sum-r.LoadCPU)/(totalAfter-total))
	}
	slices.Sort(x.took)
	if n := len(x.took); n > 0 {
		r.P50, r.P95, r.P99 = x.took[n/2], x.took[n*95/100], x.took[n*99/100]
	}
	return r, nil
}

// step runs the script, or sends the request whose turn it is.
func (x *run) step(c *conn, i, worker int) ([]byte, error) {
	if x.load.Script != nil {
		return nil, x.load.Script(worker, func(r Request) (Answer, error) {
			_, b, err := r.encode()
			if err != nil {
				return Answer{}, err
			}
			status, body, err := c.do(b)
			return Answer{status, c.location, body}, err
		})
	}
	status, body, err := c.do(x.encoded[i%len(x.encoded)])
	if err == nil && (status != 200 || !bytes.Contains(body, []byte(x.load.Expect))) {
		err = fmt.Errorf("%d %.200s", status, body)
	}
	return body, err
}

// work sends requests over one connection until there are no more.
func (x *run) work(addr string, worker int) {
	c := &conn{addr: addr}
	defer c.close()
	var took []time.Duration
	ok, bad, first := 0, 0, ""
	for {
		i := int(x.next.Add(1)) - 1
		begin := time.Now()
		if i >= x.load.Count || begin.After(x.stop) {
			break
		}
		body, err := x.step(c, i, worker)
		if err != nil {
			if bad++; first == "" {
				first = err.Error()
			}
			continue
		}
		ok++
		took = append(took, time.Since(begin))
		if x.load.Collect != nil {
			x.mu.Lock()
			x.load.Collect(body)
			x.mu.Unlock()
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.result.OK += ok
	x.result.Errors += bad
	if x.result.FirstError == "" {
		x.result.FirstError = first
	}
	x.took = append(x.took, took...)
}
