package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

type tokenCommands struct {
	Get        tokenGet        `cmd:"" help:"Get an access token with an application's credentials, and print it."`
	Check      tokenCheck      `cmd:"" help:"Ask tokeninfo whether a token is valid and what it permits."`
	Introspect tokenIntrospect `cmd:"" help:"Introspect a token as an OAuth client (RFC 7662)."`
	Revoke     tokenRevoke     `cmd:"" help:"End a token before its time (RFC 7009)."`
}

// credentialFlags say as whom to ask the token endpoint. Secrets come from files, because others on the machine can
// read the arguments of a command.
type credentialFlags struct {
	Credentials  string `type:"path" placeholder:"DIR" help:"Directory with user.json and client.json, as mintmark agent keeps it."`
	ClientID     string `placeholder:"ID" help:"Instead of --credentials: the OAuth client."`
	ClientSecret string `name:"client-secret-file" type:"path" placeholder:"FILE" help:"File with the secret of --client-id. Without it: a public client."`
	Username     string `placeholder:"NAME" help:"With --client-id: the service user. Without it the token is the client's own (client_credentials)."`
	Password     string `name:"password-file" type:"path" placeholder:"FILE" help:"File with the password of --username."`
}

func (f credentialFlags) read() (client.Credentials, error) {
	switch {
	case f.Credentials != "" && f.ClientID+f.ClientSecret+f.Username+f.Password != "":
		return client.Credentials{}, usage(errors.New("--credentials stands alone: it names the client and the user already"))
	case f.Credentials != "":
		c, err := client.ReadCredentials(f.Credentials)
		if err != nil {
			return c, &explained{err: err, hint: "mintmark agent fetches them; --once fetches them once."}
		}
		return c, nil
	case f.ClientID == "":
		return client.Credentials{}, usage(errors.New("--credentials DIR or --client-id ID is needed, or a login (mintmark login)"))
	case (f.Username == "") != (f.Password == ""):
		return client.Credentials{}, usage(errors.New("--username and --password-file go together"))
	}
	c := client.Credentials{ClientID: f.ClientID, Username: f.Username}
	for path, into := range map[string]*string{f.ClientSecret: &c.ClientSecret, f.Password: &c.Password} {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return client.Credentials{}, fmt.Errorf("read the secret: %w", err)
		}
		if *into = strings.TrimRight(string(b), "\r\n"); *into == "" {
			return client.Credentials{}, fmt.Errorf("%s is empty", path)
		}
	}
	return c, nil
}

type tokenGet struct {
	credentialFlags
	Realm string   `default:"services" help:"Realm of the user."`
	Scope []string `arg:"" optional:"" help:"Scopes to ask for. Default: those the client has by default."`
}

func (tokenGet) Help() string {
	return `Prints the token alone, so that it can be used at once. With --username or a user.json the grant is password (for service users), else client_credentials. With neither --credentials nor --client-id it is the token of "mintmark login", renewed if need be.

Examples:

    mintmark token get --credentials ./credentials uid sales_order.read_all
    curl -H "Authorization: Bearer $(mintmark token get --credentials ./credentials)" https://orders.example.com/
    mintmark token get --client-id sales-orders --client-secret-file secret.txt`
}

