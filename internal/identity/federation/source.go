package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/keyset"
	"github.com/mintmark/mintmark/internal/outbound"
)

// How long what a provider says of itself is believed. Of its keys, package keyset says it.
const (
	// documentLife is how long its configuration is good; until staleLife it serves while it cannot be asked. It holds
	// addresses, at which the provider proves itself by its certificate, and no keys.
	documentLife = time.Hour
	staleLife    = 24 * time.Hour
	// A provider that did not answer is left alone for failPause: nobody makes us call it over and over.
	failPause = 5 * time.Second
	// callsAtOnce is how many calls of one provider run at the same time. It is a fraction of what package outbound
	// allows in all, so that one that is slow leaves room for the others.
	callsAtOnce = 8
	maxSources  = 2 * maxProviders
)

// ErrUpstream is in the chain of every error that the provider has to answer for.
var ErrUpstream = errors.New("federation: the provider did not answer as it should")

func upstream(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUpstream, fmt.Errorf(format, args...))
}

// metadata is what we use of a provider's configuration (OpenID Connect Discovery 1.0, section 3).
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Userinfo      string   `json:"userinfo_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	EndSession    string   `json:"end_session_endpoint"`
	TellsIssuer   bool     `json:"authorization_response_iss_parameter_supported"`
	Responses     []string `json:"response_types_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	AuthAlgs      []string `json:"token_endpoint_auth_signing_alg_values_supported"`
}

// document is something that was fetched, and when.
type document[V any] struct {
	value  V
	at     time.Time // zero: never
	failed time.Time // when it could not be fetched, since then
	err    error
}

// fresh tells whether it need not be fetched, or must not be yet.
func (d *document[V]) fresh(now time.Time) bool {
	return !d.at.IsZero() && now.Before(d.at.Add(documentLife)) || !d.failed.IsZero() && now.Before(d.failed.Add(failPause))
}

// get answers what there is, or why there is nothing.
func (d *document[V]) get(now time.Time) (V, error) {
	if !d.at.IsZero() && now.Before(d.at.Add(staleLife)) {
		return d.value, nil
	}
	var none V
	return none, d.err
}

// source is what one node knows of a provider's configuration, and how it calls it. One goroutine at a time fetches; the
// others wait for it.
type source struct {
	s      *Service
	name   string // of the provider and its issuer, for its key set
	issuer string
	slots  chan struct{}
	busy   chan struct{} // held by who fetches

	mu    sync.Mutex
	about document[metadata] // owned by mu
}

func (s *Service) source(p Provider) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := p.ID + " " + p.Issuer
	src := s.sources[name]
	if src == nil {
		if len(s.sources) >= maxSources {
			clear(s.sources) // providers come and go rarely; what is left is fetched again
		}
		src = &source{s: s, name: name, issuer: p.Issuer, slots: make(chan struct{}, callsAtOnce), busy: make(chan struct{}, 1)}
		s.sources[name] = src
	}
	return src
}

// call makes one call of the provider's, if not too many are under way.
func (src *source) call(ctx context.Context, r outbound.Request) (outbound.Answer, error) {
	select {
	case src.slots <- struct{}{}:
		defer func() { <-src.slots }()
	default:
		return outbound.Answer{}, upstream("too many calls are under way")
	}
	a, err := src.s.o.Outbound.Do(ctx, r)
	if err != nil {
		return a, upstream("%w", err)
	}
	return a, nil
}

func (src *source) fetch(ctx context.Context, purpose, address string) ([]byte, error) {
	a, err := src.call(ctx, outbound.Request{Purpose: purpose, Method: http.MethodGet, URL: address, Accept: "application/json"})
	if err == nil && a.Status != http.StatusOK {
		err = upstream("the status is %d", a.Status)
	}
	return a.Body, err
}

// hold has one goroutine fetch at a time.
func (src *source) hold(ctx context.Context) (release func(), err error) {
	select {
	case src.busy <- struct{}{}:
		return func() { <-src.busy }, nil
	case <-ctx.Done():
		return nil, upstream("waited too long: %w", ctx.Err())
	}
}

