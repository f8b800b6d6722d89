package argon2id

import (
	"slices"
	"sync"
	"time"
	"unsafe"
)

const (
	blockSize = 8 * words
	largePage = 2 << 20
	// keep is the largest memory that is kept for the next hash: more is asked for only by hashes of other systems.
	keep = 32 << 20
	// rest is after how long without use memory goes back to the system, at the latest after twice as long.
	rest = 30 * time.Second
)

// memory is where a hash is computed. What a hash leaves there is as good as the hash, and stays until the next one takes
// its place or the memory goes back.
type memory struct {
	blocks []block
	mapped []byte // of the system; nil: it is Go's
	work   work
}

// work is what a hash needs beside its blocks.
type work struct{ addresses, in, zero, scratch block }

// idle are those that no hash uses. It is our own, and no sync.Pool, because that would keep one for each processor.
var idle struct {
	mu    sync.Mutex
	list  []*memory
	least int  // how many of them were not used since the last sweep
	due   bool // a sweep is
}

// take gets memory for so many blocks.
func take(n int) *memory {
	idle.mu.Lock()
	for i := len(idle.list) - 1; i >= 0; i-- { // the last used is the one that the processor's caches know
		if m := idle.list[i]; len(m.blocks) >= n {
			idle.list = slices.Delete(idle.list, i, i+1)
			idle.least = min(idle.least, len(idle.list))
			idle.mu.Unlock()
			return m
		}
	}
	if len(idle.list) > 0 { // too small: else hashes that ask for a little more each time would leave one behind each
		idle.list[0].end()
		idle.list = slices.Delete(idle.list, 0, 1)
		idle.least = max(0, idle.least-1)
	}
	idle.mu.Unlock()
	m := &memory{}
	if m.mapped = obtain((n*blockSize + largePage - 1) / largePage * largePage); m.mapped == nil {
		m.blocks = make([]block, n)
		return m
	}
	m.blocks = unsafe.Slice((*block)(unsafe.Pointer(unsafe.SliceData(m.mapped))), n)
	return m
}

// give keeps memory for the next hash, or gives it back.
func (m *memory) give() {
	if len(m.blocks)*blockSize > keep {
		m.end()
		return
	}
	idle.mu.Lock()
	defer idle.mu.Unlock()
	idle.list = append(idle.list, m)
	if !idle.due {
		idle.due, idle.least = true, 0
		time.AfterFunc(rest, sweep)
	}
}

// sweep gives back what no hash has used since the last sweep.
func sweep() {
	idle.mu.Lock()
	defer idle.mu.Unlock()
	for _, m := range idle.list[:idle.least] {
		m.end()
	}
	idle.list = slices.Delete(idle.list, 0, idle.least)
	idle.least = len(idle.list)
	if idle.due = len(idle.list) > 0; idle.due {
		time.AfterFunc(rest, sweep)
	}
}

// end gives memory back to the system, or to Go.
func (m *memory) end() {
	if m.mapped != nil {
		release(m.mapped)
	}
	m.mapped, m.blocks = nil, nil
}
