package main

import "testing"

// The limit must always leave the collector room: one below what is alive would have it run for ever.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		live    uint64
		percent int
		limit   int64
	}{{0, 400, 112}, {18, 300, 112}, {36, 100, 112}, {50, 100, 140}, {4000, 100, 8040}} {
		if percent, limit := pace(c.live << 20); percent != c.percent || limit != c.limit<<20 {
			t.Errorf("with %d MiB alive it may grow by %d %% up to %d MiB, want %d %% and %d MiB", c.live, percent, limit>>20, c.percent, c.limit)
		}
	}
}
