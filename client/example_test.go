package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

// An application that calls another one keeps one TokenSource for as long as it runs.
func ExampleTokenSource() {
	tokens, err := client.NewTokenSource(client.TokenOptions{
		Server:    "https://auth.example.com",
		Directory: "/meta/credentials",
		Scopes:    []string{"sales_order.read_all"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	call := func(ctx context.Context) error {
		token, err := tokens.Token(ctx)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://orders.example.com/", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token.Value)
		// … send it; should the answer be 401, the token was taken back:
		tokens.Forget(token.Value)
		return nil
	}
	_ = call
}

// A program that manages applications branches on the sentinels of package api.
func ExampleClient_PutApplication() {
	c, err := client.New("https://auth.example.com", client.Options{Token: client.StaticToken("mmk_…")})
	if err != nil {
		fmt.Println(err)
		return
	}
	team, name, active := "shop", "Sales orders", true
	_, err = c.PutApplication(context.Background(), "sales-orders", api.PutApplication{TeamID: &team, Name: &name, Active: &active}, client.CreateOnly())
	switch {
	case errors.Is(err, api.ErrPreconditionFailed):
		fmt.Println("it is registered already")
	case errors.Is(err, client.ErrUnreachable):
		fmt.Println("the server is away")
	}
}
