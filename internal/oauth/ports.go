package oauth

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/keyset"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// Client is an OAuth client as the registry knows it.
type Client = registry.Client

// Subject is a service user who has proved to be it.
type Subject = identity.Subject

// Clients is what this package asks about clients (registry.Clients). It answers from memory, at most a second behind
// the database, and is asked by many requests at once.
type Clients interface {
	// Client finds a client; a fault of kind NotFound if there is none. A disabled client is an answer, not an error.
	Client(ctx context.Context, id string) (Client, error)
	// AuthenticateClient checks a secret and tells which version it was. Whatever is wrong with the pair is a fault of
	// kind Unauthenticated, apart from a client that has no secret: registry.ErrPublicClient. Any other error says that
	// it could not be found out.
	AuthenticateClient(ctx context.Context, id string, secret redact.Secret) (Client, int64, error)
	// KnownOrigin tells whether any client may be called for by scripts of the origin.
	KnownOrigin(ctx context.Context, origin string) (bool, error)
	// OfApplication finds the client of an application; a fault of kind NotFound if there is none.
	OfApplication(ctx context.Context, application string) (Client, error)
}

// SharedSecrets are the secrets of clients that sign with them (client_secret_jwt). A MAC does not sign, so these must be
// kept in a form from which they come back; a client that does not sign has none.
type SharedSecrets interface {
	// HMACSecrets answers the client's secrets that are valid now, or none. An error says that it could not be found
	// out.
	HMACSecrets(ctx context.Context, clientID string) ([]redact.Secret, error)
}

// KeySets are the key sets that clients keep at addresses of their own (keyset.Clients). To ask waits for the network, so it
// is never done while a transaction is open.
type KeySets interface {
	// Keys answers the client's keys at the address. untrusted says that a stranger registered the client, newer that the
	// keys which are known did not do; it may change nothing. A fault of kind Unavailable says that none can be had.
	Keys(ctx context.Context, clientID string, untrusted bool, address string, newer bool) (keyset.Set, error)
}

// Proofs is told what clients have proved themselves with by signing (registry.Clients), so that their owners see what is
// in use still, and a client that is used is not taken for one that never was.
type Proofs interface {
	NoteUse(keyID string)
	NoteSecret(ctx context.Context, clientID string, secret redact.Secret)
}

// Users is what this package asks about service users (identity.Verifier), under the same terms. Nobody can tell by the
// answer or by its time whether the name exists.
type Users interface {
	ServicePassword(ctx context.Context, realm, username string, password redact.Secret) (Subject, error)
	// ServiceUser finds a service user for whom somebody else has vouched; a fault of kind Unauthenticated if there is
	// none, or if it is disabled.
	ServiceUser(ctx context.Context, realm, username string) (Subject, error)
}

// Keys are the keys that tokens are signed and verified with (keys.Ring). All of it answers from memory.
type Keys interface {
	// Signer is the key to sign with now; an error of kind Unavailable if there is none.
	Signer(ctx context.Context) (keys.Signer, error)
	// SignerFor is the key of one algorithm to sign with now; an error of kind Unavailable if there is none.
	SignerFor(ctx context.Context, alg keys.Alg) (keys.Signer, error)
	// Algs are the algorithms that SignerFor has a key of, that of Signer first. Nobody changes the slice.
	Algs() []keys.Alg
	// Key finds a key that is accepted for verification.
	Key(kid string) (keys.Public, bool)
	// ServeJWKS answers GET and HEAD with the public key set.
	ServeJWKS(w http.ResponseWriter, r *http.Request)
}
