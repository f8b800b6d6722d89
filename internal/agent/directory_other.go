//go:build !unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// directory needs links that are renamed in one step, owners and modes. A system without them gets an error instead of
// credentials that anybody may read.
type directory struct {
	path     string
	fileMode os.FileMode
}

var errUnsupported = fmt.Errorf("%w: the agent does not work on this operating system", ErrDirectory)

func (*directory) open() error                         { return errUnsupported }
func (*directory) close()                              {}
func (*directory) read(string) ([]byte, error)         { return nil, errUnsupported }
func (*directory) generation() (int64, error)          { return 0, errUnsupported }
func (*directory) linked() (bool, error)               { return false, errUnsupported }
func (*directory) publish([2][]byte) (int64, error)    { return 0, errUnsupported }
func (*directory) sweep() error                        { return errUnsupported }
func (*directory) announced() (int64, error)           { return 0, errUnsupported }
func (*directory) setAnnounced(int64) error            { return errUnsupported }
func (*Agent) runHook(context.Context, int64) error    { return errUnsupported }
func signalProcess(string, syscall.Signal) (err error) { return errors.ErrUnsupported }
