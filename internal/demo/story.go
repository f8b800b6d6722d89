package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// story tells what happens and does it: each command that it prints is the command that it runs, by the shell, so that a
// person can copy it.
type story struct {
	out  io.Writer
	dir  string   // where commands run
	env  []string // what they see, besides the environment of the demo itself
	step int
}

// secrets are the shapes of what must not stand on a screen in full: generated secrets, access tokens, S3 secret keys.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`\b(mm[a-z]{1,3}_[A-Za-z0-9_-]{4})[A-Za-z0-9_-]{16,}`),
	regexp.MustCompile(`\b(eyJ[A-Za-z0-9_-]{6})[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`),
	regexp.MustCompile(`((?:secret_access_key|AWS_SECRET_ACCESS_KEY)["=:\s]+"?[A-Za-z0-9/+_-]{4})[A-Za-z0-9/+_-]{12,}`),
}

// veil shortens every secret in text, so that the story can be shown on a projector.
func veil(text string) string {
	for _, s := range secrets {
		text = s.ReplaceAllString(text, "$1…")
	}
	return text
}

// chapter begins a new part of the story.
func (s *story) chapter(title string) {
	s.step++
	fmt.Fprintf(s.out, "\n%d. %s\n\n", s.step, title)
}

// say tells something in between.
func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "   "+format+"\n", args...) }

// show prints a command without running it.
func (s *story) show(command string) {
	fmt.Fprintf(s.out, "   $ %s\n", strings.ReplaceAll(command, "\n", "\n     "))
}

// run prints a command, runs it and prints what it said, veiled.
func (s *story) run(ctx context.Context, command string) error {
	s.show(command)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	said, err := cmd.CombinedOutput()
	for line := range strings.SplitSeq(strings.TrimRight(veil(string(said)), "\n"), "\n") {
		if line != "" {
			fmt.Fprintf(s.out, "     %s\n", line)
		}
	}
	if err != nil {
		return fmt.Errorf("this command of the demo failed: %s: %w", command, err)
	}
	return nil
}

// background starts a program that runs, and says nothing, until stop is called.
func (s *story) background(name string, args ...string) (stop func(), err error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}, nil
}
