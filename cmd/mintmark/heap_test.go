package main

import "testing"

// The limit must always leave the collector room: one below what is alive would have it run for ever.
func TestMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int64
	}{{0, 112}, {30, 112}, {50, 124}, {100, 224}, {4000, 8024}} {
		if got := memoryLimit(c.live << 20); got != c.want<<20 {
			t.Errorf("with %d MiB alive the limit is %d MiB, want %d", c.live, got>>20, c.want)
		}
	}
}
