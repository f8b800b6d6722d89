package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// TokenOptions for NewTokenSource.
type TokenOptions struct {
	Server     string       // such as https://auth.example.com
	Directory  string       // where user.json and client.json lie; read at each renewal
	Realm      string       // of the service user. Empty: services
	Scopes     []string     // empty: the client's default scopes
	HTTPClient *http.Client // nil: one with a limit of 30 seconds
	UserAgent  string       // empty: "mintmark-go"
	// Renewed is told how each renewal ended (nil: it worked), for logs and metrics, before those who wait for the token
	// get it. May be nil. It must be quick and may run at any time.
	Renewed func(error)
}

// TokenSource keeps one access token of an application fresh. It is safe for concurrent use and needs no Close: it
// works only while somebody asks.
//
// A token is renewed before a fifth of its life or 60 seconds are left, whichever is more (but never before half of its
// life is over). Until it expires the old one is handed out: during the renewal, and when the renewal fails, so that a
// server that is away for a while is not noticed. Failed renewals are repeated after 1, 2, 4… up to 30 seconds.
type TokenSource struct {
	client *Client
	o      TokenOptions

	mu     sync.Mutex
	token  Token         // the newest; zero: none yet. Owned by mu
	flight *renewal      // the one in progress, or nil. Owned by mu
	pause  time.Duration // before the next renewal of a token that is still valid. Owned by mu
	notYet time.Time     // no renewal before this one, unless the token has expired. Owned by mu
}

// renewal is one request for a token that any number of callers wait for.
type renewal struct {
	done  chan struct{} // closed when token and err are set
	token Token
	err   error
}

// renewalLimit bounds one renewal, both tries of it.
const renewalLimit = 30 * time.Second

// NewTokenSource makes a source. It asks for nothing yet: the credentials may come later.
func NewTokenSource(o TokenOptions) (*TokenSource, error) {
	c, err := New(o.Server, Options{HTTPClient: o.HTTPClient, UserAgent: o.UserAgent})
	if err != nil {
		return nil, err
	}
	if o.Directory == "" {
		return nil, errors.New("a token source needs the directory of the credentials")
	}
	return &TokenSource{client: c, o: o}, nil
}

// AccessToken is the value of Token, in the form that Options.Token takes.
func (s *TokenSource) AccessToken(ctx context.Context) (string, error) {
	t, err := s.Token(ctx)
	return t.Value, err
}

// Token answers a valid token: mostly from memory, else after one request, which all who wait share. It fails only
// when there is none and none can be had before ctx ends.
func (s *TokenSource) Token(ctx context.Context) (Token, error) {
	now := time.Now()
	s.mu.Lock()
	token := s.token
	valid := now.Before(token.Expires)
	if valid && (now.Before(token.renewAt()) || now.Before(s.notYet)) {
		s.mu.Unlock()
		return token, nil
	}
	if s.flight == nil {
		s.flight = &renewal{done: make(chan struct{})}
		// Whoever asked first may go away; the others wait on.
		go s.renew(context.WithoutCancel(ctx), s.flight)
	}
	flight := s.flight
	s.mu.Unlock()
	if valid {
		return token, nil
	}
	select {
	case <-flight.done:
		return flight.token, flight.err
	case <-ctx.Done():
		return Token{}, fmt.Errorf("wait for a token: %w", context.Cause(ctx))
	}
}

// Forget drops a token that a resource server has refused (it was revoked), so that the next Token asks anew. Another
// token than the current one is ignored: it was replaced meanwhile.
func (s *TokenSource) Forget(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.Value == value {
		s.token, s.notYet = Token{}, time.Time{}
	}
}

// renewAt is when a token should be renewed.
func (t Token) renewAt() time.Time {
	life := t.Expires.Sub(t.Issued)
	left := min(max(life/5, time.Minute), life/2)
	return t.Expires.Add(-left)
}

func (s *TokenSource) renew(ctx context.Context, flight *renewal) {
	ctx, cancel := context.WithTimeout(ctx, renewalLimit)
	defer cancel()
	flight.token, flight.err = s.request(ctx)
	s.mu.Lock()
	s.flight = nil
	if flight.err == nil {
		s.token, s.pause, s.notYet = flight.token, 0, time.Time{}
	} else {
		s.pause = min(max(2*s.pause, time.Second), 30*time.Second)
		s.notYet = time.Now().Add(s.pause)
	}
	s.mu.Unlock()
	if s.o.Renewed != nil {
		s.o.Renewed(flight.err)
	}
	close(flight.done)
}

// request asks with what lies in the directory now. Should the server not like it, the pair may have been replaced
// between the reading and the asking (or we were very slow): if it was, the new one gets its chance at once.
func (s *TokenSource) request(ctx context.Context) (Token, error) {
	credentials, err := ReadCredentials(s.o.Directory)
	if err != nil {
		return Token{}, err
	}
	token, err := s.ask(ctx, credentials)
	var refusal *OAuthError
	if !errors.As(err, &refusal) || !refusal.refused() {
		return token, err
	}
	fresh, readErr := ReadCredentials(s.o.Directory)
	if readErr != nil || fresh == credentials {
		return Token{}, err
	}
	return s.ask(ctx, fresh)
}

func (s *TokenSource) ask(ctx context.Context, c Credentials) (Token, error) {
	return s.client.RequestToken(ctx, TokenRequest{Realm: s.o.Realm, Credentials: c, Scopes: s.o.Scopes})
}
