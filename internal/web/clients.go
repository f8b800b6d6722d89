package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

const approvalsPage = "/account/approvals"

// Clients knows the clients that people use, and what people let them do. Errors are those of package fault.
type Clients interface {
	// Name is what people know a client by.
	Name(ctx context.Context, clientID string) (string, error)
	// Approvals lists what clients may do for a person, by their names. Like Name it reads in transactions of its own.
	Approvals(ctx context.Context, c access.Caller, userID string) ([]Approval, error)
	// Withdraw takes back all that the person let the client do, and ends what came of it.
	Withdraw(ctx context.Context, tx db.WriteTx, c access.Caller, userID, clientID string) error
}

// Approval is what a client may do for a person.
type Approval struct {
	ClientID  string
	Name      string
	Team      string // that owns the client; may be empty
	Untrusted bool   // the client registered itself
	Asked     bool   // the person was asked; else the client is the organisation's own
	Since     time.Time
	LastUsed  time.Time // zero: never, as far as is known
	Scopes    []ConsentScope
}

type approvalRow struct {
	Approval
	SinceWords string
	UsedWords  string
	Withdraw   string // address of the page that asks whether to withdraw it
}

type approvalsData struct {
	frame
	CSRF      string
	User      identity.User
	Approvals []approvalRow
	Asked     approvalRow // on the page that asks
	Done      bool
}

func (p *Pages) approvals(r *http.Request, c access.Caller) (rows []approvalRow, err error) {
	if p.info.Clients == nil {
		return nil, nil
	}
	list, err := p.info.Clients.Approvals(r.Context(), c, c.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		row := approvalRow{a, fill("since {0}", day(a.Since)), "not used yet", approvalsPage + "/withdraw?client=" + url.QueryEscape(a.ClientID)}
		if !a.LastUsed.IsZero() {
			row.UsedWords = fill("last used {0}", day(a.LastUsed))
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Approvals is the page at GET /account/approvals: which client may do what for the person.
func (p *Pages) Approvals(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	rows, err := p.approvals(r, self(r, s))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "approvals", approvalsData{frame: p.section("Applications with access", approvalsPage).of(s.User.Realm), User: s.User, Approvals: rows, Done: r.URL.Query().Get("done") == "withdrawn"})
}

// WithdrawForm is the page at GET /account/approvals/withdraw: it asks whether to withdraw what one client may do.
func (p *Pages) WithdrawForm(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	rows, err := p.approvals(r, self(r, s))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	for _, row := range rows {
		if row.ClientID == r.URL.Query().Get("client") {
			p.show(w, r, http.StatusOK, "withdraw", approvalsData{frame: p.section("Withdraw access", approvalsPage).of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: s.User, Asked: row})
			return
		}
	}
	p.fail(w, r, fault.New(fault.NotFound, "approval_not_found", "You have allowed this application nothing, or have withdrawn it already."))
}

// Withdraw takes the form at POST /account/approvals/withdraw.
func (p *Pages) Withdraw(w http.ResponseWriter, r *http.Request) {
	s, ok := p.formOf(w, r)
	if !ok {
		return
	}
	if p.info.Clients == nil {
		p.NotFound(w, r)
		return
	}
	if err := p.info.DB.Write(r.Context(), func(tx db.WriteTx) error {
		return p.info.Clients.Withdraw(r.Context(), tx, self(r, s), s.User.ID, r.PostForm.Get("client"))
	}); err != nil {
		p.fail(w, r, err)
		return
	}
	seeOther(w, approvalsPage+"?done=withdrawn")
}