// metadata answers the provider's configuration.
func (src *source) metadata(ctx context.Context) (metadata, error) {
	if m, ok, err := src.knownMetadata(); ok {
		return m, err
	}
	release, err := src.hold(ctx)
	if err != nil {
		return metadata{}, err
	}
	defer release()
	if m, ok, err := src.knownMetadata(); ok { // somebody else has fetched it meanwhile
		return m, err
	}
	m, err := src.discover(ctx)
	src.mu.Lock()
	defer src.mu.Unlock()
	now := src.s.o.Clock.Now()
	if err == nil {
		src.about = document[metadata]{value: m, at: now}
	} else {
		src.about.failed, src.about.err = now, err
	}
	return src.about.get(now)
}

// soon is how long is waited for a provider that could do something besides.
const soon = 500 * time.Millisecond

// metadataSoon answers the provider's configuration for what must wait for nobody: from memory also while others would look
// for a newer one, and else if the provider answers soon. If it answers later, it is known the next time.
func (src *source) metadataSoon(ctx context.Context) (metadata, bool) {
	if m, ok := src.lastMetadata(); ok {
		return m, true
	}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if _, err := src.metadata(context.WithoutCancel(ctx)); err != nil { // outbound.Timeout ends it
			src.s.o.Logger.WarnContext(ctx, "the configuration of a provider cannot be had", "issuer", src.issuer, "error", err)
		}
	}()
	timer := time.NewTimer(soon)
	defer timer.Stop()
	select {
	case <-asked:
	case <-timer.C:
	case <-ctx.Done():
	}
	return src.lastMetadata()
}

// lastMetadata is what is in memory, unless it is very old.
func (src *source) lastMetadata() (metadata, bool) {
	src.mu.Lock()
	defer src.mu.Unlock()
	at := src.about.at
	return src.about.value, !at.IsZero() && src.s.o.Clock.Now().Before(at.Add(staleLife))
}

func (src *source) knownMetadata() (metadata, bool, error) {
	src.mu.Lock()
	defer src.mu.Unlock()
	now := src.s.o.Clock.Now()
	if !src.about.fresh(now) {
		return metadata{}, false, nil
	}
	m, err := src.about.get(now)
	return m, true, err
}

