package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/bench/loadgen"
	"github.com/mintmark/mintmark/client"
)

// visitors are the people who sign in again and again, one for each connection, because tries for one account are counted
// before they are looked at.
const visitors = 8

// visitor is somebody before the page to sign in: the cookie of the form, and the form as it is sent.
type visitor struct{ cookie, form string }

func visitorName(i int) string { return fmt.Sprintf("visitor-%d", i) }

// registerVisitors makes them known and has each open the page.
func (s *server) registerVisitors(ctx context.Context, c *client.Client) error {
	for i := range visitors {
		if _, err := c.CreateUser(ctx, api.CreateUser{Realm: "customers", Username: visitorName(i), Password: alicePassword}); err != nil {
			return err
		}
		v, err := s.visit(ctx, visitorName(i))
		if err != nil {
			return err
		}
		s.visitors = append(s.visitors, v)
	}
	return nil
}

func (s *server) visit(ctx context.Context, username string) (visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return visitor{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/login", nil)
	if err != nil {
		return visitor{}, err
	}
	res, err := (&http.Client{Jar: jar, Timeout: passLimit}).Do(req)
	if err != nil {
		return visitor{}, err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		return visitor{}, err
	}
	form := url.Values{"realm": {"customers"}, "username": {username}, "password": {alicePassword}}
	for _, f := range hiddenField.FindAllStringSubmatch(string(page), -1) {
		form.Set(f[1], f[2])
	}
	var cookies []string
	for _, c := range jar.Cookies(req.URL) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	return visitor{strings.Join(cookies, "; "), form.Encode()}, nil
}

// login is one login with a right password: the floor computes the same hash and answers.
func login(s *server) func(int, func(loadgen.Request) (loadgen.Answer, error)) error {
	return func(worker int, do func(loadgen.Request) (loadgen.Answer, error)) error {
		if s.engine == "" || s.store != "" {
			return expect(http.StatusOK)(do(s.post("", "/login", "username=visitor&password="+url.QueryEscape(alicePassword))))
		}
		v := s.visitors[worker%visitors]
		return expect(http.StatusSeeOther)(do(loadgen.Request{Method: "POST", URL: s.base + "/login", Body: v.form, Header: map[string]string{
			"Cookie": v.cookie, "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", "Origin": s.base}}))
	}
}

func expect(status int) func(a loadgen.Answer, err error) error {
	return func(a loadgen.Answer, err error) error {
		if err == nil && a.Status != status {
			err = fmt.Errorf("%d %.200s", a.Status, a.Body)
		}
		return err
	}
}

const (
	floodPass   = 4 * time.Second
	floodTokens = 4   // connections that ask for tokens
	floodGate   = 2.0 // of the p99 without a flood
)

// printFlood tells what those feel who ask for tokens while all the hash places are taken and people wait for them. Each
// round measures without and with it, so that what else the machine does hits both.
func printFlood(o options, servers []*server) (exceeded int, err error) {
	fmt.Printf("\nTokens by client credentials over %d connections, alone and while %d others sign in without pause; %d rounds.\n\n", floodTokens, visitors, o.rounds)
	fmt.Println("| server | alone: p50 / p99 ms | during the flood | ratio of p99 | gate | logins/s | errors |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, s := range servers {
		if s.engine == "" {
			continue
		}
		var alone, beside, ratios, logins [][2]float64
		failed := 0
		for range o.rounds {
			quiet, err := tokensFor(s, floodPass)
			if err != nil {
				return exceeded, err
			}
			busy, flood, err := s.flood()
			if err != nil {
				return exceeded, err
			}
			alone = append(alone, [2]float64{ms(quiet.P50), ms(quiet.P99)})
			beside = append(beside, [2]float64{ms(busy.P50), ms(busy.P99)})
			ratios = append(ratios, [2]float64{ms(busy.P99) / ms(quiet.P99)})
			logins = append(logins, [2]float64{flood.Rate()})
			failed += quiet.Errors + busy.Errors + flood.Errors
		}
		ratio, gate := column(ratios, 0), fmt.Sprintf("%.1f", floodGate)
		if ratio.median > floodGate {
			exceeded++
			gate += " **above**"
		}
		fmt.Printf("| %s | %.2f / %.1f | %.2f / %.1f | %.2f (%.2f-%.2f) | %s | %.0f | %d |\n", s.name, column(alone, 0).median, column(alone, 1).median,
			column(beside, 0).median, column(beside, 1).median, ratio.median, ratio.min, ratio.max, gate, column(logins, 0).median, failed)
	}
	return exceeded, nil
}

func column(rows [][2]float64, i int) spread {
	list := make([]float64, len(rows))
	for n, row := range rows {
		list[n] = row[i]
	}
	return spreadOf(list)
}

func tokensFor(s *server, d time.Duration) (loadgen.Result, error) {
	return loadgen.Run(loadgen.Load{Requests: []loadgen.Request{clientCredentials(s)}, Connections: floodTokens, Count: 1 << 30, Limit: d, Servers: s.pids, Expect: "access_token"})
}

// flood has people sign in while tokens are asked for.
func (s *server) flood() (tokens, logins loadgen.Result, err error) {
	var floodErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		logins, floodErr = loadgen.Run(loadgen.Load{Script: login(s), Server: s.base, Connections: visitors, Count: 1 << 30, Limit: floodPass + time.Second, Servers: s.pids})
	})
	time.Sleep(500 * time.Millisecond) // until it has begun
	tokens, err = tokensFor(s, floodPass)
	wg.Wait()
	return tokens, logins, errors.Join(err, floodErr)
}
