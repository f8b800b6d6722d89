package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// idTokenType is the typ of ID tokens. It is not that of access tokens, and neither is taken for the other.
const idTokenType = "JWT"

// issueTime is when a token is dated: now, but never before the client is enabled, although this node's clock may be
// behind the database's.
func (p *people) issueTime(client Client) time.Time {
	now := p.s.clock.Now().Truncate(time.Second)
	if first := wholeSecond(client.EnabledSince); first.After(now) {
		return first
	}
	return now
}

// accessToken makes an access token of a grant.
func (p *people) accessToken(ctx context.Context, t *tokenRequest, client Client, g *grant, scopes []string, now time.Time, life time.Duration) ([]byte, error) {
	t.realm, t.scopes = g.realm, scopes
	c := &Claims{
		Issuer: p.s.issuer, Audience: p.s.audienceOf(t), Subject: p.subject(client, g.user), ClientID: client.ID, Realm: g.realm, Scopes: scopes, Grant: t.grant,
		GrantID: g.id, IssuedAt: now, Expires: now.Add(life),
	}
	if slices.Contains(scopes, scopeAZP) {
		c.AuthorizedParty = client.ID
	}
	p.remembered.put(g.id, told{g.user, g.claims}) // the client is likely to ask userinfo next
	return p.s.mint(ctx, c)
}

// answer makes the tokens of a grant and the document that carries them. The grant is stored by now: if signing fails,
// a code is used up and nothing was given.
func (p *people) answer(r *http.Request, t *tokenRequest, client Client, g *grant, scopes []string, refreshToken redact.Secret, first bool) ([]byte, error) {
	ctx, s := r.Context(), p.s
	life, now := p.s.accessLife(client, g.realm, g.by), p.issueTime(client)
	token, err := p.accessToken(ctx, t, client, g, scopes, now, life)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 2*len(token)+512)
	b = append(b, `{"access_token":"`...)
	b = append(b, token...)
	b = append(b, `","token_type":"Bearer","expires_in":`...)
	b = strconv.AppendInt(b, int64(life.Seconds()), 10)
	if !refreshToken.Empty() {
		b = append(append(append(b, `,"refresh_token":"`...), refreshToken.Bytes()...), '"')
	}
	if first && slices.Contains(scopes, scopeOpenID) {
		identity, err := p.idToken(ctx, g, client, scopes, identityParts{access: token}, now)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, `,"id_token":"`...), identity...), '"')
	}
	b = appendText(append(b, `,"scope":`...), sortedText(scopes))
	b = appendText(append(b, `,"realm":`...), s.outward(g.realm))
	return append(b, '}'), nil
}

// identityParts are what an ID token goes along with.
type identityParts struct {
	access []byte // access token, or nil
	code   string // or ""
	whole  bool   // it says all that the scopes release, because userinfo cannot be asked
}

// idToken tells the client who signed in, when and how (OpenID Connect Core section 2).
func (p *people) idToken(ctx context.Context, g *grant, client Client, scopes []string, parts identityParts, now time.Time) ([]byte, error) {
	signer, err := p.s.signerFor(ctx, client.Metadata.IDTokenAlg)
	if err != nil {
		return nil, err
	}
	b := appendText([]byte(`{"iss":`), p.s.issuer)
	b = appendText(append(b, `,"sub":`...), p.subject(client, g.user))
	b = appendText(append(b, `,"aud":`...), client.ID)
	b = appendText(append(b, `,"azp":`...), client.ID)
	b = strconv.AppendInt(append(b, `,"iat":`...), now.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), now.Add(p.s.lifetimes.IDToken(client.Metadata, p.s.realmNamed(g.realm)).For).Unix(), 10)
	if !g.authTime.IsZero() { // of a grant that another surface began, nobody may know
		b = strconv.AppendInt(append(b, `,"auth_time":`...), g.authTime.Unix(), 10)
	}
	if g.nonce != "" {
		b = appendText(append(b, `,"nonce":`...), g.nonce)
	}
	if told := g.toldOf(client); told != "" {
		b = appendText(append(b, `,"sid":`...), p.sessionName(client, told))
	}
	b = appendText(append(b, `,"acr":`...), g.acr)
	if len(g.amr) > 0 {
		b = appendTexts(append(b, `,"amr":`...), g.amr)
	}
	if parts.access != nil {
		b = appendText(append(b, `,"at_hash":`...), halfHash(signer.Alg, parts.access))
	}
	if parts.code != "" {
		b = appendText(append(b, `,"c_hash":`...), halfHash(signer.Alg, []byte(parts.code)))
	}
	if b, err = p.appendAboutInID(ctx, b, g, scopes, parts.whole); err != nil {
		return nil, err
	}
	if b, err = p.appendClaims(ctx, b, g.user, inIDToken(client, scopes, parts.whole), true); err != nil {
		return nil, err
	}
	b = append(b, '}')

	token, err := signJWT(signer, idTokenType, b)
	if err != nil {
		return nil, err
	}
	return p.s.encryptFor(ctx, client, client.Metadata.IDTokenKeyAlg, client.Metadata.IDTokenEnc, token, true)
}

