// Package id makes the names of things that nobody names by hand: events, versions, tokens, users.
//
// An id is a prefix that tells what it names, an underscore, and 26 digits of Crockford's base32: 48 bits of Unix
// milliseconds and 80 random bits. So ids sort by the time they were made, spread over an index's leaves, never repeat
// over nodes, and a stray one in a log tells what to look for. An id is not a secret and proves nothing.
package id

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The prefixes in use. A new kind of thing gets a line here, so that no two kinds share one.
const (
	Event       = "evt" // audit event
	Change      = "chg" // change feed entry
	Transaction = "txn" // mark of a committed transaction
	User        = "usr" // person or service user; the `sub` of tokens, never reused
	Client      = "cli" // OAuth client
	Token       = "tok" // access token (jti)
	Request     = "req" // HTTP request
	Node        = "nod" // one run of one server process
	AccessKey   = "key" // an administrator's access key
	Session     = "ses" // somebody signed in with one browser
	Grant       = "grt" // what a person let a client do, from the code to the last refresh token
	Revocation  = "rvk" // revocation of many tokens at once
	Rule        = "rul" // rule about who may revoke what
	Delivery    = "dlv" // destination of an application's credentials
	Device      = "dev" // a browser that a person has signed in with
	Factor      = "fac" // a passkey or an authenticator app
	ClientType  = "cty" // kind of client, with the scopes that such clients may have
	Role        = "rol" // scopes that a person can have at a client
	UserRole    = "uro" // a role that a person has at a client
	Approval    = "apv" // what a person has allowed a client
	Group       = "grp" // a group of people
	Mail        = "mai" // a letter to a person
	Upstream    = "ups" // a login that was sent to a provider of others
	Link        = "lnk" // somebody of such a provider who a person is
	Ask         = "ask" // what a stranger asked for that ends in a letter

	ClientSecret      = "csc" // a labelled secret of a client
	ClientKey         = "cky" // a public key of a client
	RegistrationToken = "rgt" // an initial access token, with which clients register
)

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// ErrMalformed is returned by Parse for text that is not an id.
var ErrMalformed = errors.New("id: malformed")

// New makes an id for the given instant. The prefix must be lower-case letters; anything else is a programming error.
func New(prefix string, now time.Time) string {
	if !validPrefix(prefix) {
		panic(fmt.Sprintf("id: bad prefix %q", prefix))
	}
	var b [16]byte
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	rand.Read(b[6:]) // never fails since Go 1.24
	return prefix + "_" + encode(b)
}

// ID is a parsed id.
type ID struct {
	Prefix string
	Time   time.Time // when it was made, to the millisecond, by the maker's clock
}

// Parse takes an id apart. It accepts exactly what New makes.
func Parse(s string) (ID, error) {
	prefix, digits, ok := strings.Cut(s, "_")
	if !ok || !validPrefix(prefix) || len(digits) != 26 {
		return ID{}, ErrMalformed
	}
	b, ok := decode(digits)
	if !ok {
		return ID{}, ErrMalformed
	}
	var ms uint64
	for i := range 6 {
		ms = ms<<8 | uint64(b[i])
	}
	return ID{Prefix: prefix, Time: time.UnixMilli(int64(ms)).UTC()}, nil
}

// Is tells whether s is an id with this prefix.
func Is(s, prefix string) bool {
	p, err := Parse(s)
	return err == nil && p.Prefix == prefix
}

func validPrefix(p string) bool {
	if p == "" || len(p) > 8 {
		return false
	}
	for _, c := range []byte(p) {
		if c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// encode writes 128 bits as 26 digits, most significant first, so that text order is number order.
func encode(b [16]byte) string {
	var out [26]byte
	var acc uint64
	bits, j := 2, 0 // 26×5 = 130: two zero bits lead
	for _, x := range b {
		acc = acc<<8 | uint64(x)
		bits += 8
		for bits >= 5 {
			bits -= 5
			out[j] = alphabet[acc>>bits&31]
			j++
		}
	}
	return string(out[:])
}

func decode(s string) (b [16]byte, ok bool) {
	var acc uint64
	bits, j := -2, 0
	for i := range len(s) {
		d := strings.IndexByte(alphabet, s[i])
		if d < 0 || i == 0 && d > 7 {
			return b, false
		}
		acc = acc<<5 | uint64(d)
		bits += 5
		if bits >= 8 {
			bits -= 8
			b[j] = byte(acc >> bits)
			j++
		}
	}
	return b, true
}
