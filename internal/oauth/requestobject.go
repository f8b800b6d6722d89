package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
)

// Requests that the client has signed (RFC 9101, OpenID Connect Core section 6.1), by value. Who can change what passes
// through the browser changes nothing then: what stands beside the signed request is not looked at.

const (
	invalidRequestObject = "invalid_request_object"
	requestObjectType    = "oauth-authz-req+jwt"
	// requestObjectLife is how far ahead a request may expire. A person who reloads the page brings it once more, so it
	// is not good only once.
	requestObjectLife = time.Hour
)

// notRequest are claims of a signed request that are about the JWT and not about the request, and parameters that no
// request holds.
var notRequest = append([]string{"iss", "aud", "exp", "nbf", "iat", "jti", "sub", "flow"}, proofs...)

// unwrap answers what the client signed, in place of all else that was sent: a form of its parameters, and these taken
// apart. A request that is not signed comes back as it is, unless the client has to sign.
//
// What it answers is what is stored while a person signs in: the signature has been checked once, and the request goes on
// after it has expired.
func (p *people) unwrap(ctx context.Context, raw string, a answers) (string, answers, error) {
	clientID := a.get("client_id")
	client, err := p.s.clients.Client(ctx, clientID)
	if err != nil && !unknown(err) {
		return raw, a, err
	}
	if err != nil || !client.Enabled || len(a.twice) > 0 {
		return raw, a, nil // refused for that, and by whom it may be told
	}
	text, given := a.find("request")
	_, named := a.find("request_uri")
	switch {
	case given && named:
		return raw, a, refuse(invalidRequest, "request and request_uri exclude each other.")
	case named:
		return raw, a, nil // refused for that: nothing is fetched
	case !given:
		if client.Metadata.RequireRequestObject {
			return raw, a, refuse(invalidRequest, "This client must sign its requests: send request (RFC 9101).")
		}
		return raw, a, nil
	}
	claims, err := p.verifyRequest(ctx, client, text)
	if err != nil && !errors.Is(err, jose.ErrToken) {
		return raw, a, err // the client's keys cannot be had
	}
	if err != nil {
		no := refuse(invalidRequestObject, "The signed request is not valid.")
		no.cause = err
		return raw, a, no
	}
	form, err := requestForm(claims)
	if err != nil {
		no := refuse(invalidRequestObject, "A member of the signed request is not a text, a number or an object.")
		no.cause = err
		return raw, a, no
	}
	signed, ok := readAnswers(form)
	if !ok {
		return raw, a, refuse(invalidRequestObject, "The signed request is too long, or cannot be read.")
	}
	return form, signed, nil
}

// verifyRequest checks that the client signed this for us, as a request, and that it is in time.
func (p *people) verifyRequest(ctx context.Context, client Client, text string) (jose.Claims, error) {
	u, err := jose.Parse(text)
	if err != nil {
		return jose.Claims{}, err
	}
	if !u.Is("", "JWT", requestObjectType) {
		return jose.Claims{}, errAssertion("the type is not that of a request")
	}
	claims, err := p.s.verifyByKeys(ctx, client, u, client.Metadata.RequestObjectAlg)
	if err != nil {
		return jose.Claims{}, err
	}
	if err := claims.MeantFor(p.s.issuer); err != nil {
		return jose.Claims{}, err
	}
	if err := claims.Current(p.s.clock.Now(), requestObjectLife); err != nil {
		return jose.Claims{}, err
	}
	inside, ok := claims.Text("client_id")
	if !ok || inside != client.ID || claims.Issuer != client.ID {
		return jose.Claims{}, errAssertion("iss and client_id are not the client that sends the request")
	}
	if claims.Subject == client.ID {
		return jose.Claims{}, errAssertion("sub is the client: that is an assertion, no request (RFC 9101 section 10.8)")
	}
	if claims.Has("request") || claims.Has("request_uri") {
		return jose.Claims{}, errAssertion("a request inside a request")
	}
	return claims, nil
}

// requestForm is what a client would have sent that does not sign.
func requestForm(claims jose.Claims) (string, error) {
	var b strings.Builder
	add := func(name, value string) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(name) + "=" + url.QueryEscape(value))
	}
	for _, name := range claims.Names() {
		if slices.Contains(notRequest, name) {
			continue
		}
		raw := claims.JSON(name)
		if text, ok := claims.Text(name); ok {
			add(name, text)
			continue
		}
		switch c := raw[0]; {
		case c == '{' || c == '-' || c >= '0' && c <= '9':
			add(name, string(raw))
		case c == '[' && name == "resource": // the one parameter that may be repeated (RFC 8707 section 2)
			var list []string
			if err := json.Unmarshal(raw, &list); err != nil {
				return "", errAssertion("resource is not a list of texts")
			}
			for _, text := range list {
				add(name, text)
			}
		default:
			return "", errAssertion("a member is of a type that no parameter has")
		}
	}
	return b.String(), nil
}
