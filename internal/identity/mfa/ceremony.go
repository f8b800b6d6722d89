package mfa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// purpose is what an authenticator is asked to sign for. A challenge of one is nothing for another.
type purpose string

const (
	signIn   purpose = "login"    // of whoever it is
	second   purpose = "verify"   // the second factor of a login
	register purpose = "register" // of a new passkey
)

const (
	ceremonyLife  = 5 * time.Minute
	macChallenge  = "passkey-challenge"
	macBrowser    = "passkey-browser"
	maxAnswer     = 16 << 10 // of what a browser answers, as JSON
	maxChallenge  = 64
	maxCredential = 1023 // bytes of a credential's id (WebAuthn section 4)
	maxPublicKey  = 2048
)

// errOffered says that passkeys cannot work here.
var errOffered error = fault.New(fault.NotFound, "no_passkeys", "Passkeys do not work at this address.")

// algorithms are those of new passkeys, the one that we like best first.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// refusal is the answer to whatever an authenticator or browser did wrong; the cause goes to the log.
func refusal(cause error) error {
	return fault.Wrap(cause, fault.Invalid, "passkey_refused", "This passkey was not accepted. Try again, or use another way to sign in.")
}

// account is a person as the library of WebAuthn wants to see it. The user's id is the handle: it is random and says
// nothing about the person.
type account struct {
	user     identity.User
	passkeys []Passkey
}

func (a account) WebAuthnID() []byte          { return []byte(a.user.ID) }
func (a account) WebAuthnName() string        { return a.user.Username }
func (a account) WebAuthnDisplayName() string { return a.user.DisplayName }
func (a account) WebAuthnCredentials() []webauthn.Credential {
	var list []webauthn.Credential
	for _, p := range a.passkeys {
		list = append(list, p.credential())
	}
	return list
}

// SignInOptions are what a browser needs to have any passkey of this place sign for a login.
func (s *Service) SignInOptions(ctx context.Context, browser redact.Secret, o identity.Origin) (json.RawMessage, error) {
	if s.web == nil {
		return nil, errOffered
	}
	options, data, err := s.web.BeginDiscoverableLogin()
	if err != nil {
		return nil, fmt.Errorf("begin a login with a passkey: %w", err)
	}
	return s.challenge(ctx, options, data, signIn, "", browser, o)
}

// VerifyOptions are what a browser needs to have a passkey of this person sign as the second factor of a login.
func (s *Service) VerifyOptions(ctx context.Context, p *Step, browser redact.Secret, o identity.Origin) (json.RawMessage, error) {
	if s.web == nil || len(p.Factors.Passkeys) == 0 {
		return nil, errOffered
	}
	options, data, err := s.web.BeginLogin(account{p.User, p.Factors.Passkeys})
	if err != nil {
		return nil, fmt.Errorf("begin a second factor with a passkey: %w", err)
	}
	return s.challenge(ctx, options, data, second, p.User.ID, browser, o)
}

// RegisterOptions are what a browser needs to make a new passkey for the person.
func (s *Service) RegisterOptions(ctx context.Context, u identity.User, browser redact.Secret, o identity.Origin) (json.RawMessage, error) {
	if s.web == nil {
		return nil, errOffered
	}
	a := account{user: u}
	err := s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		a.passkeys, err = loadPasskeys(ctx, tx, u.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(a.passkeys) >= maxPasskeys {
		return nil, errTooMany
	}
	var exclude []protocol.CredentialDescriptor
	for _, c := range a.WebAuthnCredentials() {
		exclude = append(exclude, c.Descriptor())
	}
	options, data, err := s.web.BeginRegistration(a, webauthn.WithExclusions(exclude), webauthn.WithCredentialParameters(algorithms))
	if err != nil {
		return nil, fmt.Errorf("begin a new passkey: %w", err)
	}
	return s.challenge(ctx, options, data, register, u.ID, browser, o)
}

// challenge stores the MAC of the random value in the options and answers these as JSON.
func (s *Service) challenge(ctx context.Context, options any, data *webauthn.SessionData, what purpose, userID string, browser redact.Secret, o identity.Origin) (json.RawMessage, error) {
	if err := s.begun.take(o.IP); err != nil {
		return nil, err
	}
	text, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("write the options of a passkey: %w", err)
	}
	return text, s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := db.One(tx.Exec(ctx, `INSERT INTO passkey_challenges (mac, browser, purpose, user_id, expires, used) VALUES ($1, $2, $3, $4, $5, 0)`,
			s.keyring.MAC(macChallenge, redact.New(data.Challenge)), s.keyring.MAC(macBrowser, browser), string(what), userID, db.Micros(tx.Now().Add(ceremonyLife)))); err != nil {
			return fmt.Errorf("store a challenge: %w", err)
		}
		return nil
	})
}

