package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/bench/loadgen"
	"github.com/mintmark/mintmark/client"
)

const (
	timedPeople = 60   // of each kind
	timedTries  = 4    // for one name: the sixth wrong password in a row would have to wait
	timedAsks   = 10   // likewise, where no password is
	timedGate   = 1.05 // the slowest median by the quickest

	// timedRest is how long the server is left alone after each answer: what was asked for is done behind it, and would
	// make the next answer wait, whoever it is for.
	timedRest = 4 * time.Millisecond
)

// kinds are the people whom no answer may tell apart by its time.
var kinds = []string{"unknown", "known", "blocked", "bare"}

// alike is a form whose answers must take equally long for whoever's name is typed.
type alike struct {
	name, path string
	status     int
	times      int // for one name
	kinds      []string
	form       func(who string) url.Values
}

// A blocked person types the right password: nothing else could make a difference that a wrong one does not.
var alikes = []alike{
	{"sign in", "/login", http.StatusUnauthorized, timedTries, kinds, func(who string) url.Values {
		form := url.Values{"username": {who}, "password": {"a wrong password of that length"}}
		if strings.HasPrefix(who, "blocked") {
			form.Set("password", alicePassword)
		}
		return form
	}},
	{"sign in by address", "/login", http.StatusUnauthorized, timedTries, kinds[:3], func(who string) url.Values {
		return url.Values{"username": {who + "@example.org"}, "password": {"a wrong password of that length"}}
	}},
	{"ask for a new password", "/reset", http.StatusSeeOther, timedAsks, kinds, func(who string) url.Values { return url.Values{"username": {who}} }},
	{"register", "/register", http.StatusSeeOther, timedAsks, kinds[:3], func(who string) url.Values { return url.Values{"email": {who + "@example.org"}} }},
}

// registerTimed makes the people whose answers are timed: one with a password, one who is blocked, one without a password
// or an address.
func (s *server) registerTimed(ctx context.Context) error {
	c, err := client.New(s.base, client.Options{Token: client.StaticToken(s.admin)})
	if err != nil {
		return err
	}
	for _, set := range []string{"a", "b"} { // a set for each of the forms that take passwords
		for i := range timedPeople {
			for _, kind := range kinds[1:] {
				u := api.CreateUser{Realm: "customers", Username: fmt.Sprintf("%s-%s%d", kind, set, i), Password: alicePassword}
				if u.Email = u.Username + "@example.org"; kind == "bare" {
					u.Password, u.Email = "", ""
				}
				made, err := c.CreateUser(ctx, u)
				if err != nil {
					return err
				}
				if kind != "blocked" {
					continue
				}
				if _, err := c.DisableUser(ctx, made.ID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// printTimings tells how long it takes to be refused, or to be told nothing, for each kind of person: the kinds in turn,
// in an order of chance, one request after the other over one connection, so that whatever else goes on hits all alike.
func printTimings(ctx context.Context, servers []*server) (exceeded int, err error) {
	fmt.Printf("\nTime of answers that must not tell whether somebody has the name; %d of each kind, or %d where no password is.\n\n", timedPeople*timedTries, timedPeople*timedAsks)
	fmt.Printf("| form | server | median ms: %s | slowest by quickest, gate %.2f |\n|---|---|---|---|\n", strings.Join(kinds, ", "), timedGate)
	for _, s := range servers {
		if s.engine == "" {
			continue
		}
		if err := s.registerTimed(ctx); err != nil {
			return exceeded, err
		}
		for i, f := range alikes {
			took, err := s.time(ctx, f, []string{"a", "b"}[i%2])
			if err != nil {
				return exceeded, fmt.Errorf("%s on %s: %w", f.name, s.name, err)
			}
			var medians []float64
			var shown []string
			for _, kind := range f.kinds {
				medians = append(medians, spreadOf(took[kind]).median)
				shown = append(shown, fmt.Sprintf("%.2f", medians[len(medians)-1]))
			}
			ratio, above := slices.Max(medians)/slices.Min(medians), ""
			if ratio > timedGate {
				exceeded, above = exceeded+1, " **above**"
			}
			fmt.Printf("| %s | %s | %s | %.3f%s |\n", f.name, s.name, strings.Join(shown, ", "), ratio, above)
		}
	}
	return exceeded, nil
}

// time sends the form again and again and answers the milliseconds of each kind.
func (s *server) time(ctx context.Context, f alike, set string) (map[string][]float64, error) {
	v, err := s.visit(ctx, "")
	if err != nil {
		return nil, err
	}
	page, err := url.ParseQuery(v.form)
	if err != nil {
		return nil, err
	}
	var turns []string // kind and name
	for round := range timedPeople * f.times {
		for _, i := range rand.Perm(len(f.kinds)) {
			turns = append(turns, fmt.Sprintf("%s-%s%d", f.kinds[i], set, round%timedPeople))
		}
	}
	took := map[string][]float64{}
	next := 0
	r, err := loadgen.Run(loadgen.Load{Server: s.base, Connections: 1, Count: len(turns), Limit: 2 * time.Minute, Servers: s.pids,
		Script: func(_ int, do func(loadgen.Request) (loadgen.Answer, error)) error {
			who := turns[next]
			next++
			form := f.form(who)
			form.Set("realm", "customers")
			form.Set("csrf", page.Get("csrf"))
			request := loadgen.Request{Method: "POST", URL: s.base + f.path, Body: form.Encode(), Header: map[string]string{
				"Cookie": v.cookie, "Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", "Origin": s.base}}
			begin := time.Now()
			a, err := do(request)
			kind, _, _ := strings.Cut(who, "-")
			took[kind] = append(took[kind], ms(time.Since(begin)))
			time.Sleep(timedRest)
			return expect(f.status)(a, err)
		}})
	if err == nil && r.Errors > 0 {
		err = fmt.Errorf("%d of %d answers: %s", r.Errors, len(turns), r.FirstError)
	}
	return took, err
}
