package jose_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	library "github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/jose"
)

// receiver is somebody with a key pair, whose public half we know.
func receiver(t *testing.T, key crypto.Signer, kid, use, alg string) jose.Key {
	t.Helper()
	b, err := json.Marshal(library.JSONWebKey{Key: key.Public(), KeyID: kid, Use: use, Algorithm: alg})
	if err != nil {
		t.Fatal(err)
	}
	k, err := jose.ParseKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keyPairs(t *testing.T) (r *rsa.PrivateKey, e, e384 *ecdsa.PrivateKey, ed ed25519.PrivateKey) {
	t.Helper()
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	e384, err3 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, err4 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	return r, e, e384, ed
}

// Whatever we offer, another library opens with the private key, and only with that one.
func TestWhatWeEncryptOthersOpen(t *testing.T) {
	r, e, e384, _ := keyPairs(t)
	otherR, otherE, otherE384, _ := keyPairs(t)
	for _, alg := range jose.KeyAlgs() {
		for _, enc := range append(jose.ContentAlgs(), "") {
			for _, pair := range [][2]crypto.Signer{{r, otherR}, {e, otherE}, {e384, otherE384}} {
				if _, isRSA := pair[0].(*rsa.PrivateKey); isRSA != strings.HasPrefix(alg, "RSA") {
					continue
				}
				plaintext := []byte("header.payload.signature")
				text, err := jose.Encrypt(receiver(t, pair[0], "k1", "enc", ""), alg, enc, plaintext, true)
				if err != nil {
					t.Fatal(alg, enc, err)
				}
				want := enc
				if want == "" {
					want = "A128CBC-HS256"
				}
				box, err := library.ParseEncryptedCompact(text, []library.KeyAlgorithm{library.KeyAlgorithm(alg)}, []library.ContentEncryption{library.ContentEncryption(want)})
				if err != nil {
					t.Fatal(alg, enc, err)
				}
				if box.Header.KeyID != "k1" || box.Header.ExtraHeaders["cty"] != "JWT" {
					t.Errorf("%s %s: header %+v", alg, enc, box.Header)
				}
				if got, err := box.Decrypt(pair[0]); err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("%s %s: %q, %v", alg, enc, got, err)
				}
				if _, err := box.Decrypt(pair[1]); err == nil {
					t.Errorf("%s %s: another key opens it", alg, enc)
				}
				again, err := jose.Encrypt(receiver(t, pair[0], "k1", "enc", ""), alg, enc, plaintext, true)
				if err != nil || again == text {
					t.Errorf("%s %s: twice the same, %v", alg, enc, err)
				}
			}
		}
	}
}

func TestWhatIsNotNestedSaysSo(t *testing.T) {
	_, e, _, _ := keyPairs(t)
	text, err := jose.Encrypt(receiver(t, e, "", "", ""), "ECDH-ES", "A256GCM", []byte(`{"sub":"x"}`), false)
	if err != nil {
		t.Fatal(err)
	}
	header, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[0])
	if err != nil || strings.Contains(string(header), "cty") || strings.Contains(string(header), "kid") {
		t.Errorf("%s, %v", header, err)
	}
}

func TestNothingIsEncryptedWhereItShouldNot(t *testing.T) {
	r, e, _, ed := keyPairs(t)
	for name, c := range map[string]struct {
		key      jose.Key
		alg, enc string
	}{
		"RSA1_5":                   {receiver(t, r, "", "", ""), "RSA1_5", ""},
		"dir":                      {receiver(t, r, "", "", ""), "dir", ""},
		"an RSA key by ECDH-ES":    {receiver(t, r, "", "", ""), "ECDH-ES", ""},
		"an EC key by RSA-OAEP":    {receiver(t, e, "", "", ""), "RSA-OAEP", ""},
		"a key for signatures":     {receiver(t, r, "", "sig", ""), "RSA-OAEP", ""},
		"a key of another alg":     {receiver(t, r, "", "", "RSA-OAEP-256"), "RSA-OAEP", ""},
		"Ed25519":                  {receiver(t, ed, "", "", ""), "ECDH-ES", ""},
		"unknown content":          {receiver(t, r, "", "", ""), "RSA-OAEP", "A128CBC"},
		"content without its text": {receiver(t, r, "", "", ""), "RSA-OAEP", "none"},
	} {
		if text, err := jose.Encrypt(c.key, c.alg, c.enc, []byte("x"), true); !errors.Is(err, jose.ErrNoEncryptionKey) || text != "" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func TestWhichKeyIsEncryptedFor(t *testing.T) {
	r, e, _, ed := keyPairs(t)
	sig, bare := receiver(t, r, "sig", "sig", ""), receiver(t, r, "bare", "", "")
	enc, exact := receiver(t, r, "enc", "enc", ""), receiver(t, r, "exact", "enc", "RSA-OAEP-256")
	ec, no := receiver(t, e, "ec", "", ""), receiver(t, ed, "ed", "", "")
	for _, c := range []struct {
		keys []jose.Key
		alg  string
		want string
	}{
		{[]jose.Key{sig, bare, enc, exact, ec, no}, "RSA-OAEP-256", "exact"},
		{[]jose.Key{sig, bare, enc, exact, ec, no}, "RSA-OAEP", "enc"},
		{[]jose.Key{sig, bare, ec}, "RSA-OAEP", "bare"},
		{[]jose.Key{sig, bare, ec}, "ECDH-ES+A128KW", "ec"},
		{[]jose.Key{sig, no}, "RSA-OAEP", ""},
		{[]jose.Key{bare}, "RSA1_5", ""},
		{nil, "ECDH-ES", ""},
	} {
		k, err := jose.ChooseEncryptionKey(c.keys, c.alg)
		if k.ID != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, jose.ErrNoEncryptionKey) {
			t.Errorf("%s: %q, %v; want %q", c.alg, k.ID, err, c.want)
		}
	}
}
