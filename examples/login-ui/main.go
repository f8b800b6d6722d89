// Command login-ui is a login page of an organisation's own, on an origin of its own, for clients of mintmark's Mithril
// interface. It is an example to read and to start from: a page to sign in at, a page that asks, and no more.
//
// What it guards: the browser gets a session of this program and never a token, so that nothing in the page can lose one.
// Nobody is redirected to an address before mintmark has said that it is the client's. Each form carries a token bound to
// the session. Whether a session is good is mintmark's to say, each time.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"time"
)

func main() {
	if err := run(); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "login-ui:", err)
		os.Exit(1)
	}
}

func run() error {
	flags := flag.NewFlagSet("login-ui", flag.ContinueOnError)
	mint := flags.String("mint", "http://127.0.0.1:8080", "address of mintmark")
	listen := flags.String("listen", "127.0.0.1:8090", "address to listen on")
	client := flags.String("client", "", "id of this page's own client, which may use the password grant")
	sentences := flags.String("scopes", "", "JSON file that says what each scope means: {\"orders:read\": \"See your orders.\"}")
	secure := flags.Bool("https", false, "browsers reach this page by https, through a proxy")
	behind := flags.String("proxies", "", "networks of the proxies in front of this page, whose X-Forwarded-For is believed: \"10.0.0.0/8, ::1/128\"")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	if *client == "" {
		return errors.New("-client is needed: README.md tells how to make one")
	}
	proxies, err := networks(*behind)
	if err != nil {
		return fmt.Errorf("-proxies: %w", err)
	}
	texts := map[string]string{}
	if *sentences != "" {
		b, err := os.ReadFile(*sentences)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &texts); err != nil {
			return fmt.Errorf("read %s: %w", *sentences, err)
		}
	}
	server := &http.Server{
		Addr: *listen, Handler: newUI(*mint, *client, texts, *secure, proxies...),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Fprintf(os.Stderr, "login-ui: http://%s/sign-in\n", *listen)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
