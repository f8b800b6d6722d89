package oauth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// A refresh token names its grant and its generation, holds 256 random bits, and ends in a MAC over all of it. So a token
// that we never made is refused without asking the database, and one that we made long ago is known for what it is, a
// token used again, without keeping a row for each.
const (
	tokenPrefix = "mmr_"
	idDigits    = 26
	originSize  = 36 // of a MAC, see package seal; 48 characters
	tokenTail   = secretLength + 48
)

func (p *people) newToken(grantID string, generation int64) redact.Secret {
	body := seal.NewSecret(tokenPrefix + strings.TrimPrefix(grantID, id.Grant+"_") + "_" + strconv.FormatInt(generation, 10) + "_")
	origin := p.Keyring.MAC(macOrigin, body)
	return redact.FromBytes(base64.RawURLEncoding.AppendEncode(body.Bytes(), origin))
}

// parseToken takes a refresh token apart; ok is false if it is none that we made.
func (p *people) parseToken(token redact.Secret) (grantID string, generation int64, ok bool) {
	text := token.Reveal()
	rest, found := strings.CutPrefix(text, tokenPrefix)
	if !found || len(rest) < idDigits+3+tokenTail || len(rest) > idDigits+2+19+tokenTail || rest[idDigits] != '_' {
		return "", 0, false
	}
	grantID = id.Grant + "_" + rest[:idDigits]
	number, underscore := rest[idDigits+1:len(rest)-tokenTail], len(rest)-tokenTail-1
	if rest[underscore] != '_' || !id.Is(grantID, id.Grant) {
		return "", 0, false
	}
	generation, err := strconv.ParseInt(strings.TrimSuffix(number, "_"), 10, 64)
	if err != nil || generation < 1 {
		return "", 0, false
	}
	cut := len(text) - 48
	origin, err := strict.DecodeString(text[cut:])
	if err != nil || len(origin) != originSize || !p.Keyring.VerifyMAC(macOrigin, redact.New(text[:cut]), origin) {
		return "", 0, false
	}
	return grantID, generation, true
}

// refresh is a refresh token that a client brings, and what came of it.
type refresh struct {
	client     Client
	token      redact.Secret
	grantID    string
	generation int64
	asked      []string // scopes
	resources  []string // asked for
	caller     access.Caller
	turned     successor // if it is this token's turn

	// The outcome.
	grant    *grant
	scopes   []string
	audience []string
	next     redact.Secret
	err      error
	other    bool // another client's token
}

// successor is the token that takes the place of another. It depends on nothing but that one, so it is made before the
// transaction, which others wait for, and is the same in each attempt at it.
type successor struct {
	token redact.Secret
	mac   []byte
	box   []byte // the token, for who brings the old one again
}

// newSuccessor makes the next token of the family.
func (p *people) newSuccessor(token redact.Secret, grantID string, generation int64) (successor, error) {
	next := p.newToken(grantID, generation+1)
	box, err := sealSuccessor(token, grantID, generation+1, next)
	return successor{token: next, mac: p.Keyring.MAC(macToken, next), box: box}, err
}

// refreshToken is the grant refresh_token (RFC 6749 section 6).
func (p *people) refreshToken(r *http.Request, client Client, q parameters, asked []string, t *tokenRequest) ([]byte, error) {
	x := &refresh{client: client, token: redact.New(q.get("refresh_token")), asked: asked, resources: q.all("resource"), caller: clientCaller(r, client)}
	if x.token.Empty() {
		return nil, refuse(invalidRequest, "refresh_token is missing.")
	}
	var ok bool
	if x.grantID, x.generation, ok = p.parseToken(x.token); !ok {
		return nil, badCredentials()
	}
	var err error
	if x.turned, err = p.newSuccessor(x.token, x.grantID, x.generation); err != nil {
		return nil, err
	}
	if err := p.changes.Do(r.Context(), change{refresh: x}); err != nil {
		return nil, notStored(err)
	}
	if x.other {
		p.s.journal.note(act{action: "token.refresh", outcome: audit.Denied, reason: "token_of_another_client", client: client.ID})
	}
	if x.err != nil {
		return nil, x.err
	}
	t.audience = x.audience
	return p.answer(r, t, x.client, x.grant, x.scopes, x.next, false)
}

func (p *people) writeRefreshes(ctx context.Context, tx db.WriteTx, items []*refresh) error {
	grants, err := p.takeGrants(ctx, tx, byID, grantsOf(items))
	if err != nil {
		return err
	}
	for _, x := range items {
		x.grant, x.scopes, x.audience, x.next, x.err, x.other = nil, nil, nil, redact.Secret{}, badCredentials(), false
		for _, g := range grants {
			if g.id == x.grantID {
				if err := p.turn(ctx, tx, x, g); err != nil {
					return err
				}
			}
		}
	}
	return storeGrantsLast(ctx, tx, grants)
}

// grantsOf are the ids of the grants, each once.
func grantsOf(items []*refresh) []any {
	ids := make([]any, 0, len(items))
	for _, x := range items {
		if !slices.Contains(ids, any(x.grantID)) {
			ids = append(ids, x.grantID)
		}
	}
	return ids
}

