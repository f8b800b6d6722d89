//go:build faultinject

// Package failpoint marks the places where a test makes the program fail, stop or die.
//
// This build (tag faultinject) obeys the environment variable MINTMARK_FAILPOINTS, a list such as
// "rotation.afterPut=kill;audit.beforeCommit=error@3": the action runs at the N-th hit (every hit without @N). Actions:
// error, kill (SIGKILL to itself), panic. Tests in the same process use Set.
package failpoint

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Enabled tells whether this build can fail on request.
const Enabled = true

// ErrInjected is what a failpoint set to "error" returns.
var ErrInjected = errors.New("failpoint: injected fault")

type point struct {
	at   int // fire at this hit only; 0 fires at each
	hits int
	act  func() error
}

var (
	mu     sync.Mutex
	points = map[string]*point{} // name → what to do; owned by mu
	fired  = map[string]int{}    // name → how often it did; owned by mu
)

func init() {
	for entry := range strings.SplitSeq(os.Getenv("MINTMARK_FAILPOINTS"), ";") {
		name, action, ok := strings.Cut(entry, "=")
		if !ok {
			continue
		}
		action, nth, _ := strings.Cut(action, "@")
		at, _ := strconv.Atoi(nth)
		act := map[string]func() error{
			"error": func() error { return ErrInjected },
			"panic": func() error { panic(ErrInjected) },
			"kill":  func() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) },
		}[action]
		if act == nil {
			panic("failpoint: unknown action in " + entry)
		}
		points[name] = &point{at: at, act: act}
	}
}

// Hit runs what is set for name, if anything, and returns its error.
func Hit(name string) error {
	mu.Lock()
	p := points[name]
	if p == nil {
		mu.Unlock()
		return nil
	}
	p.hits++
	fire := p.at == 0 || p.hits == p.at
	if fire {
		fired[name]++
	}
	mu.Unlock()
	if !fire {
		return nil
	}
	return p.act()
}

// Set makes name run act at its at-th hit from now (0: at each). The returned function takes it away.
func Set(name string, at int, act func() error) (clear func()) {
	mu.Lock()
	defer mu.Unlock()
	points[name] = &point{at: at, act: act}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		delete(points, name)
	}
}

// Fired tells how often name ran its action: a test that injects a fault must prove that it happened.
func Fired(name string) int {
	mu.Lock()
	defer mu.Unlock()
	return fired[name]
}
