package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// heapGrowth is by how many hundredths the heap of a server may grow until the garbage collector looks at it. A server holds
// little and makes much, so the collector, left to itself, would run several times a second under load, and each time
// read all of it again. More than this would save little, and cost memory. A limit on memory does harm: near it memory is
// given back to the system only to be asked for again.
const heapGrowth = 200

// paceCollector has the collector run less often, unless somebody has said how often.
func paceCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
}

// scheduleMore gives the program twice as many processors to schedule on as there are, unless somebody has said how many.
// The system, which is left to share the real ones out, lets those who waited go first; with as many as there are, the
// slowest of a hundred requests for tokens took twice as long, also when nobody signed in.
func scheduleMore() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}
