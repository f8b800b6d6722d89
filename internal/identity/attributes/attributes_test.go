package attributes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/identitytest"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	admin = identitytest.Admin

	declared = map[string][]attributes.Attribute{
		"employees": {
			{Name: "department", Claim: "dept", Scope: "work", Max: 20},
			{Name: "grade", Type: attributes.Number, Scope: "work"},
			{Name: "remote", Type: attributes.Boolean},
			{Name: "skills", Type: attributes.List, Editable: attributes.ByAdministrator, Max: 3},
		},
		"customers": {{Name: "plan"}},
	}
)

// desk is an installation with people and what is kept of them.
type desk struct {
	*testing.T
	d   *db.DB
	dir *identity.Directory
	s   *attributes.Service
	m   *identitytest.Desk
}

func desks(t *testing.T, f func(w *desk)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			d := dbtest.Open(t, engine, clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)))
			dir, err := identity.New(d, sealtest.New(t, d), identity.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w := &desk{T: t, d: d, dir: dir, s: attributes.New(declared)}
			w.m = identitytest.New(t, d)
			w.s.Routes(w.m.Mux)
			f(w)
		})
	}
}

func (w *desk) call(want int, method, userID, as, body string) string {
	w.Helper()
	return w.m.Call(want, method, "/api/users/"+userID+"/attributes", as, body, nil)
}

// shown are the values that the API tells, with the type of each.
func (w *desk) shown(userID string) (list []string) {
	w.Helper()
	var out api.UserAttributes
	if err := json.Unmarshal([]byte(w.call(200, "GET", userID, "admin", "")), &out); err != nil {
		w.Fatal(err)
	}
	for _, a := range out.Items {
		list = append(list, fmt.Sprintf("%s %s %s", a.Name, a.Type, a.Value))
	}
	return list
}

func (w *desk) person(realm, name string) identity.User {
	w.Helper()
	return w.m.Person(w.dir, realm, name)
}

