package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// prober is an application that asks for a token every so often with whatever credentials lie in its directory: the
// witness that a rotation locks nobody out.
type prober struct {
	tokenURL string // with the realm
	dir      string // user.json and client.json, kept by the agent
	scope    string
	every    time.Duration
	http     *http.Client

	mu       sync.Mutex
	tally    tally
	versions map[string]bool // passwords and client secrets seen, by their text; owned by mu
}

// tally is what the prober has seen.
type tally struct {
	Tokens  int    // logins that gave a token
	Refused int    // logins that were refused: the number that must stay 0
	Missed  int    // logins that nobody answered
	Pairs   int    // different pairs of credentials that were used
	Last    string // the last refusal, for people
}

// credentials reads the pair that lies in dir.
func credentials(dir string) (user struct {
	Name     string `json:"application_username"`
	Password string `json:"application_password"`
}, client struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret"`
}, err error) {
	for name, into := range map[string]any{"user.json": &user, "client.json": &client} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return user, client, err
		}
		if err := json.Unmarshal(b, into); err != nil {
			return user, client, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return user, client, nil
}

// run asks until ctx is done.
func (p *prober) run(ctx context.Context) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.ask(ctx)
		}
	}
}

func (p *prober) ask(ctx context.Context) {
	user, client, err := credentials(p.dir)
	if err != nil {
		p.note(func(t *tally) { t.Missed++; t.Last = err.Error() })
		return
	}
	body, err := json.Marshal(map[string]string{"grant_type": "password", "username": user.Name, "password": user.Password, "scope": p.scope})
	if err != nil {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.tokenURL, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.SetBasicAuth(client.ID, client.Secret)
	res, err := p.http.Do(req)
	if err != nil {
		if ctx.Err() == nil {
			p.note(func(t *tally) { t.Missed++; t.Last = err.Error() })
		}
		return
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	p.note(func(t *tally) {
		switch {
		case res.StatusCode == http.StatusOK:
			t.Tokens++
			p.versions[user.Password+" "+client.Secret] = true
			t.Pairs = len(p.versions)
		case res.StatusCode >= 500:
			t.Missed++
			t.Last = res.Status
		default:
			t.Refused++
			t.Last = res.Status + " " + string(text)
		}
	})
}

func (p *prober) note(f func(*tally)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.tally)
}

func (p *prober) seen() tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tally
}
