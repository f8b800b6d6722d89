package oauth

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// A device that has no browser, or no keyboard, asks for two codes (RFC 8628). It keeps the device code, shows the user
// code, and polls the token endpoint until a person has typed the user code in somewhere else and decided
// (devicepage.go).
//
// What it guards: the device code has 256 bits and is good for its own client alone; a user code is short, so it lives
// for ten minutes and whoever guesses is stopped after five wrong ones; nothing is allowed but by a person who was shown
// which client asks, for what and from where, and pressed the button; and tokens are given once.

const grantDeviceCode = registry.GrantDeviceCode

// The codes of RFC 8628 section 3.5 beside slow_down and access_denied.
const (
	authorizationPending = "authorization_pending"
	expiredToken         = "expired_token"
)

const (
	macDevice    = "device-code"
	macUserCode  = "device-user-code"
	devicePrefix = "mmd_"

	deviceLife  = 10 * time.Minute
	devicePause = 5 * time.Second
	// pauseLeeway forgives what the network adds to one answer and not to the next.
	pauseLeeway = 500 * time.Millisecond
	maxPause    = 60 * time.Second
	maxClasses  = 1000

	// deviceLimit and deviceClientLimit are how many devices one address, and how many of one client all addresses, may
	// set waiting in failureWindow at each node: anybody may begin one, and each is a row.
	deviceLimit       = 100
	deviceClientLimit = 10_000
)

// userCodeAlphabet has no vowels, so that no code is a word, and no two characters that look or sound the same in a
// hurry. Eight of its twenty letters are 34.5 bits.
const (
	userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength   = 8
)

// The states of a device that waits.
const (
	devicePending = "pending"
	deviceAllowed = "allowed"
	deviceDenied  = "denied"
	deviceUsed    = "used"
)

// newUserCode makes a code, each letter from the part of a random byte that favours none.
func newUserCode() redact.Secret {
	code := make([]byte, 0, userCodeLength+1)
	for len(code) < cap(code) {
		if len(code) == userCodeLength/2 {
			code = append(code, '-')
		}
		var b [1]byte
		rand.Read(b[:]) // never fails since Go 1.24
		if b[0] < 240 {
			code = append(code, userCodeAlphabet[b[0]%20])
		}
	}
	return redact.FromBytes(code)
}

// readUserCode finds the code in what a person typed: in either case, with dashes and spaces anywhere or nowhere. ok is
// false if it cannot be one.
func readUserCode(typed string) (code redact.Secret, ok bool) {
	if len(typed) > 64 {
		return redact.Secret{}, false
	}
	letters := make([]byte, 0, userCodeLength+1)
	for _, c := range strings.ToUpper(typed) {
		switch {
		case c == '-' || c == ' ' || c == '\t' || c == '\u00a0' || c >= '\u2010' && c <= '\u2015' || c == '\u2212':
			continue
		case c < 0x80 && strings.IndexByte(userCodeAlphabet, byte(c)) >= 0 && len(letters) < cap(letters):
			if len(letters) == userCodeLength/2 {
				letters = append(letters, '-')
			}
			letters = append(letters, byte(c))
		default:
			return redact.Secret{}, false
		}
	}
	return redact.FromBytes(letters), len(letters) == userCodeLength+1
}

// device is a device that waits, or has waited, for a person.
type device struct {
	mac       []byte // of the device code
	client    string
	scopes    []string
	resources []string
	maxAge    time.Duration // -1: what the client is registered with
	acrs      []string      // nil: what the client is registered with
	ip        string
	agent     string
	created   time.Time
	expires   time.Time
	state     string
	grant     string
	pause     time.Duration
	polled    time.Time
}

const selectDevice = `SELECT device_mac, client_id, scopes, resources, max_age, acr_values, ip, agent, created, expires, state, grant_id, pause, polled FROM device_authorizations WHERE `

func scanDevice(row db.Row) (*device, error) {
	var d device
	var scopes, resources, acrs string
	var maxAge, created, expires, pause, polled int64
	if err := row.Scan(&d.mac, &d.client, &scopes, &resources, &maxAge, &acrs, &d.ip, &d.agent, &created, &expires, &d.state, &d.grant, &pause, &polled); err != nil {
		return nil, err
	}
	d.scopes, d.created, d.expires, d.polled = strings.Fields(scopes), db.Time(created), db.Time(expires), db.Time(polled)
	d.resources, d.acrs = strings.Fields(resources), strings.Fields(acrs)
	d.maxAge = time.Duration(maxAge) * time.Second
	d.pause = time.Duration(pause) * time.Second
	return &d, nil
}

// deviceAuthorization is the device authorization endpoint (RFC 8628 section 3.1).
func (p *people) deviceAuthorization(w http.ResponseWriter, r *http.Request) {
	body, err := p.beginDevice(r)
	if err != nil {
		p.s.refused(w, r, err)
		return
	}
	answer(w, http.StatusOK, body)
}

