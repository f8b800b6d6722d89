package keys

import (
	"context"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/route"
)

type (
	kidPath struct {
		Kid string `path:"kid" maxLength:"64"`
	}
	rotateBody struct{ Body api.RotateSigningKey }
	keyOutput  struct{ Body api.SigningKey }
	keysOutput struct{ Body api.SigningKeys }
)

// Routes registers the management endpoints. The key set itself is served by ServeJWKS, under the protocol's names.
func (r *Ring) Routes(m *route.Mux) {
	tags := []string{"Keys"}
	route.Read(m, route.Op{Method: http.MethodGet, Path: "/api/keys", ID: "key.list", Summary: "List the signing keys", Action: access.ReadKeys, Tags: tags},
		func(ctx context.Context, tx db.ReadTx, caller access.Caller, _ *struct{}) (*keysOutput, error) {
			list, err := r.List(ctx, tx, caller)
			if err != nil {
				return nil, err
			}
			out := &keysOutput{api.SigningKeys{Items: []api.SigningKey{}}}
			for _, k := range list {
				out.Body.Items = append(out.Body.Items, wire(k))
			}
			return out, nil
		})
	route.Do(m, route.Op{ // not Write: a key that takes long to make is made between two transactions
		Method: http.MethodPost, Path: "/api/keys/rotations", ID: "key.rotate", Summary: "Ask for a new signing key", Action: access.RotateKeys, Status: http.StatusAccepted, Tags: tags,
		Description: "The answer is the next key. It is published at once and signs from `activate_at` on, when every verifier can know it. With `emergency`, all keys of the algorithm are withdrawn instead, and the answer signs already.",
	}, func(ctx context.Context, caller access.Caller, in *rotateBody) (*keyOutput, error) {
		rotate := r.Rotate
		if in.Body.Emergency {
			rotate = r.Replace
		}
		k, err := rotate(ctx, caller, Alg(in.Body.Algorithm))
		if err != nil {
			return nil, err
		}
		return &keyOutput{wire(k)}, nil
	})
	route.Do(m, route.Op{
		Method: http.MethodDelete, Path: "/api/keys/{kid}", ID: "key.revoke", Summary: "Revoke a signing key", Action: access.RotateKeys, Tags: tags,
		Description: "For a key that is no longer trusted: it is withdrawn at once, and every token that it signed becomes invalid. If it was active, another one is active at once.",
	}, func(ctx context.Context, caller access.Caller, in *kidPath) (*struct{}, error) {
		return nil, r.Revoke(ctx, caller, in.Kid)
	})
}

func wire(k Info) api.SigningKey {
	return api.SigningKey{
		Kid: k.Kid, Alg: string(k.Alg), State: string(k.State), Created: k.Created, ActivateAt: k.ActivateAt, Activated: optional(k.Activated),
		Retiring: optional(k.Retiring), RetireAt: optional(k.RetireAt), Retired: optional(k.Retired), Revoked: k.Revoked,
	}
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
