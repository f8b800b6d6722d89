package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	activityPage = "/account/activity"
	activityRows = 25
)

// activityRow is an event of a person's account in words.
type activityRow struct {
	ID    string
	What  string
	By    string // who did it, if it was not the person; else ""
	At    string
	AtISO string // for programs
	IP    string
	Where string // the browser in words, or ""
	Bad   bool   // something was refused or went wrong
}

type activityData struct {
	frame
	CSRF  string
	User  identity.User
	Rows  []activityRow
	Event activityRow // that somebody says was not he
	Older string      // address of the next page, or ""
	First bool        // this is the newest page
}

// Activity is the page at GET /account/activity: what happened to the person's account, newest first.
func (p *Pages) Activity(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	before, err := place(r.URL.Query().Get("before"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	var events []audit.Stored
	var more bool
	if err := p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		events, more, err = audit.Own(r.Context(), tx, self(r, s), s.User.ID, before, activityRows)
		return err
	}); err != nil {
		p.fail(w, r, err)
		return
	}
	d := activityData{frame: p.section("Activity", activityPage).of(s.User.Realm), User: s.User, First: before.ID == ""}
	for i := range events {
		d.Rows = append(d.Rows, p.activityRow(r, s.User, &events[i]))
	}
	if more {
		last := events[len(events)-1].Place()
		d.Older = activityPage + "?before=" + url.QueryEscape(strconv.FormatInt(db.Micros(last.At), 10)+"."+last.ID)
	}
	p.show(w, r, http.StatusOK, "activity", d)
}

// place reads where the page before ended, as the link to the next one has it.
func place(text string) (audit.Place, error) {
	if text == "" {
		return audit.Place{}, nil
	}
	at, eventID, _ := strings.Cut(text, ".")
	micros, err := strconv.ParseInt(at, 10, 64)
	if err != nil || micros <= 0 || micros > 1<<61 || !id.Is(eventID, id.Event) {
		return audit.Place{}, fault.New(fault.Invalid, "bad_cursor", "There is no such page of the list. Begin at its newest.")
	}
	return audit.Place{At: db.Time(micros), ID: eventID}, nil
}

// NotMe is the page at GET /account/activity/help: what to do about something that was somebody else.
func (p *Pages) NotMe(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	var e audit.Stored
	if err := p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		e, err = audit.OwnEvent(r.Context(), tx, self(r, s), s.User.ID, r.URL.Query().Get("event"))
		return err
	}); err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "not_me", activityData{frame: p.section("That was not you?", activityPage).of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: s.User, Event: p.activityRow(r, s.User, &e)})
}

func (p *Pages) activityRow(r *http.Request, u identity.User, e *audit.Stored) activityRow {
	row := activityRow{ID: e.ID, What: marked(p.eventWords(r, e)), At: moment(e.At), AtISO: e.At.UTC().Format(time.RFC3339), IP: e.IP, Bad: e.Outcome != audit.Success}
	if agent := e.Detail("agent"); agent != "" {
		row.Where = browserWords(agent)
	}
	switch {
	case e.ActorID == u.ID:
	case e.ActorKind == string(access.Person):
		row.By = "by an administrator"
	case e.ActorKind == string(access.System):
		row.By = "by the server"
	case e.ActorKind == string(access.Service):
		row.By = "by an application"
	default:
		row.By = "by somebody who was not signed in"
	}
	return row
}

// eventTexts are the actions that need no more words than these.
var eventTexts = map[string]string{
	"user.create": "The account was created", "user.update": "The profile was changed", "user.disable": "The account was blocked", "user.enable": "The account was unblocked",
	"user.export":            "A copy of all that is kept of you was given out",
	"user.update_attributes": "Details of the profile were changed",
	"user.invite":            "An invitation was sent", "user.ask_reset": "A link to choose a new password was asked for",
	"user.change_password": "The password was changed", "user.set_password": "A new password was set", "user.recover_password": "A new password was chosen, by a link from a letter",
	"user.remove_password": "The password was removed", "user.verify_email": "The e-mail address was confirmed", "user.change_email": "The e-mail address was changed",
	"user.ask_email":  "Another e-mail address was given, and a link sent there",
	"user.add_device": "A new browser signed in for the first time", "user.remove_device": "A known browser was forgotten",
	"access_key.create": "An access key was made", "access_key.disable": "An access key was ended", "factor.reset": "All second factors were removed",
	"identity.link": "An account elsewhere was linked", "identity.unlink": "An account elsewhere was unlinked",
	"grant.end": "An application was refused: it used a code or a token that somebody had used already", "grant.revoke": "An application ended its own access",
	"grant.retry": "An application asked once more for an answer that it had not got", "token.revoke": "Tokens were revoked", "group.add_member": "Added to a group", "group.remove_member": "Removed from a group",
}

