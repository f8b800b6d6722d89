package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/route"
)

// DeviceView is what the page shows at which a person lets a device act.
type DeviceView struct {
	Step     string // enter, ask, allowed or denied
	User     identity.User
	UserCode string
	Wrong    bool          // the code leads nowhere
	Wait     time.Duration // > 0: there were too many wrong ones

	ClientName string
	Team       string
	Untrusted  bool // the client registered itself, and nobody here vouches for it
	Scopes     []ConsentScope
	Lasts      time.Duration // how long it can go on without asking again; 0: it is not said
	IP, Agent  string        // where the device asked from, and what it calls itself
	Asked      time.Time
	Ago        time.Duration
	Shown      string // hidden field shown
}

type deviceData struct {
	frame
	DeviceView
	CSRF    string
	Problem string
	When    string
	Span    string // Lasts in words
}

// Device shows the page at /device: the form for the code, the question, or what came of it. Its forms carry user_code,
// shown and csrf; the buttons of the question send decision=allow or decision=deny.
func (p *Pages) Device(w http.ResponseWriter, r *http.Request, v DeviceView) {
	d := deviceData{frame: p.frame("Connect a device").of(v.User.Realm), DeviceView: v, Span: span(v.Lasts)}
	status := http.StatusOK
	switch {
	case v.Wait > 0:
		status, d.Problem = http.StatusTooManyRequests, fill("There were too many wrong codes. Wait {0}, then try again.", wait(v.Wait))
		w.Header().Set("Retry-After", strconv.Itoa(seconds(v.Wait)))
		route.NoteError(r.Context(), "too_many_attempts", nil)
	case v.Wrong:
		status, d.Problem = http.StatusBadRequest, "This code is not right, has expired, or was used already. Compare it with the device, or begin again there."
		route.NoteError(r.Context(), "wrong_user_code", nil)
	}
	if v.Step == "enter" || v.Step == "ask" {
		d.CSRF = p.info.Sessions.Token(w, r)
	}
	for i, s := range v.Scopes {
		if s.Text == "" {
			v.Scopes[i].Text = s.Name
		}
	}
	if d.When = "just now"; v.Ago >= time.Minute {
		d.When = fill("{0} minutes ago", strconv.Itoa(int(v.Ago.Minutes())))
		if v.Ago < 2*time.Minute {
			d.When = "a minute ago"
		}
	}
	p.show(w, r, status, "device", d)
}
