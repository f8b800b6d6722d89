package web

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	profilePage = "/account/profile"
	emailPage   = "/account/email"
)

type profileData struct {
	frame
	CSRF     string
	User     identity.User
	Person   identity.Person
	Verified bool
	Speaks   string // the language that was chosen, or ""
	Speakers []option
	Problem  string
	Done     string

	Attributes []attributeField // that the person edits
	Facts      []attributeField // that it sees

	mayChange func(account.Field) bool
}

// May tells whether the person may change the field.
func (d profileData) May(field string) bool { return d.mayChange(account.Field(field)) }

// Limited tells whether there is something that an administrator alone changes.
func (d profileData) Limited() bool {
	return len(d.Facts) > 0 || slices.ContainsFunc(account.Fields(), func(f account.Field) bool { return !d.mayChange(f) })
}

var profileTexts = map[string]string{"saved": "Your profile was saved.", "email": "Your new e-mail address counts from now on."}

// Profile is the page at GET /account/profile: what is known of the person, and what it may change.
func (p *Pages) Profile(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	p.profile(w, r, http.StatusOK, s, nil, nil, "")
}

// profile shows the form, with what was typed if it was refused.
func (p *Pages) profile(w http.ResponseWriter, r *http.Request, status int, s session.Session, typed *identity.PersonUpdate, said attributes.Values, problem string) {
	_, person, err := p.held(r, s)
	var edits, sees []attributeField
	if err == nil {
		edits, sees, err = p.ownAttributes(r.Context(), self(r, s))
	}
	var tag string
	if err == nil {
		err = p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
			tag, err = identity.Language(r.Context(), tx, s.User.ID)
			return err
		})
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	d := profileData{frame: p.section("Profile", profilePage).of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: person.User, Person: person, Verified: !person.EmailVerified.IsZero(),
		Problem: problem, mayChange: p.mayChange(person), Attributes: edits, Facts: sees}
	if judge(d.Attributes, r.PostForm, said) && d.Problem == "" {
		d.Problem = notKept
	}
	if r.Method == http.MethodGet {
		d.Done = profileTexts[r.URL.Query().Get("done")]
	}
	if typed != nil {
		for _, f := range []struct{ to, from *string }{{&d.Person.DisplayName, typed.DisplayName}, {&d.Person.Phone, typed.Phone}, {&d.Person.Address, typed.Address}} {
			if f.from != nil && len(*f.from) <= maxTyped {
				*f.to = *f.from
			}
		}
	}
	for _, l := range languageNames {
		d.Speakers = append(d.Speakers, option{l.Tag, l.Name, l.Tag == tag})
	}
	p.show(w, r, status, "profile", d)
}

// mayChange tells what the person may change of itself.
func (p *Pages) mayChange(person identity.Person) func(account.Field) bool {
	return func(f account.Field) bool { return p.info.Accounts != nil && p.info.Accounts.MayChange(person, f) }
}

