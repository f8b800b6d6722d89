package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/api"
)

// clientKey is a key of a client's own, the public half of which is registered.
type clientKey struct {
	id     string
	kid    string
	signer *ecdsa.PrivateKey
}

func newKey(t *testing.T, p *party) *clientKey {
	t.Helper()
	k := looseKey(t)
	var made api.ClientKey
	manage(t, http.MethodPost, "/api/clients/"+p.ClientID+"/keys", api.PostClientKey{Label: "test", JWK: k.public(t)}, &made)
	k.id = made.ID
	return k
}

// looseKey is a key that is registered nowhere yet.
func looseKey(t *testing.T) *clientKey {
	t.Helper()
	return &clientKey{kid: rand.Text(), signer: must[*ecdsa.PrivateKey](t, "key")(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

func (k *clientKey) public(t *testing.T) json.RawMessage {
	t.Helper()
	jwk := jose.JSONWebKey{Key: &k.signer.PublicKey, KeyID: k.kid, Algorithm: "ES256", Use: "sig"}
	return must[[]byte](t, "JWK")(jwk.MarshalJSON())
}

// sign makes a JWT of the claims.
func (k *clientKey) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k.signer, KeyID: k.kid}}
	signer := must[jose.Signer](t, "signer")(jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT")))
	payload := must[[]byte](t, "claims")(json.Marshal(claims))
	signed := must[*jose.JSONWebSignature](t, "sign")(signer.Sign(payload))
	return must[string](t, "serialize")(signed.CompactSerialize())
}

// unsigned is a JWT with alg none.
func unsigned(t *testing.T, claims map[string]any) string {
	t.Helper()
	payload := must[[]byte](t, "claims")(json.Marshal(claims))
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
}