// appendAboutInID appends what the client wants to know of the person in the ID token itself, if anything.
func (p *people) appendAboutInID(ctx context.Context, b []byte, g *grant, scopes []string, whole bool) ([]byte, error) {
	tells := func(claim string) bool {
		return whole && slices.Contains(scopes, claimScopes[claim]) || slices.Contains(g.claims, "id_token."+claim)
	}
	for claim := range claimScopes {
		if tells(claim) {
			person, err := p.People.Person(ctx, g.user)
			if err != nil {
				return nil, fmt.Errorf("find the person of an ID token: %w", err)
			}
			return appendAbout(b, person, tells), nil
		}
	}
	return b, nil
}

// appendAbout appends those claims of the person that are to be told and that there are.
func appendAbout(b []byte, person Person, tells func(claim string) bool) []byte {
	text := func(claim, value string) {
		if value != "" && tells(claim) {
			b = appendText(append(append(append(b, `,"`...), claim...), `":`...), value)
		}
	}
	text("name", person.Name)
	text("preferred_username", person.Username)
	text("email", person.Email)
	if person.Email != "" && tells("email_verified") {
		b = strconv.AppendBool(append(b, `,"email_verified":`...), person.EmailVerified)
	}
	text("phone_number", person.Phone)
	if person.Phone != "" && tells("phone_number_verified") {
		b = append(b, `,"phone_number_verified":false`...) // nobody has called it
	}
	if person.Address != "" && tells("address") {
		b = append(appendText(append(b, `,"address":{"formatted":`...), person.Address), '}')
	}
	return b
}

// halfHash is the left half of a token's hash, by the hash of the algorithm that signs.
func halfHash(alg keys.Alg, token []byte) string {
	if alg == keys.EdDSA {
		sum := sha512.Sum512(token)
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256(token)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// userinfo tells the client about the person, as far as the person let it (OpenID Connect Core section 5.3).
func (p *people) userinfo(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		notThisMethod(w, r, "GET, POST")
		return
	}
	if len(r.Header["Authorization"]) > 1 {
		p.s.refused(w, r, refuse(invalidRequest, "Send one Authorization header.")) // a proxy might have looked at the other one
		return
	}
	token, inHeader := bearer(r)
	if r.Method == http.MethodPost && isForm(r) {
		form, err := readForm(r)
		inForm, given := form.find("access_token")
		if err == nil && inHeader && given {
			err = refuse(invalidRequest, "Send the access token in one way.") // RFC 6750 section 2
		}
		if err != nil {
			p.s.refused(w, r, err)
			return
		}
		if given {
			token = inForm
		}
	}
	person, c, asked, err := p.whose(r.Context(), token)
	if err != nil {
		no := refusalOf(err)
		if no.status == http.StatusUnauthorized || no.status == http.StatusForbidden {
			challenge := "Bearer"
			if token != "" {
				challenge += ` error="` + no.code + `"`
			}
			w.Header()["Www-Authenticate"] = []string{challenge}
			route.NoteError(r.Context(), no.code, no.cause)
			answer(w, no.status, append(appendText([]byte(`{"error":`), no.code), '}'))
			return
		}
		p.s.refused(w, r, err)
		return
	}
	more, err := p.appendClaims(r.Context(), nil, person.ID, c.Scopes, false)
	if err != nil {
		p.s.refused(w, r, err)
		return
	}
	p.answerPerson(w, r, c, func(b []byte) []byte {
		b = appendText(append(b, `{"sub":`...), c.Subject)
		b = appendAbout(b, person, func(claim string) bool {
			return c.HasScope(claimScopes[claim]) || slices.Contains(asked, "userinfo."+claim)
		})
		return append(append(b, more...), '}')
	})
}

// whose finds the person that the token is for, and the claims that its client asked for by name.
func (p *people) whose(ctx context.Context, token string) (person Person, c *Claims, asked []string, err error) {
	invalid := func(cause error) error {
		return &refusal{status: http.StatusUnauthorized, code: "invalid_token", description: "The access token is not valid.", cause: cause}
	}
	if strings.TrimSpace(token) == "" {
		return person, nil, nil, invalid(nil)
	}
	c, err = p.s.verifier.Verify(ctx, token, VerifyOptions{Audience: p.s.audience[0]})
	p.s.counted("userinfo", c, err)
	if isTokenError(err) {
		return person, nil, nil, invalid(err)
	}
	if err != nil {
		return person, nil, nil, err
	}
	p.s.named(ctx, c.ClientID)
	if at, err := p.s.realms.Lookup(c.Realm); err != nil || at.Kind != realm.People || c.GrantID == "" {
		return person, nil, nil, invalid(nil)
	}
	if !c.HasScope(scopeOpenID) {
		return person, nil, nil, &refusal{status: http.StatusForbidden, code: "insufficient_scope", description: "The token does not carry scope openid."}
	}
	grant, err := p.told(ctx, c.GrantID)
	if errors.Is(err, db.ErrNoRows) {
		return person, nil, nil, invalid(err)
	}
	if err != nil {
		return person, nil, nil, err
	}
	person, err = p.People.Person(ctx, grant.userID)
	if fault.Is(err, fault.NotFound) || err == nil && !person.Enabled {
		return person, nil, nil, invalid(err)
	}
	return person, c, grant.claims, err
}