func (w *desk) feed() {
	w.Helper()
	stop, err := w.d.StartFeed(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(stop)
}

func (w *desk) write(f func(ctx context.Context, tx db.WriteTx) error) {
	w.Helper()
	if err := w.d.Write(w.Context(), func(tx db.WriteTx) error { return f(w.Context(), tx) }); err != nil {
		w.Fatal(err)
	}
}

func TestAttributes(t *testing.T) {
	desks(t, func(w *desk) {
		jane, zoe := w.person("employees", "jane"), w.person("customers", "zoe")
		w.call(200, "PUT", jane.ID, "admin", `{"attributes":{"department":"R&D","grade":12.50,"remote":false,"skills":["Go","<b>"]}}`)
		w.call(200, "PUT", jane.ID, "admin", `{"attributes":{"remote":null,"grade":13}}`)
		w.call(200, "PUT", jane.ID, "admin", `{"attributes":{"grade":13}}`) // changes nothing
		if diff := cmp.Diff([]string{`department string "R&D"`, "grade number 13", "remote boolean ", `skills list ["Go","<b>"]`}, w.shown(jane.ID)); diff != "" {
			w.Error(diff)
		}
		if diff := cmp.Diff([]string{"plan string "}, w.shown(zoe.ID)); diff != "" {
			w.Error(diff)
		}
		for _, bad := range []string{
			`"department":7`, `"department":["x"]`, `"department":""`, `"department":"a\nb"`, `"department":"` + strings.Repeat("x", 21) + `"`,
			`"grade":"7"`, `"grade":true`, `"grade":1e999`, `"grade":` + strings.Repeat("1", 33), `"remote":"true"`, `"remote":1`,
			`"skills":"Go"`, `"skills":[1]`, `"skills":[""]`, `"skills":["a","b","c","d"]`, `"skills":["` + strings.Repeat("x", 201) + `"]`, `"skills":{}`,
			`"plan":"gold"`, `"unknown":null`, `"":1`,
		} {
			w.call(400, "PUT", jane.ID, "admin", `{"attributes":{"grade":99,`+bad+`}}`)
		}
		if got := w.shown(jane.ID); got[1] != "grade number 13" {
			w.Errorf("a part of what was refused is stored: %v", got)
		}
		w.call(404, "PUT", "usr_no", "admin", `{"attributes":{}}`)
		w.call(404, "GET", "usr_no", "admin", "")
		for _, method := range []string{"GET", "PUT"} {
			body := ""
			if method == "PUT" {
				body = `{"attributes":{"grade":1}}`
			}
			w.call(403, method, jane.ID, "jane", body)
			w.call(401, method, jane.ID, "", body)
		}
		var told []string
		if err := w.d.Read(w.Context(), func(tx db.ReadTx) (err error) {
			told, err = db.Texts(w.Context(), tx, `SELECT details FROM audit_events WHERE action = 'user.update_attributes'`)
			slices.Sort(told)
			return err
		}); err != nil {
			w.Fatal(err)
		}
		if all := strings.Join(told, " "); len(told) != 2 || !strings.Contains(told[0], `"department"`) || strings.Contains(all, "R&D") || strings.Contains(told[1], "department") {
			w.Errorf("recorded: %v", told)
		}
	})
}

// Clients are told what the scopes release, of the attributes that are declared now, and hear of a change.
func TestClaims(t *testing.T) {
	desks(t, func(w *desk) {
		// The people were described by an earlier configuration.
		earlier := attributes.New(map[string][]attributes.Attribute{"employees": {{Name: "grade"}, {Name: "shoe_size", Scope: "work"}}})
		claims := w.s.NewClaims(w.d)
		w.feed()
		jane, zoe := w.person("employees", "jane"), w.person("customers", "zoe")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return earlier.Set(ctx, tx, admin, jane.ID, attributes.Values{"grade": json.RawMessage(`"high"`), "shoe_size": json.RawMessage(`"44"`)})
		})
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.s.Set(ctx, tx, admin, zoe.ID, attributes.Values{"plan": json.RawMessage(`"gold"`)})
		})
		w.call(200, "PUT", jane.ID, "admin", `{"attributes":{"department":"R&D","skills":["Go"],"remote":true}}`)
		told := func(userID string, scopes ...string) string {
			w.Helper()
			list, err := claims.Of(w.Context(), userID, scopes, false)
			if err != nil {
				w.Fatal(err)
			}
			return fmt.Sprint(list)
		}
		for scopes, want := range map[string]string{
			"": "[]", "openid profile email": "[]", "department": "[]", "plan": "[]", "work": `[{dept "R&D"}]`, "remote skills": `[{remote true} {skills ["Go"]}]`,
		} {
			if got := told(jane.ID, strings.Fields(scopes)...); got != want {
				w.Errorf("%s tells %s", scopes, got)
			}
		}
		if got := told(zoe.ID, "plan", "work", "remote"); got != `[{plan "gold"}]` {
			w.Errorf("of zoe: %s", got)
		}
		if got := told("usr_no", "plan"); got != "[]" {
			w.Errorf("of nobody: %s", got)
		}
		if got := w.shown(jane.ID); !slices.Contains(got, `shoe_size  "44"`) {
			w.Errorf("what is declared no more is lost: %v", got)
		}
		w.call(200, "PUT", jane.ID, "admin", `{"attributes":{"department":null,"grade":7,"shoe_size":null}}`)
		if got := told(jane.ID, "work"); got != `[{grade 7}]` {
			w.Errorf("after a change: %s", got)
		}
		if got := w.shown(jane.ID); len(got) != 4 {
			w.Errorf("what was removed is there: %v", got)
		}
		var texts []string
		for _, x := range [][2]string{{"employees", "work"}, {"employees", "skills"}, {"employees", "plan"}, {"services", "work"}} {
			text, of := claims.Text(x[0], x[1])
			texts = append(texts, fmt.Sprint(text, of))
		}
		if diff := cmp.Diff([]string{"See what is kept of you as {0}.map[:department, grade]", "See what is kept of you under this name.map[]", "map[]", "map[]"}, texts); diff != "" {
			w.Error(diff)
		}
		scopes, names := claims.Known()
		if diff := cmp.Diff([][]string{{"plan", "remote", "skills", "work"}, {"dept", "grade", "plan", "remote", "skills"}}, [][]string{scopes, names}); diff != "" {
			w.Error(diff)
		}
	})
}

// People read of attributes by their labels, in their language where there are some.
func TestTextOfScopes(t *testing.T) {
	desks(t, func(w *desk) {
		labelled := attributes.New(map[string][]attributes.Attribute{"employees": {{Name: "dept", Scope: "work", Label: "Department", Labels: map[string]string{"de": "Abteilung"}}, {Name: "grade", Scope: "work"}, {Name: "plan", Label: "Plan"}}}).NewClaims(w.d)
		_, work := labelled.Text("employees", "work")
		_, plan := labelled.Text("employees", "plan")
		if diff := cmp.Diff([]map[string]string{{"": "Department, grade", "de": "Abteilung, grade"}, {"": "Plan"}}, []map[string]string{work, plan}); diff != "" {
			w.Error(diff)
		}
	})
}

