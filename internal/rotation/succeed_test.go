package rotation_test

import (
	"testing"
	"time"
)

// A server that is killed and started again on its data directory, again and again, must not keep an old version for ever;
// and what the killed one may have seen last must not be lost.
func TestARestartedServerSucceedsItself(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.watcher("n")
		w.overlap(s)
		w.pass(policy.Grace-time.Second, s)
		s = w.watcher("n") // killed, and started again at once: the observation begins anew
		w.pass(2*time.Second, s)
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, overlapping)
		w.pass(policy.Grace, s)
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, over)
	})
}

// Beside others it is the same, and they need not wait for its silence.
func TestASuccessorDoesNotMakeOthersWait(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		a, b := w.watcher("a"), w.watcher("b")
		w.overlap(a, b)
		b = w.watcher("b")
		w.pass(policy.Grace+time.Second, a, b)
		w.mustRun(a, "a1")
		w.expect(a, "a1", password, over)
	})
}
