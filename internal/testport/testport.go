// Package testport finds ports for tests: on the loopback address, free, and below 32768, where the kernel never puts
// the near end of an outgoing connection, so that a server that is stopped and started again finds its port still free.
package testport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Listen opens a listener that is closed when the test ends.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	for range 200 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 18000+rand.IntN(14000)))
		if err == nil {
			t.Cleanup(func() { l.Close() })
			return l
		}
	}
	t.Fatal("no free port below 32768")
	return nil
}

// Addr is an address that nobody listens on just now, for a server that opens it itself.
func Addr(t testing.TB) string {
	t.Helper()
	l := Listen(t)
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}
