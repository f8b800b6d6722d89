package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// roomyHeap is how large the heap of a server may get before the garbage collector looks at it. What a server holds is a
// small part of that, so the collector, left to itself, would run several times a second under load, and each time read
// all of it again. A heap that holds more than half of this is collected when it has doubled, as always.
const roomyHeap = 72 << 20

// Hashes of passwords come and go with 19 MiB each, and may come between two looks at what the heap holds. Then the limit
// on all memory of the program holds instead; it is far enough above that memory is not given back to the system only to
// be asked for again with the next hash.
const aboveHeap = 40 << 20

// paceCollector sets after each collection how far the heap may grow until the next. Whoever sets GOGC or GOMEMLIMIT has
// decided.
func paceCollector() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	percent, limit := pace(0)
	debug.SetGCPercent(percent)
	debug.SetMemoryLimit(limit)
	var after func(int)
	watch := func() { runtime.AddCleanup(new([64]byte), after, 0) }
	after = func(int) {
		metrics.Read(live)
		// To set them stops the program for a moment, so small changes are let be.
		p, l := pace(live[0].Value.Uint64())
		if p < percent*9/10 || p > percent*11/10 {
			percent = p
			debug.SetGCPercent(percent)
		}
		if l < limit*9/10 || l > limit*11/10 {
			limit = l
			debug.SetMemoryLimit(limit)
		}
		watch()
	}
	watch()
}

// scheduleMore gives the program twice as many processors to schedule on as there are, unless somebody has said how many.
// A hash of a password holds one for ten milliseconds before Go takes it away, and the system, which is left to share the
// real ones out, lets those who waited go first.
func scheduleMore() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}

// pace is the percentage by which a heap that holds so many bytes may grow, and the memory that the program may use.
func pace(live uint64) (percent int, limit int64) {
	return min(400, max(100, int(roomyHeap*100/max(live, 1))-100)), max(roomyHeap+aboveHeap, 2*int64(live)+aboveHeap)
}
