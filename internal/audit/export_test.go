package audit

import "golang.org/x/mod/sumdb/tlog"

// LeafOf is what the log keeps of an event, for tests that forge one.
func LeafOf(s Stored) tlog.Hash { return s.leaf() }
