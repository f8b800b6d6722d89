package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// passwordFlags say where a new password comes from. Never from an argument: others on the machine can read those.
type passwordFlags struct {
	PasswordFile string `type:"path" placeholder:"FILE" help:"File with the password, or - for standard input. Default: ask for it."`
}

// read takes the password from the file, or asks the person who sits at the terminal.
func (f passwordFlags) read(ctx context.Context, s *Session, in io.Reader) (string, error) {
	if f.PasswordFile == "" {
		return askPassword(ctx, s, in)
	}
	if f.PasswordFile != "-" {
		file, err := os.Open(f.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		defer file.Close()
		in = file
	}
	b, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n") {
		return "", usage(errors.New("the file must hold the password on one line, and nothing else"))
	}
	return password, nil
}

// askPassword asks twice, while the terminal does not show what is typed.
func askPassword(ctx context.Context, s *Session, in io.Reader) (string, error) {
	terminal, ok := in.(*os.File)
	if ok {
		info, err := terminal.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0 && stty(terminal, "-g") == nil
	}
	if !ok {
		return "", usage(errors.New("there is no terminal to ask for the password: name a file that holds it with --password-file"))
	}
	if err := stty(terminal, "-echo"); err != nil {
		return "", fmt.Errorf("stop the terminal from showing the password: %w", err)
	}
	defer func() {
		if err := stty(terminal, "echo"); err != nil {
			s.warn("the terminal may not show what you type; run: stty echo")
		}
	}()
	lines := bufio.NewReader(terminal)
	first, err := askLine(ctx, s, lines, "New password: ")
	if err != nil {
		return "", err
	}
	again, err := askLine(ctx, s, lines, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two passwords are not the same")
	}
	return first, nil
}

// askLine reads a line. Whoever ends the program meanwhile must not be left with a silent terminal, so it does not wait
// for the line then.
func askLine(ctx context.Context, s *Session, in *bufio.Reader, question string) (string, error) {
	fmt.Fprint(s.err, question)
	defer fmt.Fprintln(s.err)
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := in.ReadString('\n')
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		if a.err != nil {
			return "", fmt.Errorf("read the password: %w", a.err)
		}
		if line := strings.TrimRight(a.line, "\r\n"); line != "" {
			return line, nil
		}
		return "", errors.New("the password is empty")
	case <-ctx.Done():
		return "", errors.New("interrupted; nothing was changed")
	}
}

// stty asks the system's own program, which every terminal has beside it, to set the terminal.
func stty(terminal *os.File, arg string) error {
	cmd := exec.Command("stty", arg)
	cmd.Stdin = terminal
	return cmd.Run()
}
