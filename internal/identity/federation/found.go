package federation

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/sourced"
	"github.com/mintmark/mintmark/internal/jose"
)

// Found is who somebody is at a provider, as far as it is of use here.
type Found struct {
	Subject  string    `json:"sub"`
	SID      string    `json:"sid,omitempty"` // of the session there
	AuthTime time.Time `json:"auth_time"`
	ACR      string    `json:"acr,omitempty"`
	AMR      []string  `json:"amr,omitempty"`

	Username string `json:"username,omitempty"` // a suggestion
	Name     string `json:"name,omitempty"`
	Email    string `json:"email,omitempty"` // verified, or empty
	Phone    string `json:"phone,omitempty"`
	Label    string `json:"label,omitempty"` // for the person itself

	Said sourced.Said `json:"said"`           // of groups and attributes
	Hint string       `json:"hint,omitempty"` // see Proof
}

// Federated is the method of a login with a provider, among those of RFC 8176, as others use it, too.
const Federated = "fed"

const (
	maxMethods = 20
	maxClaim   = 400
)

// read reads an ID token that was validated.
func (s *Service) read(p Provider, l login, c jose.Claims) (Found, error) {
	f := Found{Subject: c.Subject}
	if c.Subject == "" || len(c.Subject) > maxSubject || !utf8.ValidString(c.Subject) {
		return f, upstream("the token has no subject that can be stored")
	}
	if sid, ok := c.Text("sid"); ok && len(sid) <= maxSubject {
		f.SID = sid
	}
	if acr, ok := c.Text("acr"); ok && len(acr) <= maxWord {
		f.ACR = acr
	}
	if raw := c.JSON("amr"); raw != nil && json.Unmarshal(raw, &f.AMR) != nil {
		f.AMR = nil
	}
	f.AMR = f.AMR[:min(len(f.AMR), maxMethods)]
	var err error
	if f.AuthTime, err = s.authTime(p, l, c); err != nil {
		return f, err
	}
	f.describe(p, c.JSON)
	return f, nil
}

// authTime is when the person signed in there. Who is to prove anew that it is there must have done so since this login
// began; a provider that does not tell is taken only if an administrator has said so, and then as one where that may be
// long ago.
func (s *Service) authTime(p Provider, l login, c jose.Claims) (time.Time, error) {
	now := s.o.Clock.Now()
	if p.Policy.NoAuthTime && !c.Has("auth_time") {
		return untold(p, l, now)
	}
	var seconds float64
	if raw := c.JSON("auth_time"); raw == nil || json.Unmarshal(raw, &seconds) != nil || seconds < 1 || seconds > 1<<38 {
		return time.Time{}, upstream("the token does not tell auth_time, which was asked for (policy.no_auth_time is for such providers)")
	}
	at := time.Unix(int64(seconds), 0).UTC()
	switch {
	case at.After(now.Add(skew)):
		return at, upstream("the login lies in the future")
	case l.again && at.Before(l.begun.Add(-skew)):
		return at, upstream("the person was to sign in anew, and did not")
	case now.Sub(at) > oldestLogin+skew:
		return at, upstream("the login is older than what was asked for")
	}
	if at.After(now) {
		at = now
	}
	return at, nil
}

// errNotFresh is the answer to who is to prove anew that it is there, by a provider that does not tell.
var errNotFresh error = fault.New(fault.Forbidden, "provider_not_fresh", "The other place does not tell whether you signed in there just now, which is needed here. Prove that it is you with a passkey or a password instead, or ask whoever runs this service.")

// untold is when somebody signed in at a provider that does not tell: as long ago as may be of those that do, so that the
// login serves for nothing that asks for a new one. An administrator may say that such a provider does have people sign in
// anew when it is asked to. To link is no such thing: the account here was just proved.
func untold(p Provider, l login, now time.Time) (time.Time, error) {
	switch {
	case l.again && p.Policy.TrustPromptLogin:
		return now, nil
	case l.again && l.kind != kindLink:
		return time.Time{}, errNotFresh
	}
	return now.Add(-oldestLogin), nil
}

// describe reads what the provider tells of the person besides. What does not have the form that we store is left out: it
// is a suggestion, and no reason to let nobody in.
func (f *Found) describe(p Provider, claim func(name string) []byte) {
	text := func(name string) string {
		var value string
		if json.Unmarshal(claim(name), &value) != nil || len(value) > maxClaim || !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool {
			return r != ' ' && !unicode.IsPrint(r) || r == utf8.RuneError
		}) {
			return ""
		}
		return strings.TrimSpace(value)
	}
	f.Said = rules(p).Read(claim)
	f.Username, f.Name, f.Phone = text(p.Claims.Username), text(p.Claims.Name), text(p.Claims.Phone)
	if f.Email = ""; verified(claim(p.Claims.EmailVerified)) {
		if email := text(p.Claims.Email); identity.EmailKey(email) != "" {
			f.Email = email
		}
	}
	f.Label = f.Email
	for _, label := range []string{text(p.Claims.Email), f.Username, f.Name, f.Subject} {
		if f.Label == "" {
			f.Label = label
		}
	}
}

// verified reads a claim that says yes, as providers say it.
func verified(raw []byte) bool {
	switch string(raw) {
	case "true", `"true"`, "1", `"1"`:
		return true
	}
	return false
}

// methods are what the session says of how the person signed in. That there was a second factor counts if the policy says
// so; the provider's own methods stand there only then.
func (f Found) methods(p Provider) []string {
	amr := []string{Federated}
	trusted := slices.Contains(p.Policy.SecondFactorACR, f.ACR) && f.ACR != ""
	for _, method := range f.AMR {
		trusted = trusted || slices.Contains(p.Policy.SecondFactorAMR, method)
	}
	if !trusted {
		return amr
	}
	for _, method := range f.AMR {
		if slices.Contains([]string{mfa.Password, mfa.OTP, mfa.Hardware, mfa.Software, mfa.Presence}, method) && !slices.Contains(amr, method) {
			amr = append(amr, method)
		}
	}
	return append(amr, mfa.Multiple)
}
