package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

// inProcess carries requests to a handler without a network, so that a test can hold time still around it.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

func through(h http.HandlerFunc) *http.Client { return &http.Client{Transport: inProcess{h}} }

func newClient(t *testing.T, h http.HandlerFunc, o client.Options) *client.Client {
	t.Helper()
	o.HTTPClient = through(h)
	c, err := client.New("http://auth.test", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewRefusesWhatIsNoServer(t *testing.T) {
	for _, base := range []string{"", "auth.example.com", "ftp://auth.example.com", "http://", "http://u:p@auth.example.com", "http://auth.example.com?x=1", "http://auth.example.com#x", "http://[::1"} {
		if _, err := client.New(base, client.Options{}); err == nil {
			t.Errorf("New(%q) took it", base)
		} else if strings.Contains(err.Error(), ":p@") {
			t.Errorf("New(%q) prints the password: %v", base, err)
		}
	}
}

func TestCallSendsTokenAgentAndEscapedPath(t *testing.T) {
	calls := 0
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.Header.Get("Authorization"), fmt.Sprintf("Bearer token-%d", calls); got != want {
			t.Errorf("Authorization: %q, want %q", got, want)
		}
		if got := r.Header.Get("User-Agent"); got != "shop/1" {
			t.Errorf("User-Agent: %q", got)
		}
		if r.URL.EscapedPath() != "/api/resource-types/a%2Fb%3F" {
			t.Errorf("path %q", r.URL.EscapedPath())
		}
		io.WriteString(w, `{"id":"a/b?"}`)
	}, client.Options{UserAgent: "shop/1", Token: func(context.Context) (string, error) {
		calls++
		return fmt.Sprintf("token-%d", calls), nil
	}})
	for range 2 {
		if rt, err := c.ResourceType(t.Context(), "a/b?"); err != nil || rt.ID != "a/b?" {
			t.Errorf("ResourceType: %v, %v", rt, err)
		}
	}
}

func TestTokenErrorStopsTheCall(t *testing.T) {
	broken := errors.New("broken")
	c := newClient(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") },
		client.Options{Token: func(context.Context) (string, error) { return "", broken }})
	if _, err := c.ResourceType(t.Context(), "x"); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestEmptyAndDottedIDsAreRefusedBeforeTheNetwork(t *testing.T) {
	c := newClient(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") }, client.Options{})
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.ResourceType(t.Context(), id); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("ResourceType(%q): %v", id, err)
		}
	}
}

func TestErrorsOfTheServer(t *testing.T) {
	for name, want := range map[string]struct {
		status      int
		contentType string
		body        string
		is          error
		says        string
	}{
		"problem":       {404, "application/problem+json", `{"status":404,"code":"not_found","detail":"There is no such type."}`, api.ErrNotFound, "not_found: There is no such type."},
		"charset":       {409, "application/problem+json; charset=utf-8", `{"code":"exists"}`, api.ErrConflict, "exists"},
		"fields":        {422, "application/problem+json", `{"code":"invalid","errors":[{"location":"body.name","message":"missing"}]}`, api.ErrInvalid, "body.name: missing"},
		"status lies":   {403, "application/problem+json", `{"status":200,"code":"forbidden"}`, api.ErrForbidden, "forbidden"},
		"a proxy":       {502, "text/html", `<h1>secret page</h1>`, api.ErrUnavailable, "answered 502 Bad Gateway and no problem document"},
		"broken":        {500, "application/problem+json", `{`, api.ErrInternal, "no problem document"},
		"unknown":       {401, "application/problem+json", `{"code":"unauthenticated"}`, api.ErrUnauthenticated, "unauthenticated"},
		"changed":       {412, "application/problem+json", `{"code":"changed"}`, api.ErrPreconditionFailed, "changed"},
		"limited":       {429, "application/problem+json", `{"code":"limited"}`, api.ErrLimited, "limited"},
		"redirect":      {302, "text/html", ``, api.ErrInternal, "answered 302 Found"},
		"not a success": {304, "", ``, api.ErrInternal, "304"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", want.contentType)
				w.WriteHeader(want.status)
				io.WriteString(w, want.body)
			}, client.Options{})
			_, err := c.ResourceType(t.Context(), "x")
			var p *api.Problem
			if !errors.Is(err, want.is) || !errors.As(err, &p) || p.Status != want.status {
				t.Errorf("error %#v is not %v with status %d", err, want.is, want.status)
			}
			if err != nil && (!strings.Contains(err.Error(), want.says) || strings.Contains(err.Error(), "secret page")) {
				t.Errorf("error says %q, want %q", err, want.says)
			}
		})
	}
}

func TestAnswerThatIsNotJSON(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, client.Options{})
	if got, err := c.ResourceType(t.Context(), "x"); err == nil || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestHugeAnswerIsRefused(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"id":"`+strings.Repeat("x", 17<<20)+`"}`)
	}, client.Options{})
	if _, err := c.ResourceType(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v", err)
	}
}

func TestUnreachableNamesNoQuery(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.RequestToken(t.Context(), client.TokenRequest{Realm: "canary", Credentials: client.Credentials{Username: "u", Password: "p"}})
	if !errors.Is(err, client.ErrUnreachable) || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v", err)
	}
}

// A redirect would carry the token to wherever it points.
func TestNoRedirectIsFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	c, err := client.New(server.URL, client.Options{Token: client.StaticToken("t")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ResourceType(t.Context(), "x"); err == nil {
		t.Error("no error")
	}
	if _, err := c.TokenInfo(t.Context(), "x"); err == nil {
		t.Error("no error")
	}
}