func (cmd *tokenGet) Run(ctx context.Context, s *Session) error {
	if cmd.credentialFlags == (credentialFlags{}) {
		l, err := s.fresh(ctx, loginFile(), cmd.Scope)
		if err == nil {
			return s.printToken(client.Token{Value: l.AccessToken, Type: l.TokenType, Scopes: l.Scope, Realm: l.Realm, Expires: l.Expires})
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	credentials, err := cmd.read()
	if err != nil {
		return err
	}
	c, err := s.anonymous()
	if err != nil {
		return err
	}
	t, err := c.RequestToken(ctx, client.TokenRequest{Realm: cmd.Realm, Credentials: credentials, Scopes: cmd.Scope})
	if err != nil {
		return err
	}
	return s.printToken(t)
}

// printToken shows a token in a form of its own, because a Token does not print: this is the command to have it.
func (s *Session) printToken(t client.Token) error {
	shown := struct {
		AccessToken string    `json:"access_token"`
		TokenType   string    `json:"token_type"`
		Scope       []string  `json:"scope"`
		Realm       string    `json:"realm,omitempty"`
		Expires     time.Time `json:"expires"`
	}{t.Value, t.Type, t.Scopes, t.Realm, t.Expires.UTC().Truncate(time.Second)}
	return s.print(shown, func(w io.Writer) { fmt.Fprintln(w, t.Value) })
}

// tokenArgument takes a token from an argument, or from standard input to keep it out of the list of processes.
type tokenArgument struct {
	Token string `arg:"" help:"The token, or - to read it from standard input."`
}

func (a tokenArgument) read(in io.Reader) (string, error) {
	if a.Token != "-" {
		return a.Token, nil
	}
	b, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read the token from standard input: %w", err)
	}
	if token := strings.TrimSpace(string(b)); token != "" {
		return token, nil
	}
	return "", usage(errors.New("there was no token on standard input"))
}

type tokenCheck struct{ tokenArgument }

func (tokenCheck) Help() string {
	return `Exit code 77: the token is not valid.

Examples:

    mintmark token check "$TOKEN"
    mintmark token get --credentials ./credentials | mintmark token check -`
}

func (cmd *tokenCheck) Run(ctx context.Context, s *Session, in io.Reader) error {
	token, err := cmd.read(in)
	if err != nil {
		return err
	}
	c, err := s.anonymous()
	if err != nil {
		return err
	}
	info, err := c.TokenInfo(ctx, token)
	if errors.Is(err, api.ErrUnauthenticated) {
		return &explained{code: ExitNotAllowed, err: errors.New("the token is not valid"), hint: "It may have expired, been revoked, or come from another server."}
	}
	if err != nil {
		return err
	}
	return s.print(info, func(w io.Writer) {
		fields(w, "uid", info.UID, "realm", info.Realm, "scope", strings.Join(info.Scope, " "), "client", info.ClientID,
			"expires in", span(time.Duration(info.ExpiresIn)*time.Second))
	})
}

type tokenIntrospect struct {
	credentialFlags
	tokenArgument
}

func (tokenIntrospect) Help() string {
	return `Asks as a resource server does: with credentials of its own. Exit code 77: the token is not active.

Examples:

    mintmark token introspect --credentials ./credentials "$TOKEN"`
}

func (cmd *tokenIntrospect) Run(ctx context.Context, s *Session, in io.Reader) error {
	credentials, err := cmd.credentialFlags.read()
	if err != nil {
		return err
	}
	token, err := cmd.tokenArgument.read(in)
	if err != nil {
		return err
	}
	c, err := s.anonymous()
	if err != nil {
		return err
	}
	i, err := c.Introspect(ctx, token, credentials)
	if err != nil {
		return err
	}
	err = s.print(i, func(w io.Writer) {
		expires := ""
		if i.ExpiresAt > 0 {
			expires = s.at(time.Unix(i.ExpiresAt, 0))
		}
		fields(w, "active", strconv.FormatBool(i.Active), "subject", i.Subject, "username", i.Username, "realm", i.Realm, "client", i.ClientID,
			"scope", i.Scope, "issuer", i.Issuer, "audience", strings.Join(i.Audience, " "), "expires", expires)
	})
	if err == nil && !i.Active {
		return &explained{code: ExitNotAllowed, err: errors.New("the token is not active")}
	}
	return err
}

type tokenRevoke struct {
	credentialFlags
	tokenArgument
}

func (tokenRevoke) Help() string {
	return `A client may end the tokens that were made for it.

Examples:

    mintmark token revoke --credentials ./credentials "$TOKEN"`
}

func (cmd *tokenRevoke) Run(ctx context.Context, s *Session, in io.Reader) error {
	credentials, err := cmd.credentialFlags.read()
	if err != nil {
		return err
	}
	token, err := cmd.tokenArgument.read(in)
	if err != nil {
		return err
	}
	c, err := s.anonymous()
	if err != nil {
		return err
	}
	if err := c.RevokeToken(ctx, token, credentials); err != nil {
		return err
	}
	s.say("the token is revoked; every server knows within a second")
	return nil
}
