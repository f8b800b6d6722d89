package web_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
	"github.com/mintmark/mintmark/internal/web"
)

// keeps is what the realm employees keeps of its people: something of each kind that they edit, and what they do not.
var keeps = map[string][]attributes.Attribute{"employees": {
	{Name: "nickname", Editable: "person", Max: 20, AtRegistration: attributes.Asked, Label: "Nickname", Labels: map[string]string{"de": "Spitzname"}},
	{Name: "size", Editable: "person", AtRegistration: attributes.Required, Label: "Shirt size", Labels: map[string]string{"de": "Hemdgröße"},
		Choices: []attributes.Choice{{Value: "s", Label: "Small", Labels: map[string]string{"de": "Klein"}}, {Value: "l", Label: "Large", Labels: map[string]string{"de": "Groß"}}}},
	{Name: "desk", Type: attributes.Number, Editable: "person"},
	{Name: "remote", Type: attributes.Boolean, Editable: "person"},
	{Name: "hobbies", Type: attributes.List, Editable: "person", Max: 3},
	{Name: "languages", Type: attributes.List, Editable: "person", Choices: []attributes.Choice{{Value: "de"}, {Value: "en"}, {Value: "fr", Label: evil}}},
	{Name: "grade", Type: attributes.Number, Label: "Pay " + evil},
	{Name: "rating", Hidden: true},
}}

func keeping(t *testing.T, f func(t *testing.T, s *site)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			f(t, newSiteOn(t, d, sealtest.New(t, d), c, nil, keeps))
		})
	}
}

// kept are the attributes of a person as they are stored.
func (s *site) kept(userID string) (list []string) {
	s.t.Helper()
	if err := s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		list, err = db.Texts(ctx, tx, `SELECT name || '=' || value FROM person_attributes WHERE user_id = $1 ORDER BY name`, userID)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return list
}

func TestProfileAttributes(t *testing.T) {
	keeping(t, func(t *testing.T, s *site) {
		jane := s.verified("jane", "jane@example.org")
		set := attributes.New(keeps)
		s.write(func(tx db.WriteTx) error {
			return set.Set(ctx, tx, admin, jane.ID, attributes.Values{"grade": []byte(`7`), "rating": []byte(`"poor"`)})
		})
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		page := b.get("/account/profile")
		for _, want := range []string{
			`<label for="attribute-nickname">Nickname (optional)</label>`, `<input id="attribute-nickname" name="attribute-nickname" value="" maxlength="20" autocomplete="nickname">`,
			`<label for="attribute-size">Shirt size</label>`, `<select id="attribute-size" name="attribute-size" required>`, `<option value="l">Large</option>`,
			`<input id="attribute-desk" name="attribute-desk" type="number" step="any"`, `<select id="attribute-remote"`, `<textarea id="attribute-hobbies"`,
			`name="attribute-languages" type="checkbox" value="de"`, `<dd id="attribute-grade"><bdi>7</bdi></dd>`, "Pay &#34;&gt;&lt;img", `id="profile-limited"`,
		} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the profile lacks %s:\n%s", want, page.body)
			}
		}
		if strings.Contains(page.body, "rating") || strings.Contains(page.body, "poor") || strings.Contains(page.body, "<img") || strings.Contains(page.plain(), "<script") || strings.Contains(page.body, `name="attribute-grade"`) {
			t.Errorf("the profile shows what it must not:\n%s", page.body)
		}
		form := url.Values{"display_name": {"Jane"}, "attribute-nickname": {" Jay "}, "attribute-size": {"l"}, "attribute-desk": {"12.50"}, "attribute-remote": {"false"},
			"attribute-hobbies": {"chess\r\n\r\n <b>go</b> \r\n"}, "attribute-languages": {"", "de", "fr"}}
		b.send("/account/profile", "/account/profile", form).leads(t, "/account/profile?done=saved")
		want := []string{`desk=12.50`, `grade=7`, `hobbies=["chess","<b>go</b>"]`, `languages=["de","fr"]`, `nickname="Jay"`, `rating="poor"`, `remote=false`, `size="l"`}
		if diff := cmp.Diff(want, s.kept(jane.ID)); diff != "" {
			t.Error(diff)
		}
		page = b.get("/account/profile?lang=de")
		for _, want := range []string{`Spitzname (freiwillig)`, `value="Jay"`, `<option value="l" selected>Groß</option>`, `value="12.50"`, `<option value="false" selected>Nein</option>`, "chess\n&lt;b&gt;go&lt;/b&gt;</textarea>", `value="fr" checked`} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the profile in German lacks %s:\n%s", want, page.body)
			}
		}
		if n := s.told(jane.ID, "user.update_attributes"); n != 1 {
			t.Errorf("the log tells of %d changes by the person", n)
		}
		if a := b.get("/account/activity?lang=en"); !strings.Contains(a.body, "Details of the profile were changed") || strings.Contains(a.body, "chess") {
			t.Errorf("the activity:\n%s", a.body)
		}
		// What is not sent stays; what is sent empty goes, but for what is required. Nothing is kept of a form that is wrong.
		for name, texts := range map[string][]string{
			"size": {""}, "nickname": {strings.Repeat("x", 21)}, "desk": {"many"}, "remote": {"perhaps"}, "hobbies": {"a\nb\nc\nd"}, "languages": {"", "xx"},
		} {
			a := b.send("/account/profile", "/account/profile", url.Values{"phone": {"+49 30 77"}, "attribute-" + name: texts})
			if a.Code != 400 || !strings.Contains(a.body, `id="attribute-`+name+`-problem"`) || !strings.Contains(a.body, `id="profile-problem"`) || s.load(jane.ID).Phone != "" {
				t.Errorf("%s: %d\n%s", name, a.Code, a.body)
			}
		}
		if a := b.send("/account/profile", "/account/profile", url.Values{"phone": {"call me"}, "attribute-nickname": {"Other"}}); a.Code != 400 || !strings.Contains(a.body, `value="Other"`) {
			t.Errorf("what was typed is lost: %d\n%s", a.Code, a.body)
		}
		b.send("/account/profile", "/account/profile", url.Values{"display_name": {"Jane"}, "attribute-hobbies": {""}, "attribute-languages": {""}, "attribute-desk": {""}}).leads(t, "/account/profile?done=saved")
		if got := s.kept(jane.ID); !slices.Equal(got, []string{`grade=7`, `nickname="Jay"`, `rating="poor"`, `remote=false`, `size="l"`}) {
			t.Errorf("%v", got)
		}
	})
}

