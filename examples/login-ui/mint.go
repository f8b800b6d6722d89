package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// mint is mintmark's Mithril interface, as far as a login page needs it.
type mint struct {
	base   string
	client string // id of the page's own client
	http   *http.Client
	from   string // address of the browser for which is asked
}

// of asks for a browser at an address. mintmark believes it if this page is among its trusted_proxies.
func (m mint) of(browser string) mint {
	m.from = browser
	return m
}

// sessionScopes are what the page does with a session: ask who it is, see what was allowed before, and allow.
const sessionScopes = "app:authorize apps:read user:read"

// refused is an answer that is not 2xx.
type refused struct {
	status  int
	Type    string
	Message string
	retry   string
}

func (e *refused) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.Type, e.Message) }

// call sends a request and reads data, and the Location if there is one. token may be empty.
func (m mint) call(ctx context.Context, token, method, path string, body, data any) (location string, err error) {
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return "", err
		}
		sent = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, m.base+"/mithril"+path, sent)
	if err != nil {
		return "", err
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if m.from != "" {
		r.Header.Set("X-Forwarded-For", m.from)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := m.http.Do(r)
	if err != nil {
		return "", errors.New("mintmark cannot be reached") // the cause names the URL
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return "", errors.New("mintmark's answer ended early")
	}
	var envelope struct {
		Data  json.RawMessage
		Error struct{ Type, Message string }
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &envelope); err != nil {
			return "", fmt.Errorf("mintmark answered %d and no JSON", answer.StatusCode)
		}
	}
	if answer.StatusCode/100 != 2 {
		return "", &refused{answer.StatusCode, envelope.Error.Type, envelope.Error.Message, answer.Header.Get("Retry-After")}
	}
	if data != nil {
		err = json.Unmarshal(envelope.Data, data)
	}
	return answer.Header.Get("Location"), err
}

func newMint(base, client string) mint {
	return mint{base: strings.TrimSuffix(base, "/"), client: client, http: &http.Client{Timeout: 20 * time.Second}}
}

// signIn asks for a session token.
func (m mint) signIn(ctx context.Context, email, password string) (token string, err error) {
	var data struct{ Value string }
	_, err = m.call(ctx, "", http.MethodPost, "/tokens", map[string]any{"token": map[string]string{
		"grant_type": "password", "email": email, "password": password, "client_id": m.client, "scope": sessionScopes,
	}}, &data)
	return data.Value, err
}

type user struct{ ID, Email string }

// who asks whether the session is good still, and whose it is.
func (m mint) who(ctx context.Context, token string) (u user, err error) {
	_, err = m.call(ctx, token, http.MethodGet, "/tokens/self/user", nil, &u)
	return u, err
}

type client struct {
	Name        string
	RedirectURI string `json:"redirect_uri"`
}

func (m mint) details(ctx context.Context, token, clientID string) (c client, err error) {
	_, err = m.call(ctx, token, http.MethodGet, "/clients/"+url.PathEscape(clientID)+"/details", nil, &c)
	return c, err
}

// allowed is what the person has let the client do before.
func (m mint) allowed(ctx context.Context, token, clientID string) ([]string, error) {
	var list []struct{ Scope string }
	_, err := m.call(ctx, token, http.MethodGet, "/apps?client_id="+url.QueryEscape(clientID), nil, &list)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return strings.Fields(list[0].Scope), nil
}

// approve allows it, and answers where to send the browser.
func (m mint) approve(ctx context.Context, token string, q request) (location string, err error) {
	return m.call(ctx, token, http.MethodPost, "/apps", map[string]any{"app": map[string]string{
		"client_id": q.Client, "redirect_uri": q.Redirect, "scope": q.Scope, "state": q.State, "code_challenge": q.Challenge,
	}}, nil)
}
