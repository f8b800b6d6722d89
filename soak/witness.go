package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// pair is what an application logs in with.
type pair struct {
	Username     string `json:"application_username"`
	Password     string `json:"application_password"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// decode reads both documents into one pair.
func decode(user, client []byte) (p pair, err error) {
	if err := json.Unmarshal(user, &p); err != nil {
		return p, fmt.Errorf("user.json: %w", err)
	}
	if err := json.Unmarshal(client, &p); err != nil {
		return p, fmt.Errorf("client.json: %w", err)
	}
	return p, nil
}

// count is what a witness has seen.
type count struct {
	logins, refused, unanswered, pairs int
	last                               string // the last refusal
}

// witness logs in every 50 ms with the pair that it finds.
type witness struct {
	name string
	url  string
	find func(context.Context) (pair, error)
	http *http.Client

	mu    sync.Mutex
	count count         // owned by mu
	pairs map[pair]bool // owned by mu
}

func newWitness(name, url string, find func(context.Context) (pair, error)) *witness {
	return &witness{name: name, url: url, find: find, pairs: map[pair]bool{}, http: &http.Client{Timeout: 5 * time.Second}}
}

func (w *witness) run(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.login(ctx)
		}
	}
}

func (w *witness) login(ctx context.Context) {
	p, err := w.find(ctx)
	if err != nil {
		w.note(func(c *count) { c.unanswered++ })
		return
	}
	body, err := json.Marshal(map[string]string{"grant_type": "password", "username": p.Username, "password": p.Password, "scope": "uid sales_order.read_all"})
	if err != nil {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.SetBasicAuth(p.ClientID, p.ClientSecret)
	res, err := w.http.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			w.note(func(c *count) { c.unanswered++ })
		}
		return
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
	w.note(func(c *count) {
		switch {
		case res.StatusCode == http.StatusOK:
			c.logins++
			w.pairs[p] = true
			c.pairs = len(w.pairs)
		case res.StatusCode >= 500:
			c.unanswered++
		default:
			c.refused++
			c.last = time.Now().UTC().Format(time.RFC3339Nano) + " " + res.Status + " " + strings.ReplaceAll(string(text), "|", "/")
		}
	})
}

func (w *witness) note(f func(*count)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.count)
}

func (w *witness) seen() count {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}