// errChallenge is the cause of a refusal.
var errChallenge = errors.New("the challenge is unknown, over, used, or of another browser, purpose or person")

// redeem uses a challenge up: before anything that was signed with it is looked at, so that it is good for one try. What
// it answers is what the library must know of the ceremony.
func (s *Service) redeem(ctx context.Context, value string, what purpose, userID string, browser redact.Secret) (webauthn.SessionData, error) {
	data := webauthn.SessionData{Challenge: value, RelyingPartyID: s.web.Config.RPID, UserVerification: protocol.VerificationRequired, CredParams: algorithms}
	if userID != "" {
		data.UserID = []byte(userID)
	}
	if value == "" || len(value) > maxChallenge {
		return data, refusal(errChallenge)
	}
	good := false
	err := s.d.Write(ctx, func(tx db.WriteTx) (err error) {
		for _, mac := range s.keyring.LookupMACs(macChallenge, redact.New(value)) {
			var bound []byte
			err := tx.QueryRow(ctx, `SELECT browser FROM passkey_challenges WHERE mac = $1 AND purpose = $2 AND user_id = $3`, mac, string(what), userID).Scan(&bound)
			if errors.Is(err, db.ErrNoRows) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read a challenge: %w", err)
			}
			if !s.keyring.VerifyMAC(macBrowser, browser, bound) {
				return nil
			}
			n, err := tx.Exec(ctx, `UPDATE passkey_challenges SET used = $2 WHERE mac = $1 AND used = 0 AND expires > $2`, mac, db.Micros(tx.Now()))
			if err != nil {
				return fmt.Errorf("use a challenge: %w", err)
			}
			good = n == 1
			return nil
		}
		good = false
		return nil
	})
	if err == nil && !good {
		err = refusal(errChallenge)
	}
	return data, err
}

// parseAssertion reads what a browser answers when a passkey has signed.
func parseAssertion(answer string) (*protocol.ParsedCredentialAssertionData, error) {
	if len(answer) > maxAnswer {
		return nil, refusal(errors.New("the answer is too long"))
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return nil, refusal(err)
	}
	if len(parsed.RawID) > maxCredential {
		return nil, refusal(errors.New("the credential's id is too long"))
	}
	return parsed, nil
}

// parseCreation reads what a browser answers when a passkey was made.
func parseCreation(answer string) (*protocol.ParsedCredentialCreationData, error) {
	if len(answer) > maxAnswer {
		return nil, refusal(errors.New("the answer is too long"))
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return nil, refusal(err)
	}
	data := parsed.Response.AttestationObject.AuthData.AttData
	if len(data.CredentialID) == 0 || len(data.CredentialID) > maxCredential || len(data.CredentialPublicKey) > maxPublicKey {
		return nil, refusal(errors.New("the credential's id or key is too long"))
	}
	// We ask for no attestation. What browsers then let pass is none, or one that the passkey made of itself.
	if format := parsed.Response.AttestationObject.Format; format != string(protocol.AttestationFormatNone) && format != string(protocol.AttestationFormatPacked) {
		return nil, refusal(fmt.Errorf("attestation %q was not asked for", format))
	}
	return parsed, nil
}

// ceremonies counts challenges by the address that asked for them: anybody may, and each is a row. It is each node's own
// and in memory, for it saves rows and nothing else. The machine itself is not counted: what comes from there came through
// a proxy that the configuration does not name.
type ceremonies struct {
	clock clock.Clock

	mu    sync.Mutex
	since time.Time            // owned by mu
	count map[netip.Prefix]int // owned by mu
}

const (
	ceremoniesAtOnce = 1000 // of one address within ceremonyWindow: enough for all people of an office
	ceremonyWindow   = 10 * time.Minute
	ceremonyKeys     = 16384
)

func newCeremonies(c clock.Clock) *ceremonies {
	return &ceremonies{clock: c, count: map[netip.Prefix]int{}}
}

// take counts a challenge, or refuses it.
func (l *ceremonies) take(ip string) error {
	address, err := netip.ParseAddr(ip)
	if err != nil || address.IsLoopback() {
		return nil
	}
	address = address.Unmap().WithZone("")
	bits := address.BitLen()
	if address.Is6() {
		bits = 64 // of which one machine may use all
	}
	from, err := address.Prefix(bits)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if !now.Before(l.since.Add(ceremonyWindow)) || len(l.count) >= ceremonyKeys {
		l.since = now
		clear(l.count)
	}
	if l.count[from] >= ceremoniesAtOnce {
		return fault.New(fault.Limited, "too_many_attempts", "Too many tries came from your address. Please wait before you try again.").Retry(l.since.Add(ceremonyWindow).Sub(now))
	}
	l.count[from]++
	return nil
}