// discover fetches the configuration. Its issuer must be the one that was asked for, byte by byte: else one provider could
// speak for another (section 4.3).
func (src *source) discover(ctx context.Context) (m metadata, err error) {
	body, err := src.fetch(ctx, "provider_metadata", strings.TrimSuffix(src.issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return m, fmt.Errorf("fetch the configuration: %w", err)
	}
	return readMetadata(body, src.issuer, src.s.o.Outbound.CheckURL)
}

// readMetadata takes a configuration that is the issuer's own and of use here.
func readMetadata(body []byte, issuer string, checkURL func(string) error) (m metadata, err error) {
	if err := json.Unmarshal(body, &m); err != nil {
		return m, upstream("the configuration cannot be read")
	}
	if m.Issuer != issuer {
		return m, upstream("the configuration is that of another issuer")
	}
	for name, address := range map[string]string{"authorization_endpoint": m.Authorization, "token_endpoint": m.Token, "jwks_uri": m.JWKS, "userinfo_endpoint": m.Userinfo} {
		if name == "userinfo_endpoint" && address == "" {
			continue
		}
		if err := checkURL(address); err != nil {
			return m, upstream("its %s cannot be used: %w", name, err)
		}
	}
	if m.EndSession != "" && checkURL(m.EndSession) != nil {
		m.EndSession = "" // nobody is led there, which is no reason to let nobody in
	}
	if len(m.Responses) > 0 && !slices.Contains(m.Responses, "code") {
		return m, upstream("it has no response type code")
	}
	if len(m.Challenges) > 0 && !slices.Contains(m.Challenges, "S256") {
		return m, upstream("it has no code challenge method S256")
	}
	return m, nil
}

// verify checks a signature by the provider's keys. Keys that are not known are fetched once in a while.
func (src *source) verify(ctx context.Context, token *jose.Unverified) (jose.Claims, error) {
	set, err := src.keySet(ctx, false)
	if err != nil {
		return jose.Claims{}, err
	}
	claims, err := token.Verify(set.Keys, jose.PublicKeyAlgs())
	if err == nil || token.Kid != "" && slices.ContainsFunc(set.Keys, func(k jose.Key) bool { return k.ID == token.Kid }) {
		return claims, err
	}
	if set, err = src.keySet(ctx, true); err != nil {
		return jose.Claims{}, err
	}
	return token.Verify(set.Keys, jose.PublicKeyAlgs())
}

// keySet answers the provider's keys; newer says that those known did not do.
func (src *source) keySet(ctx context.Context, newer bool) (keyset.Set, error) {
	m, err := src.metadata(ctx)
	if err != nil {
		return keyset.Set{}, err
	}
	set, err := src.s.keys.Keys(ctx, src.name, m.JWKS, newer)
	if err != nil {
		return keyset.Set{}, upstream("fetch the keys: %w", err)
	}
	return set, nil
}

const maxUpstreamKeys = 64

// usableKeys reads a key set of others. What is in it besides, of types that we do not know or in forms that we do not
// take, is theirs and left out: we have no say in it, and one such key must not end all logins.
func usableKeys(set []byte) (keys []jose.Key, err error) {
	var listed struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(set, &listed) != nil || len(listed.Keys) > maxUpstreamKeys {
		return nil, errors.New("it is no key set, or one of very many keys")
	}
	for _, raw := range listed.Keys {
		if k, err := jose.ParseKey(raw); err == nil && slices.ContainsFunc(jose.PublicKeyAlgs(), k.Signs) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no key that is of use here")
	}
	return keys, nil
}

// Check fetches a provider's documents just now, and tells what a login would fail for.
func (s *Service) Check(ctx context.Context, c access.Caller, id string) (api.ProviderCheck, error) {
	found := api.ProviderCheck{Problems: []string{}}
	if err := allowed(c, id); err != nil {
		return found, err
	}
	var p Provider
	if err := s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		p, err = loadProvider(ctx, tx, id)
		return err
	}); err != nil {
		return found, err
	}
	src := &source{s: s, issuer: p.Issuer, slots: make(chan struct{}, 1), busy: make(chan struct{}, 1)}
	m, err := src.discover(ctx)
	if err != nil {
		found.Problems = append(found.Problems, "The configuration below the issuer's address is missing, cannot be reached or is not that of this issuer. The log tells more.")
		s.o.Logger.WarnContext(ctx, "the configuration of a provider is not usable", "provider", id, "error", err)
		return found, nil
	}
	found.AuthorizationEndpoint, found.TokenEndpoint, found.TellsIssuer = m.Authorization, m.Token, m.TellsIssuer
	keys, err := s.keys.Look(ctx, m.JWKS)
	if found.Keys = len(keys); err != nil {
		found.Problems = append(found.Problems, "Its key set cannot be reached or holds no key that is of use here. The log tells more.")
		s.o.Logger.WarnContext(ctx, "the keys of a provider are not usable", "provider", id, "error", err)
	}
	if p.Policy.Userinfo && m.Userinfo == "" {
		found.Problems = append(found.Problems, "It has no userinfo endpoint, which its policy asks for.")
	}
	if p.ClientAuth == authKey {
		if _, err := s.signerFor(ctx, m); err != nil {
			found.Problems = append(found.Problems, "It takes none of the algorithms that this server signs with; see signing_keys.also.")
		}
	}
	found.OK = len(found.Problems) == 0
	return found, nil
}

// since is how long ago a time lies, for tokens that must be new.
func (s *Service) since(t time.Time) time.Duration { return clock.Since(s.o.Clock, t) }

// authorizationURL adds what a login asks for to the provider's address.
func authorizationURL(endpoint string, ask url.Values) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", upstream("its authorization endpoint cannot be read")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", upstream("its authorization endpoint cannot be read")
	}
	for name, values := range ask {
		q[name] = values
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// unreachable is what a person is told whose provider did not answer as it should.
func unreachable(err error) error {
	return fault.Wrap(err, fault.Invalid, "provider_failed", "The other place did not answer as it should, so that you could not be signed in with it. Try again in a moment, or sign in another way.")
}