func (p *people) beginDevice(r *http.Request) ([]byte, error) {
	q, err := readForm(r)
	if err != nil {
		return nil, err
	}
	client, err := p.s.authenticate(r, q, strictly)
	if err != nil {
		return nil, err
	}
	if !client.May(grantDeviceCode) {
		return nil, refuse(unauthorizedClient, "This client may not use this grant.")
	}
	resources, err := p.s.chooseResources(client, q.all("resource"))
	if err != nil {
		return nil, err
	}
	asked := &authRequest{client: client}
	if err := asked.checkScopes(q.get("scope")); err != nil {
		return nil, err
	}
	// Of the extensions that RFC 8628 section 3.1 leaves room for: how fresh and how strong the person's login must be.
	maxAge, err := readMaxAge(q)
	if err != nil {
		return nil, err
	}
	classes := q.get("acr_values")
	if wanted := (&authRequest{client: client, acrs: strings.Fields(classes)}); len(classes) > maxClasses {
		return nil, refuse(invalidRequest, "acr_values is too long.")
	} else if err := wanted.checkACRs(); err != nil {
		return nil, err
	}
	if err := p.limitDevices(r, client); err != nil {
		return nil, err
	}
	secret := seal.NewSecret(devicePrefix)
	code, err := p.storeDevice(r, &device{
		mac: p.Keyring.MAC(macDevice, secret), client: client.ID, scopes: asked.scopes, resources: resources, maxAge: maxAge, acrs: strings.Fields(classes),
		ip: route.ClientIP(r.Context()), agent: calledItself(r),
	})
	if err != nil {
		return nil, err
	}
	at := p.s.issuer + "/device"
	b := append(append([]byte(`{"device_code":"`), secret.Bytes()...), `","user_code":"`...)
	b = append(append(b, code.Bytes()...), '"')
	b = appendText(append(b, `,"verification_uri":`...), at)
	b = appendText(append(b, `,"verification_uri_complete":`...), at+"?user_code="+code.Reveal())
	b = strconv.AppendInt(append(b, `,"expires_in":`...), int64(deviceLife.Seconds()), 10)
	b = strconv.AppendInt(append(b, `,"interval":`...), int64(devicePause.Seconds()), 10)
	return append(b, '}'), nil
}

// limitDevices bounds the rows that strangers can make: to name a public client proves nothing. The machine itself is
// not counted as an address: that is a proxy which the configuration does not name, with everybody behind it.
func (p *people) limitDevices(r *http.Request, client Client) error {
	from, all := newLimiterKey(route.ClientIP(r.Context()), ""), limiterKey{client: client.ID}
	counted := from.network.IsValid() && !from.network.Addr().IsLoopback()
	wait := p.devicesOf.blocked(all)
	if counted {
		wait = max(wait, p.devices.blocked(from))
	}
	if wait > 0 {
		return &refusal{status: http.StatusTooManyRequests, code: slowDown, retry: wait, description: "Too many devices ask at once. Try again later."}
	}
	p.devicesOf.failed(all)
	if counted {
		p.devices.failed(from)
	}
	return nil
}

// storeDevice stores what waits, under a user code that no other has.
func (p *people) storeDevice(r *http.Request, d *device) (code redact.Secret, err error) {
	const tries = 4
	maxAge := int64(-1)
	if d.maxAge >= 0 {
		maxAge = int64(d.maxAge / time.Second)
	}
	for range tries {
		code = newUserCode()
		var stored int64
		err := p.s.db.Write(r.Context(), func(tx db.WriteTx) (err error) {
			now := tx.Now()
			stored, err = tx.Exec(r.Context(), `INSERT INTO device_authorizations (device_mac, user_mac, client_id, scopes, resources, max_age, acr_values, ip, agent,
				created, expires, state, grant_id, pause, polled) VALUES ($1, $2, $3, $4, $5, $12, $13, $6, $7, $8, $9, $10, '', $11, 0) ON CONFLICT (user_mac) DO NOTHING`,
				d.mac, p.Keyring.MAC(macUserCode, code), d.client, strings.Join(d.scopes, " "), strings.Join(d.resources, " "), d.ip, d.agent, db.Micros(now), db.Micros(now.Add(deviceLife)),
				devicePending, int64(devicePause/time.Second), maxAge, strings.Join(d.acrs, " "))
			return err
		})
		if err != nil {
			return code, fmt.Errorf("store a device that waits: %w", err)
		}
		if stored == 1 {
			return code, nil
		}
	}
	return code, fmt.Errorf("store a device that waits: each of %d user codes was taken", tries)
}

// calledItself keeps what a device calls itself short and harmless.
func calledItself(r *http.Request) string {
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, r.UserAgent())
	return text[:min(len(text), 100)]
}

// decideDevice moves the device out of pending; ok is false if somebody did so before, or it is over.
func decideDevice(ctx context.Context, tx db.WriteTx, mac []byte, to, grantID string) (ok bool, err error) {
	rows, err := tx.Exec(ctx, `UPDATE device_authorizations SET state = $2, grant_id = $3 WHERE device_mac = $1 AND state = $4 AND expires > $5`,
		mac, to, grantID, devicePending, db.Micros(tx.Now()))
	if err != nil {
		return false, fmt.Errorf("decide about a device: %w", err)
	}
	return rows == 1, nil // the MAC is the key: there is no second row
}
