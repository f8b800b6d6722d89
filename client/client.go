// Package client is the Go SDK of mintmark: the management API with types, credentials from a directory, and tokens
// that renew themselves.
//
// An application that holds the two files that `mintmark agent` keeps for it needs three lines:
//
//	tokens, err := client.NewTokenSource(client.TokenOptions{
//		Server: "https://auth.example.com", Directory: "/meta/credentials", Scopes: []string{"sales_order.read_all"}})
//	…
//	token, err := tokens.Token(ctx) // from memory; renewed behind the scenes
//
// It guards two things. A secret appears in no error and in no text that the package makes: types that hold one print
// as [redacted]. And a failure never takes away what still works: a token is used until it expires even when renewing
// it fails, and an answer that makes no sense is an error, never an empty result.
//
// Every error of the server is an *api.Problem (management API) or an *OAuthError (token endpoint), and both answer to
// errors.Is with the sentinels of package api. The package needs nothing but package api and the standard library.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
)

// ErrUnreachable is in the chain of an error when no answer came: the name did not resolve, the connection failed, or
// the time was over.
var ErrUnreachable = errors.New("the server cannot be reached")

// maxAnswer bounds what is read of an answer, so that a wrong address cannot fill the memory.
const maxAnswer = 16 << 20

// Options for New. The zero value calls as nobody.
type Options struct {
	// Token gives the bearer token (or access key) to send, for each call anew. Nil: none is sent. See StaticToken and
	// TokenSource.AccessToken.
	Token func(context.Context) (string, error)
	// HTTPClient sends the requests. Nil: one that follows no redirect.
	HTTPClient *http.Client
	// Timeout bounds each request where HTTPClient is nil. 0: 30 seconds.
	Timeout time.Duration
	// UserAgent names the calling program. Empty: "mintmark-go".
	UserAgent string
}

// StaticToken is a token that never changes, such as an administrator's access key.
func StaticToken(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}

// Client calls one server. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	token     func(context.Context) (string, error)
	http      *http.Client
	userAgent string
}

// New makes a client of the server at base, such as https://auth.example.com.
func New(base string, o Options) (*Client, error) {
	u, err := parseServer(base)
	if err != nil {
		return nil, err
	}
	return &Client{base: u, token: o.Token, http: httpClient(o.HTTPClient, o.Timeout), userAgent: userAgent(o.UserAgent)}, nil
}

