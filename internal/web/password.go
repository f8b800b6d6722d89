package web

import (
	"net/http"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

type passwordData struct {
	frame
	CSRF    string
	User    identity.User
	Has     bool
	Problem string

	MinLength int
	Elsewhere bool   // a directory keeps it
	There     string // where it is changed then, or ""
}

// PasswordForm is the page at GET /account/password.
func (p *Pages) PasswordForm(w http.ResponseWriter, r *http.Request) {
	if s, ok := p.freshly(w, r, "/account/password"); ok {
		p.password(w, r, http.StatusOK, s, "")
	}
}

func (p *Pages) password(w http.ResponseWriter, r *http.Request, status int, s session.Session, problem string) {
	_, person, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	d := passwordData{frame: p.frame("Password").of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: s.User, Has: person.HasPassword, Problem: problem, MinLength: p.info.Directory.PasswordLength(s.User.Realm)}
	policy, elsewhere := p.info.Directory.PasswordElsewhere(person)
	d.Elsewhere, d.There = elsewhere, policy.PasswordPage
	p.show(w, r, status, "password", d)
}

// ChangePassword takes the form at POST /account/password. The current password is counted like at a login. All sessions
// and all that clients were let do end with it; this browser gets a new session.
func (p *Pages) ChangePassword(w http.ResponseWriter, r *http.Request) {
	s, _, ok := p.owner(w, r)
	if !ok {
		return
	}
	problem, err := p.changePassword(w, r, s)
	if err != nil {
		f := fault.Of(err)
		status := map[fault.Kind]int{fault.Invalid: http.StatusBadRequest, fault.Unauthenticated: http.StatusUnauthorized, fault.Limited: http.StatusTooManyRequests}[f.Kind]
		if status == 0 {
			p.fail(w, r, err)
			return
		}
		if problem == "" {
			problem = told(f)
		}
		route.NoteError(r.Context(), f.Code, err)
		p.password(w, r, status, s, problem)
		return
	}
	seeOther(w, securityPage+"?done=password")
}

// changePassword has another session go on in place of this one. problem says in the form's words what is wrong, if they are
// better than those of the error.
func (p *Pages) changePassword(w http.ResponseWriter, r *http.Request, s session.Session) (problem string, err error) {
	ctx, form, dir := r.Context(), r.PostForm, p.info.Directory
	_, person, err := p.held(r, s)
	if err != nil {
		return "", err
	}
	proved := s.User
	if person.HasPassword {
		if proved, err = dir.VerifyPersonPassword(ctx, person.Realm, person.Username, redact.New(form.Get("current")), p.origin(r)); err != nil {
			switch {
			case fault.Is(err, fault.Unauthenticated):
				problem = "The current password is not right."
			case fault.Is(err, fault.Limited):
				problem = fill("There were too many wrong passwords. Wait {0}, then try again.", wait(fault.Of(err).RetryAfter))
			}
			return problem, err
		}
	}
	if form.Get("password") != form.Get("again") {
		return "", fault.New(fault.Invalid, "password_twice", "The two new passwords are not the same.")
	}
	var words []string
	if err := p.info.DB.Read(ctx, func(tx db.ReadTx) (err error) {
		words, err = identity.PasswordWords(ctx, tx, s.User.ID)
		return err
	}); err != nil {
		return "", err
	}
	h, err := dir.HashPassword(ctx, s.User.Realm, redact.New(form.Get("password")), words...)
	if err != nil {
		return "", err
	}
	return "", p.carryOn(w, r, s, func(tx db.WriteTx) error { return dir.ChangePassword(ctx, tx, self(r, s), proved, h) })
}

// RemovePassword takes the form at POST /account/password/remove: from then on the person signs in with a passkey.
func (p *Pages) RemovePassword(w http.ResponseWriter, r *http.Request) {
	s, _, ok := p.owner(w, r)
	if !ok {
		return
	}
	if err := p.carryOn(w, r, s, func(tx db.WriteTx) error { return p.info.Factors.RemovePassword(r.Context(), tx, self(r, s), s.User) }); err != nil {
		p.refuseChange(w, r, s, err)
		return
	}
	seeOther(w, securityPage+"?done=no-password")
}
