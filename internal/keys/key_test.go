package keys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

func TestSignaturesVerifyElsewhere(t *testing.T) {
	for _, alg := range keys.Algs {
		t.Run(string(alg), func(t *testing.T) {
			onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
				o := schedule
				o.Alg = alg
				r := newRing(t, d, k, c, o)
				if err := r.Ensure(ctx); err != nil {
					t.Fatal(err)
				}
				s := signer(t, r)
				header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + string(alg) + `","kid":"` + s.Kid + `"}`))
				payload := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"x"}`))
				input := header + "." + payload
				document, _ := r.JWKS()
				var set jose.JSONWebKeySet
				if err := json.Unmarshal(document, &set); err != nil {
					t.Fatal(err)
				}
				thumb := must[[]byte](t)(set.Keys[0].Thumbprint(crypto.SHA256))
				if got := base64.RawURLEncoding.EncodeToString(thumb); got != s.Kid || set.Keys[0].KeyID != s.Kid {
					t.Errorf("kid %s, thumbprint %s", s.Kid, got)
				}
				for range 50 { // short integers come up once in some dozen signatures
					sig := must[[]byte](t)(s.Sign([]byte(input)))
					if len(sig) != s.Size() || alg != keys.RS256 && len(sig) != 64 {
						t.Fatalf("signature of %d bytes", len(sig))
					}
					jws := must[*jose.JSONWebSignature](t)(jose.ParseSignedCompact(input+"."+base64.RawURLEncoding.EncodeToString(sig), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}))
					if _, err := jws.Verify(set.Keys[0].Key); err != nil {
						t.Fatal(err)
					}
					pub, ok := r.Key(s.Kid)
					if !ok || !pub.Verify([]byte(input), sig) {
						t.Fatal("our own verification refuses it")
					}
					sig[5] ^= 1
					if pub.Verify([]byte(input), sig) || pub.Verify([]byte(input), sig[:len(sig)-1]) || pub.Verify([]byte(input), nil) {
						t.Fatal("a wrong signature was accepted")
					}
				}
			})
		})
	}
}

func FuzzAppendFixed(f *testing.F) {
	seeds := 0
	for _, pair := range [][2]int64{{1, 2}, {0x7f, 0x80}, {0xff, 1 << 40}} {
		der, err := asn1.Marshal(struct{ R, S *big.Int }{big.NewInt(pair[0]), big.NewInt(pair[1])})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
		seeds++
	}
	if seeds != 3 {
		f.Fatal("the seeds were not loaded")
	}
	f.Add([]byte{0x30, 0x80})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, der []byte) {
		fixed, err := keys.AppendFixed(nil, der)
		if err != nil {
			return
		}
		var sig struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &sig); err != nil {
			return // encoding/asn1 is stricter about padding
		}
		want := append(sig.R.FillBytes(make([]byte, 32)), sig.S.FillBytes(make([]byte, 32))...)
		if sig.R.Sign() >= 0 && sig.S.Sign() >= 0 && !bytes.Equal(fixed, want) {
			t.Fatalf("%x became %x, want %x", der, fixed, want)
		}
	})
}

func TestPublicKeyFitsItsAlgorithm(t *testing.T) {
	ec := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	if (keys.Public{Alg: keys.EdDSA, Key: &ec.PublicKey}).Verify([]byte("x"), make([]byte, 64)) {
		t.Error("a key of one algorithm verified for another")
	}
	if (keys.Public{Alg: keys.ES256, Key: ed25519.PublicKey(make([]byte, 32))}).Verify([]byte("x"), make([]byte, 64)) {
		t.Error("a key of one algorithm verified for another")
	}
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range keys.Algs {
		b.Run(string(alg), func(b *testing.B) {
			d := dbtest.Open(b, db.SQLite, clock.System)
			r := newRing(b, d, sealtest.New(b, d), clock.System, keys.Options{Alg: alg})
			if err := r.Ensure(ctx); err != nil {
				b.Fatal(err)
			}
			input, buffer := bytes.Repeat([]byte("x"), 400), make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				s, err := r.Signer(ctx)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.AppendSignature(buffer, input); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