// SaveProfile takes the form at POST /account/profile.
func (p *Pages) SaveProfile(w http.ResponseWriter, r *http.Request) {
	s, ok := p.formOf(w, r)
	if !ok {
		return
	}
	if p.info.Accounts == nil {
		p.NotFound(w, r)
		return
	}
	var up identity.PersonUpdate
	for name, to := range map[string]**string{"display_name": &up.DisplayName, "phone": &up.Phone, "address": &up.Address} {
		if r.PostForm.Has(name) {
			text := strings.TrimSpace(strings.ReplaceAll(r.PostForm.Get(name), "\r\n", "\n"))
			*to = &text
		}
	}
	tag := spoken(r.PostForm.Get("language"))
	said, right := p.saidOf(r, s.User.Realm)
	if !right {
		p.profile(w, r, http.StatusBadRequest, s, &up, said, "")
		return
	}
	err := p.info.DB.Write(r.Context(), func(tx db.WriteTx) error {
		if err := p.info.Accounts.UpdateProfile(r.Context(), tx, self(r, s), up); err != nil {
			return err
		}
		if len(said) > 0 {
			if err := p.info.Attributes.SetOwn(r.Context(), tx, self(r, s), said); err != nil {
				return err
			}
		}
		return p.info.Directory.SetLanguage(r.Context(), tx, self(r, s), tag)
	})
	if f := fault.Of(err); err != nil && f.Kind == fault.Invalid {
		route.NoteError(r.Context(), f.Code, err)
		p.profile(w, r, http.StatusBadRequest, s, &up, said, told(f))
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if tag != "" {
		p.speak(w, tag, languageYear)
		if err := p.noteLanguage(r, s.User.ID, tag); err != nil {
			route.NoteError(r.Context(), "language", err) // the profile is saved all the same
		}
	}
	seeOther(w, profilePage+"?done=saved")
}

// saidOf is what a form says of the attributes that people of the realm edit, and whether all of it can be kept.
func (p *Pages) saidOf(r *http.Request, realmName string) (said attributes.Values, right bool) {
	if p.info.Attributes == nil {
		return nil, true
	}
	list := p.info.Attributes.Editable(realmName)
	said, right = typedAttributes(r.PostForm, list), true
	for _, a := range list {
		if value, is := said[a.Name]; is && a.Problem(value) != nil {
			right = false
		}
	}
	return said, right
}

type emailData struct {
	frame
	CSRF    string
	User    identity.User
	Step    string // "", open or asked
	Now     string // the present address
	Email   string // the one that was typed, or that the link brings
	Problem string
}

// EmailForm is the page at GET /account/email: it asks for another address, or, with a link from there, whether to use it.
func (p *Pages) EmailForm(w http.ResponseWriter, r *http.Request) {
	if p.arrive(w, r, account.NewEmail) {
		return
	}
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	step := r.URL.Query().Get("step")
	if step != stepOpen && step != stepAsked {
		step = ""
	}
	f, _, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if step == "" && !p.fresh(s, f) {
		seeOther(w, again(emailPage))
		return
	}
	p.email(w, r, http.StatusOK, s, emailData{Step: step})
}

func (p *Pages) email(w http.ResponseWriter, r *http.Request, status int, s session.Session, d emailData) {
	_, person, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if d.Step == "" && !p.mayChange(person)(account.Email) {
		p.notOffered(w, r, "Your e-mail address is changed by an administrator or in the directory of your organisation.")
		return
	}
	if d.Step == stepOpen {
		o, err := p.opened(r, account.NewEmail)
		if err == nil && o.Person.ID != s.User.ID {
			err = account.ErrLink // somebody else's: it stays of use to whoever asked for it
		}
		if err != nil {
			p.fail(w, r, err)
			return
		}
		d.Email = o.Email
	}
	d.frame, d.CSRF, d.User, d.Now = p.section("Your e-mail address", profilePage).of(s.User.Realm), p.info.Sessions.Token(w, r), person.User, person.Email
	p.show(w, r, status, "email", d)
}

// ChangeEmail takes the forms at POST /account/email: an address, from somebody who has just proved who it is; or that the
// one of the link is to be used.
func (p *Pages) ChangeEmail(w http.ResponseWriter, r *http.Request) {
	if p.info.Accounts == nil {
		p.NotFound(w, r)
		return
	}
	s, ok := p.formOf(w, r)
	if !ok {
		return
	}
	f, _, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if r.PostForm.Get("step") == stepOpen {
		if err := p.info.Accounts.ConfirmEmail(r.Context(), self(r, s), p.link(r, account.NewEmail)); err != nil {
			p.fail(w, r, err)
			return
		}
		p.setLink(w, "", -1)
		seeOther(w, profilePage+"?done=email")
		return
	}
	if !p.fresh(s, f) {
		p.fail(w, r, errNotFresh)
		return
	}
	email := strings.TrimSpace(r.PostForm.Get("email"))
	if err := p.info.Accounts.AskEmail(r.Context(), self(r, s), email); err != nil {
		p.refuseAccount(w, r, err, func(status int, problem string) {
			if len(email) > maxTyped {
				email = ""
			}
			if errors.Is(err, session.ErrForm) {
				email = ""
			}
			p.email(w, r, status, s, emailData{Email: email, Problem: problem})
		})
		return
	}
	seeOther(w, emailPage+"?step="+stepAsked)
}