// told is how often the log tells that the person did this.
func (s *site) told(userID, action string) (n int) {
	s.t.Helper()
	if err := s.d.Read(ctx, func(tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM audit_events WHERE actor_kind = 'person' AND actor_id = $1 AND action = $2`, userID, action).Scan(&n)
	}); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestB7_134_AttributesOfAdministrators sends, as a person, what an administrator alone may say of people.
func TestB7_134_AttributesOfAdministrators(t *testing.T) {
	keeping(t, func(t *testing.T, s *site) {
		jane := s.verified("jane", "jane@example.org")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		for _, form := range []url.Values{
			{"attribute-grade": {"99"}}, {"attribute-rating": {"great"}}, {"attribute-unknown": {"x"}}, {"attribute-Grade": {"99"}}, {"grade": {"99"}}, {"attributes.grade": {"99"}},
			{"attribute-nickname": {"Jay", "Kay"}, "attribute-grade": {"99"}},
		} {
			form.Set("display_name", "Jane")
			b.send("/account/profile", "/account/profile", form).leads(t, "/account/profile?done=saved")
		}
		if got := s.kept(jane.ID); !slices.Equal(got, []string{`nickname="Jay"`}) {
			t.Errorf("%v", got)
		}
		if a := b.do("POST", "/account/profile", url.Values{"attribute-nickname": {"x"}}); a.Code != 403 {
			t.Errorf("a form of a stranger: %d", a.Code)
		}
	})
}

func TestRegistrationAsks(t *testing.T) {
	keeping(t, func(t *testing.T, s *site) {
		b := s.browser()
		b.send("/register", "/register", url.Values{"realm": {"employees"}, "email": {"new@example.org"}}).leads(t, "/register?step=asked")
		page := b.open(s.link("register"))
		if !strings.Contains(page.body, "Nickname (optional)") || !strings.Contains(page.body, `id="attribute-size"`) || strings.Contains(page.body, "attribute-desk") || strings.Contains(page.body, "attribute-grade") {
			t.Errorf("%s", page.body)
		}
		finish := func(more url.Values) answer {
			f := twice(fresh)
			f.Set("display_name", "New")
			for name, texts := range more {
				f[name] = texts
			}
			return b.send("/register?step=open", "/register", f)
		}
		for _, more := range []url.Values{{}, {"attribute-size": {""}}, {"attribute-size": {"xxl"}}, {"attribute-size": {"s"}, "attribute-nickname": {strings.Repeat("x", 21)}}} {
			if a := finish(more); a.Code != 400 || !strings.Contains(a.body, `id="register-problem"`) {
				t.Errorf("%v: %d\n%s", more, a.Code, a.body)
			}
		}
		if a := finish(url.Values{"attribute-size": {"xxl"}, "attribute-nickname": {"Nine"}}); !strings.Contains(a.body, `id="attribute-size-problem"`) || !strings.Contains(a.body, `value="Nine"`) {
			t.Errorf("%s", a.body)
		}
		if a := finish(url.Values{"attribute-size": {"s"}, "attribute-nickname": {"Nine"}, "attribute-desk": {"1"}, "attribute-grade": {"99"}}); a.Code != 303 {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		var made []string
		if err := s.d.Read(ctx, func(tx db.ReadTx) (err error) {
			made, err = db.Texts(ctx, tx, `SELECT user_id FROM people WHERE email = 'new@example.org'`)
			return err
		}); err != nil || len(made) != 1 {
			t.Fatal(made, err)
		}
		if got := s.kept(made[0]); !slices.Equal(got, []string{`nickname="Nine"`, `size="s"`}) {
			t.Errorf("%v", got)
		}
	})
}

// What a scope tells of attributes is said in the person's language, with the labels that there are in it.
func TestConsentToAttributes(t *testing.T) {
	s := newSite(t, dbtest.Engines(t)[0])
	u := s.person("jane", "Jane")
	s.consent = web.ConsentView{ClientName: "Shop", RedirectURI: "https://shop.example.org/cb", User: u, Scopes: []web.ConsentScope{
		{Name: "work", Text: "See what is kept of you as {0}.", Of: map[string]string{"": "Department, grade", "de": "Abteilung, grade"}}, {Name: "plan", Text: "See what is kept of you as {0}.", Of: map[string]string{"": "Plan"}},
	}}
	b := s.browser()
	if page := b.get("/consent?lang=de").body; !strings.Contains(page, "Sehen, was über Sie gespeichert ist als: Abteilung, grade.") || !strings.Contains(page, "als: Plan.") {
		t.Errorf("%s", page)
	}
	if page := b.get("/consent?lang=en").body; !strings.Contains(page, "See what is kept of you as Department, grade.") {
		t.Errorf("%s", page)
	}
}
