package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/bench/loadgen"
	"github.com/mintmark/mintmark/client"
)

// The person of these measurements, and the client that alice signs in to.
const (
	alicePassword = "correct horse battery staple"
	aliceScope    = "openid offline_access"
	redirectURI   = "https://shop.example.org/cb"
	verifier      = "the verifier of every code in these measurements"
)

// signedIn is what the load goes on from after alice has signed in and allowed everything once.
type signedIn struct {
	cookie string   // of her browser
	chains []string // refresh tokens, one for each connection
}

// chains is how many refresh tokens are there at most, one for each connection.
const chains = 64

// registerPerson makes alice known, and lets the application sign her in.
func (s *server) registerPerson(ctx context.Context, c *client.Client) error {
	if _, err := c.CreateUser(ctx, api.CreateUser{Realm: "customers", Username: "alice", Password: alicePassword}); err != nil {
		return err
	}
	_, err := c.PutClientSettings(ctx, "sales-orders", api.PutClientSettings{
		RedirectURIs: []string{redirectURI}, GrantTypes: []string{"authorization_code", "password", "client_credentials"}, RefreshTokens: "offline_access",
	})
	return err
}

func (s *server) authorizeURL() string {
	sum := sha256.Sum256([]byte(challenged()))
	q := url.Values{"client_id": {s.clientID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "scope": {aliceScope}, "state": {"x"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}
	return s.base + "/oauth2/authorize?" + q.Encode()
}

// challenged is the verifier in the alphabet that it must have.
func challenged() string { return strings.ReplaceAll(verifier, " ", "-") }

var (
	hiddenField = regexp.MustCompile(`<input type="hidden"[^>]* name="([^"]*)" value="([^"]*)"`)
	postForm    = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
)

// signIn has alice sign in and allow what the client asks for, and begins a family of refresh tokens for each connection.
func (s *server) signIn(ctx context.Context) (*signedIn, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), s.base) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	send := func(method, address string, form url.Values) (*http.Response, string, error) {
		r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, "", err
		}
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		res, err := browser.Do(r)
		if err != nil {
			return nil, "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res, string(body), err
	}
	res, body, err := send(http.MethodGet, s.authorizeURL(), nil)
	for range 3 {
		if err != nil || res.StatusCode/100 == 3 {
			break
		}
		form := url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {alicePassword}, "decision": {"allow"}}
		for _, f := range hiddenField.FindAllStringSubmatch(body, -1) {
			if !form.Has(f[1]) {
				form.Set(f[1], f[2])
			}
		}
		action := postForm.FindStringSubmatch(body)
		if action == nil {
			return nil, fmt.Errorf("no form to sign in with: %d %s", res.StatusCode, body)
		}
		res, body, err = send(http.MethodPost, s.base+action[1], form)
	}
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(s.base)
	if err != nil {
		return nil, err
	}
	var in signedIn
	for _, c := range jar.Cookies(u) {
		in.cookie += c.Name + "=" + c.Value + "; "
	}
	in.cookie = strings.TrimSuffix(in.cookie, "; ")
	return &in, s.begin(&in)
}

// begin begins a family of refresh tokens for each connection.
func (s *server) begin(in *signedIn) error {
	in.chains = nil
	_, err := loadgen.Run(loadgen.Load{Server: s.base, Connections: 1, Count: chains, Limit: passLimit,
		Script: func(_ int, do func(loadgen.Request) (loadgen.Answer, error)) error {
			token, err := s.codeFlow(in, do)
			in.chains = append(in.chains, token)
			return err
		}})
	if err == nil && (len(in.chains) != chains || in.chains[0] == "") {
		err = errors.New("alice could not sign in to the client")
	}
	return err
}

// renewChains begins the families anew: of the grants of one person for one client the oldest end when there are more
// than a hundred, and the code flow makes thousands.
func (s *server) renewChains() error {
	if s.store != "" {
		return nil // those of the floor never end
	}
	return s.begin(s.alice)
}

// codeFlow is what a client does when somebody who is signed in comes back to it: a code, and tokens for the code.
func (s *server) codeFlow(in *signedIn, do func(loadgen.Request) (loadgen.Answer, error)) (refreshToken string, err error) {
	a, err := do(loadgen.Request{Method: "GET", URL: s.authorizeURL(), Header: map[string]string{"Cookie": in.cookie}})
	if err != nil {
		return "", err
	}
	to, err := url.Parse(a.Location)
	if err != nil || to.Query().Get("code") == "" {
		return "", fmt.Errorf("no code: %d %s %.200s", a.Status, a.Location, a.Body)
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {redirectURI}, "code_verifier": {challenged()}}
	if a, err = do(s.post("/oauth2/token", "", form.Encode())); err != nil {
		return "", err
	}
	return refreshTokenOf(a)
}

// refreshTokenOf cuts the refresh token out of an answer, which costs the machine less than to read all of it.
func refreshTokenOf(a loadgen.Answer) (string, error) {
	_, rest, found := bytes.Cut(a.Body, []byte(`"refresh_token":"`))
	token, _, whole := bytes.Cut(rest, []byte(`"`))
	if a.Status != http.StatusOK || !found || !whole {
		return "", fmt.Errorf("no refresh token: %d %.200s", a.Status, a.Body)
	}
	return string(token), nil
}

func codeFlow(s *server) func(int, func(loadgen.Request) (loadgen.Answer, error)) error {
	return func(_ int, do func(loadgen.Request) (loadgen.Answer, error)) error {
		_, err := s.codeFlow(s.alice, do)
		return err
	}
}

func refresh(s *server) func(int, func(loadgen.Request) (loadgen.Answer, error)) error {
	return func(worker int, do func(loadgen.Request) (loadgen.Answer, error)) error {
		a, err := do(s.post("/oauth2/token", "/refresh-"+s.store, "grant_type=refresh_token&refresh_token="+s.alice.chains[worker]))
		if err != nil {
			return err
		}
		s.alice.chains[worker], err = refreshTokenOf(a)
		return err
	}
}

// durable are the floor's views of itself: one for each database that it keeps refresh tokens in.
func (s *server) durable(engine string) *server {
	f := *s
	f.name, f.store, f.alice = "floor on "+engine, engine, &signedIn{}
	for i := range chains {
		f.alice.chains = append(f.alice.chains, fmt.Sprintf("seed-%d", i))
	}
	f.pids = map[string]int{"server": s.pids["server"]}
	if engine == "postgres" && s.pids["database"] != 0 {
		f.pids["database"] = s.pids["database"]
	}
	return &f
}

// floorStores are the arguments by which the floor keeps refresh tokens on the engines.
func (s *server) floorStores(ctx context.Context, engines []string) ([]string, error) {
	var args []string
	for _, e := range engines {
		where := filepath.Join(s.dir, "floor.db")
		if e == "postgres" {
			var err error
			if where, err = s.makeDatabase(ctx); err != nil {
				return nil, err
			}
		}
		args = append(args, e, where)
	}
	return args, nil
}
