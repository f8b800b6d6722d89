package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/qr"
)

// A person signs in at this terminal by a browser somewhere else (RFC 8628): no password is ever typed here.

type loginCommand struct {
	ClientID string   `env:"MINTMARK_CLIENT_ID" required:"" placeholder:"ID" help:"Public OAuth client that may let devices act for people (mintmark client set --grant urn:ietf:params:oauth:grant-type:device_code)."`
	Scope    []string `placeholder:"SCOPE" default:"openid,profile,offline_access" help:"Scopes to ask for. Repeat it for more. With offline_access the login lasts until it is ended."`
	QR       bool     `name:"qr" default:"true" negatable:"" help:"Show the address as a QR code."`
}

func (loginCommand) Help() string {
	return `Shows a code and an address. Open the address on any device that has a browser, sign in, compare the code and allow it. The login is kept in mintmark/login.json in your configuration directory, which only you can read; "mintmark token get" prints its access token and renews it, "mintmark logout" ends it.

Examples:

    mintmark login --client-id cli_01k8p4x0v3c9m6t2r5w8y1z4q7
    curl -H "Authorization: Bearer $(mintmark token get)" https://orders.example.com/
    mintmark logout`
}

func (cmd *loginCommand) Run(ctx context.Context, s *Session) error {
	path := loginFile()
	if path == "" {
		return errors.New("there is no configuration directory to keep the login in: set XDG_CONFIG_HOME")
	}
	c, err := s.anonymous()
	if err != nil {
		return err
	}
	as := client.Credentials{ClientID: cmd.ClientID}
	d, err := c.AuthorizeDevice(ctx, as, cmd.Scope...)
	if err != nil {
		return err
	}
	s.say("open %s and type the code %s", d.VerificationURI, d.UserCode)
	if code, err := qr.New(d.VerificationURIComplete); cmd.QR && err == nil && d.VerificationURIComplete != "" {
		fmt.Fprintf(s.err, "\n%s\n", code.Text())
	}
	s.say("waiting for up to %s…", span(time.Duration(d.ExpiresIn)*time.Second))
	g, err := c.WaitDevice(ctx, as, d, s.pause)
	if err != nil {
		return deviceFailed(err)
	}
	l := login{Server: s.globals.Server, ClientID: cmd.ClientID}
	l.take(g)
	if err := l.store(path); err != nil {
		return err
	}
	s.say("signed in; the login is kept in %s", path)
	shown := struct {
		Server   string    `json:"server"`
		ClientID string    `json:"client_id"`
		Scope    []string  `json:"scope"`
		Realm    string    `json:"realm,omitempty"`
		Expires  time.Time `json:"expires"`
		Renews   bool      `json:"renews"`
	}{l.Server, l.ClientID, l.Scope, l.Realm, l.Expires, l.RefreshToken != ""}
	return s.print(shown, func(io.Writer) {})
}

// deviceFailed says in a person's words how it ended.
func deviceFailed(err error) error {
	var no *client.OAuthError
	if errors.As(err, &no) {
		switch no.Code {
		case "access_denied":
			return &explained{code: ExitNotAllowed, err: errors.New("it was not allowed")}
		case "expired_token":
			return &explained{code: ExitTemporary, err: errors.New("nobody has decided in time"), hint: "Run mintmark login once more."}
		}
	}
	return err
}

// login is what is kept of one, in a file that only its owner can read.
type login struct {
	Server       string    `json:"server"`
	ClientID     string    `json:"client_id"`
	AccessToken  string    `json:"access_token"`
	TokenType    string    `json:"token_type"`
	RefreshToken string    `json:"refresh_token,omitempty"`
	Scope        []string  `json:"scope"`
	Realm        string    `json:"realm,omitempty"`
	Expires      time.Time `json:"expires"`
}

func loginFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "mintmark", "login.json")
}

func (l *login) take(g client.Grant) {
	l.AccessToken, l.TokenType, l.Scope, l.Realm, l.Expires = g.Value, g.Type, g.Scopes, g.Realm, g.Expires.UTC().Truncate(time.Second)
	if g.RefreshToken != "" {
		l.RefreshToken = g.RefreshToken
	}
}

// readLogin reads what is kept. It is an error with the kind fs.ErrNotExist if nobody has signed in.
func (s *Session) readLogin(path string) (*login, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		s.warn("others can read %s; run: chmod 600 %s", path, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var l login
	if err := json.Unmarshal(b, &l); err != nil || l.Server == "" || l.ClientID == "" || l.AccessToken == "" {
		return nil, &explained{code: ExitNotAllowed, err: fmt.Errorf("%s does not hold a login", path), hint: "Run mintmark login once more."}
	}
	return &l, nil
}

// store replaces the file as a whole, so that whoever reads it meanwhile sees the old login or the new one.
func (l *login) store(path string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "login-*") // its mode is 0600
	if err != nil {
		return fmt.Errorf("keep the login: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keep the login: %w", err), os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(append(b, '\n')); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// fresh is the access token of the login, renewed if it is about to expire or other scopes are asked for. It goes to the
// server that gave it, whatever --server says: a refresh token is shown to nobody else.
func (s *Session) fresh(ctx context.Context, path string, scopes []string) (*login, error) {
	l, err := s.readLogin(path)
	if err != nil {
		return nil, err
	}
	same := len(scopes) == 0 || slices.Equal(slices.Sorted(slices.Values(scopes)), slices.Sorted(slices.Values(l.Scope)))
	if same && s.clock.Now().Before(l.Expires.Add(-time.Minute)) {
		return l, nil
	}
	if l.RefreshToken == "" {
		return nil, &explained{code: ExitNotAllowed, err: errors.New("the login has expired, or does not hold these scopes, and cannot be renewed"), hint: "Run mintmark login once more, with --scope offline_access."}
	}
	c, err := client.New(l.Server, client.Options{UserAgent: "mintmark-cli", Timeout: s.globals.Timeout})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	g, err := c.Refresh(ctx, client.Credentials{ClientID: l.ClientID}, l.RefreshToken, scopes...)
	if errors.Is(err, api.ErrUnauthenticated) {
		return nil, &explained{code: ExitNotAllowed, err: errors.New("the login is over"), hint: "Run mintmark login once more."}
	}
	if err != nil {
		return nil, err
	}
	l.take(g)
	return l, l.store(path)
}

type logoutCommand struct{}

func (logoutCommand) Help() string {
	return `Ends the login of "mintmark login" at the server, with all its tokens, and removes it from this machine.

Examples:

    mintmark logout`
}

func (logoutCommand) Run(ctx context.Context, s *Session) error {
	path := loginFile()
	l, err := s.readLogin(path)
	if errors.Is(err, fs.ErrNotExist) {
		s.say("nobody is signed in")
		return nil
	}
	if err != nil {
		return err
	}
	c, err := client.New(l.Server, client.Options{UserAgent: "mintmark-cli", Timeout: s.globals.Timeout})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	token := l.RefreshToken
	if token == "" {
		token = l.AccessToken
	}
	if err := c.RevokeToken(ctx, token, client.Credentials{ClientID: l.ClientID}); err != nil {
		return fmt.Errorf("the login is still there, because it could not be ended at %s: %w", plain(l.Server), err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the login: %w", err)
	}
	s.say("signed out")
	return nil
}
