// Package witness is an application that logs in every so often with whatever credentials it finds. It proves what
// rotation promises: that nobody is ever locked out. The demo shows one; the soak, which kills the server, has two.
package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/clock"
)

// every is the time between two logins.
const every = 50 * time.Millisecond

// Tally is what a witness has seen.
type Tally struct {
	Logins     int // that gave a token
	Refused    int // the number that must stay 0
	Unanswered int // nobody was there to answer, or no credentials were there to log in with: no refusal
	Pairs      int // different pairs of credentials that gave a token

	LastRefusal string // with its time
	LastSilence string // why the last unanswered one was
}

// Witness logs in with what lies in a directory.
type Witness struct {
	url  string
	dir  string
	http *http.Client

	mu    sync.Mutex
	tally Tally                       // owned by mu
	pairs map[client.Credentials]bool // that gave a token; owned by mu
}

// New makes a witness of the server at this URL that uses user.json and client.json in dir, as they are at that moment.
func New(server, dir string) *Witness {
	return &Witness{
		url: server + "/oauth2/access_token?realm=services", dir: dir,
		http: &http.Client{Timeout: 5 * time.Second}, pairs: map[client.Credentials]bool{},
	}
}

// Run logs in until ctx ends.
func (w *Witness) Run(ctx context.Context) {
	tick := time.NewTicker(every)
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

// Seen is what it has seen so far.
func (w *Witness) Seen() Tally {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tally
}

// login sends the password grant as the STUPS clients do: JSON under the type that curl -d gives it. Not by
// the SDK's TokenSource, which would try again.
func (w *Witness) login(ctx context.Context) {
	c, err := client.ReadCredentials(w.dir)
	if err != nil {
		w.silence(ctx, err)
		return
	}
	body, err := json.Marshal(map[string]string{"grant_type": "password", "username": c.Username, "password": c.Password, "scope": "uid sales_order.read_all"})
	if err != nil {
		w.silence(ctx, err)
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		w.silence(ctx, err)
		return
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(c.ClientID, c.ClientSecret)
	res, err := w.http.Do(req)
	if err != nil {
		w.silence(ctx, err)
		return
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 4096)) // for people; what is cut off is missed by nobody
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case res.StatusCode == http.StatusOK:
		w.tally.Logins++
		w.pairs[c] = true
		w.tally.Pairs = len(w.pairs)
	case res.StatusCode >= 500:
		w.tally.Unanswered++
		w.tally.LastSilence = res.Status
	default:
		w.tally.Refused++
		w.tally.LastRefusal = clock.System.Now().Format(time.RFC3339Nano) + " " + res.Status + " " + string(text)
	}
}

// silence notes a login that nobody answered, unless it failed because the witness is at its end.
func (w *Witness) silence(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally.Unanswered++
	w.tally.LastSilence = err.Error()
}
