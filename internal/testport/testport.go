// Package testport finds ports for tests: on the loopback address, free, and below 32768, where the kernel never puts
// the near end of an outgoing connection, so that a server that is stopped and started again finds its port still free.
package testport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Listen opens a listener that is closed when the test ends.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func listen() (net.Listener, error) {
	for range 200 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 18000+rand.IntN(14000))); err == nil {
			return l, nil
		}
	}
	return nil, errors.New("no free port on 127.0.0.1 below 32768")
}

// Addr is an address that nobody listens on just now, for a server that opens it itself.
func Addr(t testing.TB) string {
	t.Helper()
	addr, err := Free()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Free is Addr for programs that try the product from outside.
func Free() (addr string, err error) {
	l, err := listen()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
