package web_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/url"
	"slices"
	"testing"
)

// authenticator is a security key in software, with the part of the browser that stands between it and the page. What it
// does wrong is set in its fields.
type authenticator struct {
	t      testing.TB
	origin string
	rpID   string
	keys   []*softKey

	skipUV    bool   // does not ask for the finger
	challenge string // signs this one instead
	format    string // of the attestation; "": none
	kind      string // of the client data; "": the right one
}

type softKey struct {
	id     []byte
	handle []byte // of the user
	key    *ecdsa.PrivateKey
	count  uint32
	step   uint32 // by which count grows
}

func (s *site) authenticator() *authenticator {
	return &authenticator{t: s.t, origin: "https://mint.example.org", rpID: "mint.example.org"}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// cborHead is the head of an item of a major type (RFC 8949 section 3).
func cborHead(major byte, n int) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 256:
		return []byte{major<<5 | 24, byte(n)}
	}
	return []byte{major<<5 | 25, byte(n >> 8), byte(n)}
}

func cborBytes(b []byte) []byte { return append(cborHead(2, len(b)), b...) }
func cborText(s string) []byte  { return append(cborHead(3, len(s)), s...) }

// cose is a public key for ES256 (RFC 9053 section 7.1.1).
func cose(k *ecdsa.PrivateKey) []byte {
	raw, err := k.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err)
	}
	out := []byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21}
	out = append(out, cborBytes(raw[1:33])...)
	return append(append(out, 0x22), cborBytes(raw[33:65])...)
}

type ceremonyOptions struct {
	PublicKey struct {
		Challenge string
		RPID      string
		RP        struct{ ID string }
		User      struct{ ID string }

		AllowCredentials       []struct{ ID string }
		ExcludeCredentials     []struct{ ID string }
		UserVerification       string
		AuthenticatorSelection struct{ UserVerification, ResidentKey string }
	}
}

func (a *authenticator) clientData(kind, challenge string) []byte {
	if a.challenge != "" {
		challenge = a.challenge
	}
	if a.kind != "" {
		kind = a.kind
	}
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

func (a *authenticator) authData(flags byte, count uint32) []byte {
	hash := sha256.Sum256([]byte(a.rpID))
	flags |= 1
	if !a.skipUV {
		flags |= 4
	}
	return binary.BigEndian.AppendUint32(append(hash[:], flags), count)
}

// create makes a passkey for the options and answers what the page sends.
func (a *authenticator) create(options []byte) string {
	a.t.Helper()
	var o ceremonyOptions
	if err := json.Unmarshal(options, &o); err != nil {
		a.t.Fatalf("options %s: %v", options, err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	handle, err := base64.RawURLEncoding.DecodeString(o.PublicKey.User.ID)
	if err != nil {
		a.t.Fatal(err)
	}
	k := &softKey{id: make([]byte, 32), handle: handle, key: private, step: 1}
	rand.Read(k.id)
	a.keys = append(a.keys, k)
	data := a.authData(0x40, 0)
	data = append(append(data, make([]byte, 16)...), 0, 32)
	data = append(append(data, k.id...), cose(private)...)
	format := a.format
	if format == "" {
		format = "none"
	}
	object := slices.Concat([]byte{0xa3}, cborText("fmt"), cborText(format), cborText("attStmt"), []byte{0xa0}, cborText("authData"), cborBytes(data))
	return a.written(k, map[string]any{
		"clientDataJSON": b64(a.clientData("webauthn.create", o.PublicKey.Challenge)), "attestationObject": b64(object), "transports": []string{"internal"},
	})
}

// get signs for the options with the last key, or, if keys are named, with the first that is ours.
func (a *authenticator) get(options []byte) string {
	a.t.Helper()
	var o ceremonyOptions
	if err := json.Unmarshal(options, &o); err != nil {
		a.t.Fatalf("options %s: %v", options, err)
	}
	k := a.keys[len(a.keys)-1]
	for _, allowed := range o.PublicKey.AllowCredentials {
		for _, mine := range a.keys {
			if b64(mine.id) == allowed.ID {
				k = mine
			}
		}
	}
	return a.sign(k, o.PublicKey.Challenge)
}

func (a *authenticator) sign(k *softKey, challenge string) string {
	k.count += k.step
	data := a.authData(0, k.count)
	client := a.clientData("webauthn.get", challenge)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(slices.Clone(data), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.key, digest[:])
	if err != nil {
		a.t.Fatal(err)
	}
	return a.written(k, map[string]any{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature), "userHandle": b64(k.handle)})
}

func (a *authenticator) written(k *softKey, response map[string]any) string {
	b, err := json.Marshal(map[string]any{"id": b64(k.id), "rawId": b64(k.id), "type": "public-key", "clientExtensionResults": map[string]any{}, "response": response})
	if err != nil {
		a.t.Fatal(err)
	}
	return string(b)
}

// options asks a page of ours for what a passkey needs, as the script does.
func (b *browser) options(page answer, at string) []byte {
	b.s.t.Helper()
	a := b.do("POST", at, url.Values{"csrf": {page.token(b.s.t)}})
	if a.Code != 200 || a.Header().Get("Content-Type") != "application/json" {
		b.s.t.Fatalf("options of %s: %d\n%s", at, a.Code, a.body)
	}
	return []byte(a.body)
}
