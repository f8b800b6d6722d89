package web

import (
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
)

const sessionsPage = "/account/sessions"

type sessionRow struct {
	ID     string
	Where  string // the browser in words
	IP     string
	Began  string
	Seen   string
	How    string
	Here   bool
	Device bool // a browser that is known, and not signed in
}

type sessionsData struct {
	frame
	CSRF     string
	User     identity.User
	Sessions []sessionRow
	Devices  []sessionRow
	Done     string
}

var sessionTexts = map[string]string{"ended": "The session has ended.", "others": "All your other sessions have ended.", "forgotten": "The device was forgotten."}

// Sessions is the page at GET /account/sessions: where the person is signed in, and with which browsers it ever was.
func (p *Pages) Sessions(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	var listed []session.Listed
	var devices []identity.Device
	err := p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		if listed, err = p.info.Sessions.List(r.Context(), tx, s.User.ID); err != nil {
			return err
		}
		devices, err = identity.ListDevices(r.Context(), tx, s.User.ID)
		return err
	})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	d := sessionsData{frame: p.section("Sessions and devices", sessionsPage).of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: s.User, Done: sessionTexts[r.URL.Query().Get("done")]}
	inUse := map[string]bool{}
	for _, l := range listed {
		inUse[l.Device] = true
		row := sessionRow{ID: l.ID, Where: browserWords(l.UserAgent), IP: l.IP, Began: moment(l.AuthTime), Seen: moment(l.LastSeen), How: how(l.AMR), Here: l.ID == s.ID}
		if row.Here {
			d.Sessions = append([]sessionRow{row}, d.Sessions...)
		} else {
			d.Sessions = append(d.Sessions, row)
		}
	}
	for _, v := range devices {
		if !inUse[v.ID] {
			d.Devices = append(d.Devices, sessionRow{ID: v.ID, Where: browserWords(v.UserAgent), IP: v.IP, Began: day(v.Created), Seen: day(v.LastUsed), Device: true})
		}
	}
	p.show(w, r, http.StatusOK, "sessions", d)
}

// EndSession takes the form at POST /account/sessions/end: one session by its id, or all others. Another person's is not
// found.
func (p *Pages) EndSession(w http.ResponseWriter, r *http.Request) {
	s, ok := p.formOf(w, r)
	if !ok {
		return
	}
	sessionID, done := r.PostForm.Get("id"), "ended"
	err := p.info.DB.Write(r.Context(), func(tx db.WriteTx) error {
		if r.PostForm.Get("others") != "" {
			done = "others"
			return p.info.Sessions.EndOthers(r.Context(), tx, s.User, s.ID)
		}
		return p.info.Sessions.EndOne(r.Context(), tx, s.User, sessionID)
	})
	if err != nil {
		p.fail(w, r, err)
		return
	}
	seeOther(w, sessionsPage+"?done="+done)
}

// ForgetDevice takes the form at POST /account/devices/forget.
func (p *Pages) ForgetDevice(w http.ResponseWriter, r *http.Request) {
	s, ok := p.formOf(w, r)
	if !ok {
		return
	}
	if err := p.info.DB.Write(r.Context(), func(tx db.WriteTx) error {
		return p.info.Directory.ForgetDevice(r.Context(), tx, self(r, s), r.PostForm.Get("id"))
	}); err != nil {
		p.fail(w, r, err)
		return
	}
	seeOther(w, sessionsPage+"?done=forgotten")
}

// browserWords says in words what a browser calls itself. The order matters: most pretend to be others as well.
func browserWords(agent string) string {
	find := func(words [][2]string) string {
		for _, w := range words {
			if strings.Contains(agent, w[0]) {
				return w[1]
			}
		}
		return ""
	}
	browser := find([][2]string{
		{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Vivaldi/", "Vivaldi"},
		{"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"},
	})
	system := find([][2]string{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Macintosh", "macOS"},
		{"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	})
	switch {
	case browser != "" && system != "":
		return fill("{0} on {1}", browser, system)
	case browser+system != "":
		return browser + system
	}
	return "Another browser"
}
