package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/mintmark/mintmark/bench/loadgen"
)

// An operation is what a client asks for, of mintmark and of the floor alike.
type operation struct {
	name    string
	request func(s *server) loadgen.Request                                                          // for operations that are not about a token
	token   func(s *server, token string) loadgen.Request                                            // for those that are
	script  func(s *server) func(worker int, do func(loadgen.Request) (loadgen.Answer, error)) error // for those of several requests
	seen    bool                                                                                     // each token was shown before; else each is shown once
	expect  string                                                                                   // in each answer
	prepare func(s *server) error                                                                    // before each pass; nil: nothing
	slow    int                                                                                      // how many times fewer of them are run; 0: as many as of the others

	// What is aimed at, with the load on the same two processors: requests a second, seconds of processor time per 1000,
	// and the ratio of that to the floor's that must not be exceeded.
	rate, cpu, gate float64
}

// tokeninfo has no gate of its own: those of introspection are put on it too. The code flow is two requests, counted as
// one, with two durable writes and, because openid is among its scopes, two signatures; the floor has nothing like it.
// The rate of refresh is the one for PostgreSQL: on SQLite 4,500 and 0.27 are aimed at.
var operations = []operation{
	{name: "client credentials", request: clientCredentials, expect: "access_token", rate: 10_000, cpu: 0.14, gate: 1.8},
	{name: "password, form", request: password, expect: "access_token", rate: 10_000, cpu: 0.14, gate: 1.8},
	{name: "password, JSON as a form", request: passwordJSON, expect: "access_token", rate: 10_000, cpu: 0.14, gate: 1.8},
	{name: "tokeninfo, first sight", token: tokeninfo, expect: `"realm":`, rate: 10_500, cpu: 0.14, gate: 1.5},
	{name: "tokeninfo, cached", token: knownTokeninfo, seen: true, expect: `"realm":`, rate: 22_000, cpu: 0.05, gate: 2.0},
	{name: "introspection, first sight", token: introspection, expect: `"active":true`, rate: 8_000, cpu: 0.18, gate: 1.5},
	{name: "introspection, cached", token: knownIntrospection, seen: true, expect: `"active":true`, rate: 20_000, cpu: 0.06, gate: 2.0},
	{name: "refresh", script: refresh, prepare: (*server).renewChains, rate: 6_000, cpu: 0.22, gate: 1.4},
	{name: "code flow, signed in", script: codeFlow, rate: 1_800, cpu: 0.8},
	{name: "login", script: login, slow: 40, rate: 80, cpu: 23, gate: 1.06},
}

func (op operation) about(s *server, tokens []string) []loadgen.Request {
	list := make([]loadgen.Request, len(tokens))
	for i, t := range tokens {
		list[i] = op.token(s, t)
	}
	return list
}

// post makes a request of the client. path is mintmark's; the floor has one of its own.
func (s *server) post(path, floorPath, body string) loadgen.Request {
	if s.engine == "" {
		path = floorPath
	}
	basic := base64.StdEncoding.EncodeToString([]byte(s.clientID + ":" + s.clientSecret))
	return loadgen.Request{Method: "POST", URL: s.base + path, Body: body, Header: map[string]string{
		"Authorization": "Basic " + basic, "Content-Type": "application/x-www-form-urlencoded",
	}}
}

func (s *server) get(path, floorPath, token string) loadgen.Request {
	if s.engine == "" {
		path = floorPath
	}
	return loadgen.Request{Method: "GET", URL: s.base + path, Header: map[string]string{"Authorization": "Bearer " + token}}
}

const scopes = "uid sales_order.read_all"

func clientCredentials(s *server) loadgen.Request {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scopes}}
	return s.post("/oauth2/token", "/token", form.Encode())
}

func password(s *server) loadgen.Request {
	form := url.Values{"grant_type": {"password"}, "username": {s.username}, "password": {s.password}, "scope": {scopes}}
	return s.post("/oauth2/token?realm=services", "/token", form.Encode())
}

// passwordJSON is what curl sends of a request.json; the floor reads no JSON, and gets the form.
func passwordJSON(s *server) loadgen.Request {
	r := password(s)
	if s.engine != "" {
		body := fmt.Sprintf(`{"grant_type": "password","username": %q,"password": %q,"scope": %q}`, s.username, s.password, scopes)
		r = s.post("/oauth2/access_token?realm=services", "", body)
	}
	return r
}

func tokeninfo(s *server, token string) loadgen.Request {
	return s.get("/oauth2/tokeninfo", "/tokeninfo", token)
}

func knownTokeninfo(s *server, token string) loadgen.Request {
	return s.get("/oauth2/tokeninfo", "/tokeninfo-known", token)
}

func introspection(s *server, token string) loadgen.Request {
	return s.post("/oauth2/introspect", "/introspect", "token="+token)
}

func knownIntrospection(s *server, token string) loadgen.Request {
	return s.post("/oauth2/introspect", "/introspect-known", "token="+token)
}

// tokens gets n different tokens.
func (s *server) tokens(n, connections int) ([]string, error) {
	var tokens []string
	r, err := loadgen.Run(loadgen.Load{
		Requests: []loadgen.Request{clientCredentials(s)}, Connections: connections, Count: n, Limit: passLimit, Expect: "access_token",
		Collect: func(body []byte) {
			var answer struct {
				Token string `json:"access_token"`
			}
			if json.Unmarshal(body, &answer) == nil {
				tokens = append(tokens, answer.Token)
			}
		},
	})
	if err == nil && len(tokens) != n {
		err = fmt.Errorf("%d of %d tokens: %s", len(tokens), n, r.FirstError)
	}
	return tokens, err
}