// What is kept of one person is bounded, and an ID token is told less than userinfo.
func TestSizes(t *testing.T) {
	list := []attributes.Attribute{}
	for i := range 20 {
		list = append(list, attributes.Attribute{Name: fmt.Sprint("a", i), Scope: "all", Max: 1000})
	}
	desks(t, func(w *desk) {
		w.s = attributes.New(map[string][]attributes.Attribute{"employees": list})
		claims := w.s.NewClaims(w.d)
		w.feed()
		jane := w.person("employees", "jane")
		set := func(i, size int) error {
			return w.d.Write(w.Context(), func(tx db.WriteTx) error {
				return w.s.Set(w.Context(), tx, admin, jane.ID, attributes.Values{fmt.Sprint("a", i): json.RawMessage(`"` + strings.Repeat("x", size) + `"`)})
			})
		}
		for i := range 16 {
			if err := set(i, 1000); err != nil {
				w.Fatal(err)
			}
		}
		if err := set(16, 1000); err == nil || !strings.Contains(err.Error(), "too_large") && !strings.Contains(err.Error(), "bytes at most") {
			w.Errorf("too much was kept: %v", err)
		}
		for i := range 6 {
			if err := set(i, 400); err != nil {
				w.Fatal(err)
			}
		}
		for brief, want := range map[bool]int{false: 16, true: 5} {
			got, err := claims.Of(w.Context(), jane.ID, []string{"all"}, brief)
			if err != nil || len(got) != want {
				w.Errorf("brief %t: %d %v", brief, len(got), err)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	rules := attributes.Rules{Claim: func(s string) bool { return s == "sub" }, Scope: func(s, _ string) bool { return s == "openid" }, Languages: []string{"en", "de"}}
	for _, list := range declared {
		if err := attributes.Check(list, rules); err != nil {
			t.Error(err)
		}
	}
	for want, list := range map[string][]attributes.Attribute{
		"name":     {{Name: "Dept"}},
		`name ""`:  {{}},
		"twice":    {{Name: "a"}, {Name: "a", Claim: "b"}},
		"another":  {{Name: "a"}, {Name: "b", Claim: "a"}},
		"sub says": {{Name: "subject", Claim: "sub"}},
		"claim's":  {{Name: "a", Claim: "a\"b"}},
		"scope":    {{Name: "a", Scope: "openid"}},
		"type":     {{Name: "a", Type: "date"}},
		"editable": {{Name: "a", Editable: "anybody"}},
		"max 1001": {{Name: "a", Max: 1001}},
		"max -1":   {{Name: "a", Max: -1}},
		"max 51":   {{Name: "a", Type: attributes.List, Max: 51}},
		"max 7":    {{Name: "a", Type: attributes.Number, Max: 7}},
		"50 at":    slices.Repeat([]attributes.Attribute{{Name: "a"}}, 51),
	} {
		if err := attributes.Check(list, rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v does not say %q", list, err, want)
		}
	}
}

// What an administrator says too is his from then on, and stays when the source says it no more; the form of a person, which
// sends all that there is, confirms nothing.
func TestWhoKeepsWhatIsSaidTwice(t *testing.T) {
	desks(t, func(w *desk) {
		jane := w.person("employees", "jane")
		said := func(values attributes.Values) {
			w.Helper()
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				p, err := identity.LoadPerson(ctx, tx, jane.ID)
				if err != nil {
					return err
				}
				return w.s.Follow(ctx, tx, access.SystemCaller("test"), p, "directory", values)
			})
		}
		said(attributes.Values{"department": json.RawMessage(`"R&D"`), "grade": json.RawMessage("7")})
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.s.Set(ctx, tx, admin, jane.ID, attributes.Values{"department": json.RawMessage(`"R&D"`), "remote": json.RawMessage("null")})
		})
		said(attributes.Values{"department": nil, "grade": nil})
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			kept, err := db.Texts(ctx, tx, `SELECT name || ' ' || value || ' ' || source FROM person_attributes WHERE user_id = $1`, jane.ID)
			if diff := cmp.Diff([]string{`department "R&D" `}, kept); diff != "" {
				w.Error(diff)
			}
			return err
		})
	})
}
