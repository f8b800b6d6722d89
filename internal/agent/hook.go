//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// runHook runs the configured program and waits for it. It gets the agent's environment but its own credentials for the
// bucket, which it has no use for.
func (a *Agent) runHook(ctx context.Context, generation int64) error {
	limited, cancel := context.WithTimeoutCause(ctx, a.c.HookTimeout, fmt.Errorf("it took longer than %v and was killed", a.c.HookTimeout))
	defer cancel()
	cmd := exec.CommandContext(limited, a.c.Hook[0], a.c.Hook[1:]...)
	cmd.Env = append(hookEnvironment(os.Environ()), "MINTMARK_GENERATION="+strconv.FormatInt(generation, 10), "MINTMARK_DIR="+a.c.Dir)
	// A group of its own, so that what it started is killed with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	output := &head{room: 2048}
	cmd.Stdout, cmd.Stderr = output, output
	err := cmd.Run()
	if limited.Err() != nil {
		err = context.Cause(limited)
	}
	if err != nil && len(output.kept) > 0 {
		err = fmt.Errorf("%w; it said: %s", err, strings.ToValidUTF8(strings.TrimSpace(string(output.kept)), "?"))
	}
	return err
}

func hookEnvironment(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MINTMARK_GENERATION", "MINTMARK_DIR":
			return true
		}
		return false
	})
}

// head keeps the first bytes of what is written and drops the rest.
type head struct {
	kept []byte
	room int
}

func (h *head) Write(b []byte) (int, error) {
	h.kept = append(h.kept, b[:min(len(b), h.room-len(h.kept))]...)
	return len(b), nil
}

// signalProcess signals the process whose number is in the file.
func signalProcess(pidFile string, signal syscall.Signal) error {
	f, err := os.Open(pidFile)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 2 { // 0 and less are groups, 1 is not ours to disturb
		return errors.New(pidFile + " does not hold a process number")
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	return nil
}
