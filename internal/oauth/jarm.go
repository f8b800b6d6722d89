package oauth

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Signed answers of the authorization endpoint (JWT Secured Authorization Response Mode): the client sees that an answer
// is ours, whole, for it, and new.

// answerLife is how long a signed answer is good: the most that JARM section 2.1 advises.
const answerLife = 10 * time.Minute

// modeJWT is the customary mode of the response type, signed; the other modes are signed with this behind them.
const modeJWT = "jwt"

// signedMode takes the wish for a signed answer off a response mode (JARM section 2.3).
func signedMode(mode, customary string) (base string, signed bool) {
	if mode == modeJWT {
		return customary, true
	}
	return strings.CutSuffix(mode, "."+modeJWT)
}

// responseModes are all that a client can ask for.
func responseModes() []string {
	list := []string{modeQuery, modeFragment, modeFormPost}
	for _, mode := range list {
		list = append(list, mode+"."+modeJWT)
	}
	return append(list, modeJWT)
}

// signAnswer puts the parameters of an answer into one that is signed.
func (p *people) signAnswer(ctx context.Context, client Client, answer []parameter) (parameter, error) {
	signer, err := p.s.signerFor(ctx, p.s.customary(client.Metadata.AuthorizationAlg))
	if err != nil {
		return parameter{}, err
	}
	b := appendText([]byte(`{"iss":`), p.s.issuer)
	b = appendText(append(b, `,"aud":`...), client.ID)
	b = strconv.AppendInt(append(b, `,"exp":`...), p.s.clock.Now().Add(answerLife).Unix(), 10)
	for _, a := range answer {
		b = append(appendText(append(b, ','), a.name), ':')
		if a.name == "expires_in" { // a number in JSON (RFC 6749 section 4.2.2)
			b = append(b, a.value...)
			continue
		}
		b = appendText(b, a.value)
	}
	token, err := signJWT(signer, "", append(b, '}'))
	return parameter{"response", string(token)}, err
}