// turn decides about one token. There is one live token of a family at any time; who brings the one before within ten
// seconds did not get the answer, and gets the same one again; who brings any other has one that somebody else used, and
// nobody can say which of the two is the thief, so the family ends.
func (p *people) turn(ctx context.Context, tx db.WriteTx, x *refresh, g *grant) error {
	switch now := tx.Now(); {
	case g.client != x.client.ID:
		// Only the client itself can end its family.
		x.other = true
		return nil
	case g.ended || !now.Before(g.idleUntil) || !now.Before(g.liveUntil) || !now.Before(g.created.Add(p.absoluteLife(x.client, g.realm))) || x.generation > g.generation:
		return nil
	case x.generation == g.generation:
		if !p.Keyring.VerifyMAC(macToken, x.token, g.tokenMAC) {
			return nil // made by a database that is not this one's past
		}
		p.rotate(x, g, now)
		return nil
	case x.generation == g.generation-1 && now.Sub(g.rotated) <= retryWindow:
		if next, ok := openSuccessor(x.token, g.id, g.generation, g.successor); ok {
			return p.again(ctx, tx, x, g, next)
		}
	}
	return p.endLoudly(ctx, tx, g, x.caller, "refresh_reuse")
}

// mayRefresh passes the gate: it notes what the next access token is good for, or why there is none.
func (p *people) mayRefresh(x *refresh, g *grant) bool {
	if x.scopes, x.err = p.s.admit(admission{grant: grantRefreshToken, client: x.client, owner: g.owner(), asked: x.asked}); x.err == nil {
		x.audience, x.err = p.s.narrowResources(x.client, g.resources, x.resources)
	}
	return x.err == nil
}

// rotate lets the successor take the token's place.
func (p *people) rotate(x *refresh, g *grant, now time.Time) {
	if !p.mayRefresh(x, g) {
		return
	}
	g.generation++
	g.tokenMAC, g.successor, g.rotated, g.retries, g.changed = x.turned.mac, x.turned.box, now, 0, true
	// An hour's precision is enough for thirty days, and a column that stays as it is costs no index.
	life := p.idleLife(x.client, g.realm)
	if idle := now.Add(life); idle.Before(g.idleUntil) || idle.Sub(g.idleUntil) > min(time.Hour, life/30) {
		g.idleUntil = idle
	}
	if g.idleUntil.After(g.liveUntil) {
		g.idleUntil = g.liveUntil
	}
	x.grant, x.next = g, x.turned.token
}

// again answers what the client did not get. After a few times somebody does something else than to try again.
func (p *people) again(ctx context.Context, tx db.WriteTx, x *refresh, g *grant, next redact.Secret) error {
	if g.retries >= maxRetries {
		return nil
	}
	if !p.mayRefresh(x, g) {
		return nil
	}
	g.retries++
	g.changed = true
	x.grant, x.next = g, next
	return audit.Record(ctx, tx, audit.Event{
		Action: "grant.retry", Outcome: audit.Success, Caller: x.caller, TargetType: "grant", TargetID: g.id,
		Details: map[string]any{"generation": g.generation, "retry": g.retries},
	})
}

// successorKey is the key of a token's successor. It comes from the token alone, so the database, which holds no token,
// holds nothing that could be opened. The token is as random as a key, so there is nothing to extract (RFC 5869 section 3.3).
func successorKey(token redact.Secret) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, token.Bytes(), "mintmark refresh successor 1", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func successorPlace(grantID string, generation int64) []byte {
	return []byte(grantID + " " + strconv.FormatInt(generation, 10))
}

func sealSuccessor(token redact.Secret, grantID string, generation int64, next redact.Secret) ([]byte, error) {
	aead, err := successorKey(token)
	if err != nil {
		return nil, fmt.Errorf("seal a refresh token: %w", err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(next.Bytes())+aead.Overhead())
	rand.Read(nonce) // never fails since Go 1.24
	return aead.Seal(nonce, nonce, next.Bytes(), successorPlace(grantID, generation)), nil
}

func openSuccessor(token redact.Secret, grantID string, generation int64, box []byte) (redact.Secret, bool) {
	aead, err := successorKey(token)
	if err != nil || len(box) < aead.NonceSize() {
		return redact.Secret{}, false
	}
	next, err := aead.Open(nil, box[:aead.NonceSize()], box[aead.NonceSize():], successorPlace(grantID, generation))
	return redact.FromBytes(next), err == nil
}

// endByToken ends the family of a refresh token that its client gives back (RFC 7009). ok is false if the token is
// another client's.
func (p *people) endByToken(ctx context.Context, client Client, token redact.Secret, c access.Caller) (ok bool, err error) {
	grantID, _, known := p.parseToken(token)
	if !known {
		return true, nil
	}
	err = p.s.db.Write(ctx, func(tx db.WriteTx) error {
		grants, err := loadGrants(ctx, tx, byID, []any{grantID})
		if err != nil || len(grants) == 0 {
			ok = true // there is nothing that could be good
			return err
		}
		g := grants[0]
		if ok = g.client == client.ID; !ok || g.ended {
			return nil
		}
		if err := p.end(ctx, tx, g, "revoked"); err != nil {
			return err
		}
		return audit.Done(ctx, tx, c, "grant.revoke", "grant", g.id, map[string]any{"user": g.user})
	})
	return ok, err
}