func parseServer(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a server: write it like https://auth.example.com", base)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the URL of a server (%s) holds nothing after the path and no password", u.Redacted())
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func httpClient(c *http.Client, timeout time.Duration) *http.Client {
	if c != nil {
		return c
	}
	return &http.Client{
		Timeout: cmp.Or(timeout, 30*time.Second),
		// No endpoint redirects, so what redirects is something else, and must not see the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func userAgent(s string) string {
	if s == "" {
		return "mintmark-go"
	}
	return s
}

// call is one request of the management API.
type call struct {
	method  string
	path    []string // segments after /api, not escaped
	query   url.Values
	body    any    // nil: none
	ifMatch string // "": no condition
	create  bool
	etag    *string
}

// CallOption changes one call.
type CallOption func(*call)

// ETag stores the entity tag of what was read or written, for IfMatch.
func ETag(into *string) CallOption { return func(c *call) { c.etag = into } }

// IfMatch makes the call fail with api.ErrPreconditionFailed unless the thing still is as it was when it had this
// entity tag.
func IfMatch(etag string) CallOption { return func(c *call) { c.ifMatch = etag } }

// CreateOnly makes the call fail with api.ErrPreconditionFailed if the thing exists already.
func CreateOnly() CallOption { return func(c *call) { c.create = true } }

// do sends what and decodes the answer into out (nil: it is thrown away).
func (c *Client) do(ctx context.Context, what call, out any, options ...CallOption) error {
	for _, o := range options {
		o(&what)
	}
	req, err := c.request(ctx, what)
	if err != nil {
		return err
	}
	answer, err := send(c.http, req)
	if err != nil {
		return err
	}
	if answer.status < 200 || answer.status > 299 {
		return answer.problem()
	}
	if out != nil {
		if err := json.Unmarshal(answer.body, out); err != nil {
			// The cause may quote the answer, and some answers hold a secret.
			return fmt.Errorf("the answer to %s is not what it should be (is %s a mintmark server?)", answer.request, c.base.Redacted())
		}
	}
	if what.etag != nil {
		*what.etag = answer.header.Get("ETag")
	}
	return nil
}

// Page asks for a part of a list. The zero value asks for the first, as long as the server likes.
type Page struct {
	Cursor string // what Next of the page before said
	Limit  int
}

func (p Page) query() url.Values {
	q := url.Values{}
	if p.Cursor != "" {
		q.Set("cursor", p.Cursor)
	}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}

func get[T any](ctx context.Context, c *Client, query url.Values, o []CallOption, path ...string) (*T, error) {
	return answerOf[T](ctx, c, call{method: http.MethodGet, path: path, query: query}, o)
}

// put writes a whole thing: what the body leaves out is emptied.
func put[T any](ctx context.Context, c *Client, body any, o []CallOption, path ...string) (*T, error) {
	return answerOf[T](ctx, c, call{method: http.MethodPut, path: path, body: body}, o)
}

func post[T any](ctx context.Context, c *Client, body any, path ...string) (*T, error) {
	return answerOf[T](ctx, c, call{method: http.MethodPost, path: path, body: body}, nil)
}

func answerOf[T any](ctx context.Context, c *Client, what call, o []CallOption) (*T, error) {
	out := new(T)
	if err := c.do(ctx, what, out, o...); err != nil {
		return nil, err
	}
	return out, nil
}

func (c *Client) remove(ctx context.Context, o []CallOption, path ...string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: path}, nil, o...)
}

func (c *Client) request(ctx context.Context, what call) (*http.Request, error) {
	var body io.Reader
	if what.body != nil {
		b, err := json.Marshal(what.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	u := *c.base
	for _, segment := range append([]string{"api"}, what.path...) {
		if segment == "" || segment == "." || segment == ".." {
			return nil, fmt.Errorf("%q is not an id: %w", segment, api.ErrInvalid)
		}
		u.RawPath = u.EscapedPath() + "/" + url.PathEscape(segment)
		u.Path += "/" + segment
	}
	u.RawQuery = what.query.Encode()
	req, err := http.NewRequestWithContext(ctx, what.method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if what.ifMatch != "" {
		req.Header.Set("If-Match", what.ifMatch)
	}
	if what.create {
		req.Header.Set("If-None-Match", "*")
	}
	if c.token != nil {
		token, err := c.token(ctx)
		if err != nil {
			return nil, fmt.Errorf("get a token for %s: %w", c.base.Redacted(), err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	return req, nil
}

// answer is what came back, read to its end.
type answer struct {
	request string // method and path, for errors; never the query, which may hold a token
	status  int
	header  http.Header
	body    []byte
}

func send(c *http.Client, req *http.Request) (answer, error) {
	name := req.Method + " " + req.URL.Path
	resp, err := c.Do(req)
	if err != nil {
		// url.Error prints the whole address with its query; its cause says enough.
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return answer{}, fmt.Errorf("%s at %s: %w: %w", name, req.URL.Host, ErrUnreachable, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("%s at %s: %w: read the answer: %w", name, req.URL.Host, ErrUnreachable, err)
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("%s at %s: the answer is longer than %d bytes", name, req.URL.Host, maxAnswer)
	}
	return answer{request: name, status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// problem turns an answer that is no success into an error. What is not one of our documents (a proxy's page) becomes
// one without its text, which may be long and may be anything.
func (a answer) problem() error {
	p := new(api.Problem)
	if mediaType(a.header) != "application/problem+json" || json.Unmarshal(a.body, p) != nil {
		p = &api.Problem{Code: "unexpected_answer", Detail: fmt.Sprintf("%s answered %d %s and no problem document.", a.request, a.status, http.StatusText(a.status))}
	}
	p.Status = a.status
	return p
}

func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}