// factorTexts are what was done with which factor.
var factorTexts = map[string]string{
	"factor.add passkey": "A passkey was added", "factor.remove passkey": "A passkey was removed", "factor.rename passkey": "A passkey got another name",
	"factor.add totp": "An authenticator app was set up", "factor.remove totp": "The authenticator app was removed",
	"factor.add recovery_codes": "New recovery codes were made", "factor.remove recovery_codes": "The recovery codes were removed", "factor.use recovery_codes": "A recovery code was used to sign in",
}

// eventWords says in words what happened.
func (p *Pages) eventWords(r *http.Request, e *audit.Stored) string {
	switch e.Action {
	case "session.begin":
		return p.beginWords(r, e)
	case "session.end":
		if e.Reason == "signed_out" {
			return "Signed out"
		}
		return "A session was ended"
	case audit.DenialAction:
		return deniedWords(e)
	case "approval.grant":
		return fill("{0} was allowed to act for you", p.clientName(r, e.TargetID))
	case "approval.put":
		return fill("What {0} may do for you was set", p.clientName(r, e.TargetID))
	case "approval.deny":
		return fill("{0} was not allowed to act for you", p.clientName(r, e.TargetID))
	case "approval.withdraw":
		return fill("What {0} was allowed was withdrawn", p.clientName(r, e.TargetID))
	}
	if e.Action == "factor.use" && e.Reason == "sign_count" {
		return "A passkey was refused: there seems to be a copy of it"
	}
	if text := factorTexts[e.Action+" "+e.Detail("kind")]; text != "" {
		return text
	}
	if text := eventTexts[e.Action]; text != "" {
		return text
	}
	return fill("Something else was done: {0}", e.Action)
}

// marked has a text translated also where it fills a gap.
func marked(text string) string {
	if strings.HasPrefix(text, saidMark) {
		return text
	}
	return words(text)
}

func (p *Pages) beginWords(r *http.Request, e *audit.Stored) string {
	amr := how(strings.Fields(e.Detail("amr")))
	switch {
	case e.TargetType == "grant":
		return fill("Signed in by {0}, with the password", p.clientName(r, e.Detail("client_id")))
	case e.Detail("again") != "":
		return fill("Confirmed who you are, with {0}", amr)
	}
	return fill("Signed in with {0}", amr)
}

// deniedWords says what was refused. What happened within a few seconds is one event.
func deniedWords(e *audit.Stored) string {
	text := fill("Something was refused: {0}", e.TargetID)
	switch e.TargetID {
	case "session.begin":
		text = "A sign-in was refused"
		switch e.Reason {
		case "too_many_attempts", "password_paced":
			text = "A sign-in was refused: there were too many in a short time"
		case "password_off":
			text = "A sign-in was refused: there were too many wrong passwords in a row"
		case "wrong_code":
			text = "A sign-in was refused: the code was wrong"
		case "invalid_credentials":
			text = "A sign-in was refused: the password was wrong"
		}
	case "factor.add":
		text = "A new second factor was refused"
	}
	if n := e.Detail("repeated"); n != "" {
		return fill("{0} ({1} times more)", marked(text), n)
	}
	return text
}

// clientName is what people know a client by; its id if it is gone.
func (p *Pages) clientName(r *http.Request, clientID string) string {
	if p.info.Clients == nil || clientID == "" {
		return clientID
	}
	name, err := p.info.Clients.Name(r.Context(), clientID)
	if err != nil {
		if !fault.Is(err, fault.NotFound) {
			route.NoteError(r.Context(), "client_name", err) // the page is worth more than the name
		}
		return clientID
	}
	return name
}
