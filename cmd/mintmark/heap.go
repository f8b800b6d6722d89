package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// roomyHeap is how much memory a server may use before the garbage collector is in a hurry. What a server holds is a
// tenth to a third of that, so the collector, left to itself, would run several times a second under load, and each
// time read all of it again. A server that holds more is collected when that has doubled, as always.
const roomyHeap = 112 << 20

// hashRoom is what comes and goes at once when people sign in: hashes of 19 MiB, which must not cause a collection each.
const hashRoom = 24 << 20

// paceCollector has the heap collected when it is five times what was alive, or when all memory of the program reaches a
// limit that is set anew after each collection. Whoever sets GOGC or GOMEMLIMIT has decided.
func paceCollector() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	limit := memoryLimit(0)
	debug.SetMemoryLimit(limit)
	debug.SetGCPercent(400)
	var after func(int)
	watch := func() { runtime.AddCleanup(new([64]byte), after, 0) }
	after = func(int) {
		metrics.Read(live)
		// To set it stops the program for a moment, so small changes are let be.
		if next := memoryLimit(live[0].Value.Uint64()); next < limit*9/10 || next > limit*11/10 {
			limit = next
			debug.SetMemoryLimit(limit)
		}
		watch()
	}
	watch()
}

// memoryLimit is how much memory a server may use that holds so many bytes.
func memoryLimit(live uint64) int64 { return max(roomyHeap, 2*int64(live)+hashRoom) }
