package federation_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/groups"
)

func (s *place) write(f func(ctx context.Context, tx db.WriteTx) error) {
	s.t.Helper()
	if err := s.d.Write(s.t.Context(), func(tx db.WriteTx) error { return f(s.t.Context(), tx) }); err != nil {
		s.t.Fatal(err)
	}
}

// group makes a group of employees.
func (s *place) group(name string) (g groups.Group) {
	s.t.Helper()
	s.write(func(ctx context.Context, tx db.WriteTx) (err error) {
		g, err = s.groups.Create(ctx, tx, access.SystemCaller("test"), groups.Group{Realm: "employees", Name: name})
		return err
	})
	return g
}

func (s *place) add(g groups.Group, userID string) {
	s.t.Helper()
	s.write(func(ctx context.Context, tx db.WriteTx) error { return s.groups.Add(ctx, tx, admin, g.ID, userID) })
}

// in names the groups that somebody is in, and what attributes she has.
func (s *place) in(userID string) (names, values string) {
	s.t.Helper()
	if err := s.d.Read(s.t.Context(), func(tx db.ReadTx) error {
		list, err := groups.Of(s.t.Context(), tx, userID)
		if err != nil {
			return err
		}
		var all []string
		for _, g := range list {
			all = append(all, g.Name)
		}
		texts, err := db.Texts(s.t.Context(), tx, `SELECT name || '=' || value FROM person_attributes WHERE user_id = $1 ORDER BY name`, userID)
		names, values = strings.Join(all, " "), strings.Join(texts, " ")
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return names, values
}

// records lists what the audit log holds of an action, with who did it.
func (s *place) records(action string) (list []string) {
	s.t.Helper()
	if err := s.d.Read(s.t.Context(), func(tx db.ReadTx) (err error) {
		list, err = db.Texts(s.t.Context(), tx, `SELECT target_id || ' ' || details FROM audit_events WHERE action = $1 ORDER BY id`, action)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// says signs somebody in whose token says this besides, and answers who it is.
func (s *place) says(claims map[string]any) identity.User {
	s.t.Helper()
	s.org.Claims = claims
	r, err := s.login()
	if err != nil {
		s.t.Fatalf("%v: %v", claims, err)
	}
	return r.User
}

func mapped(b *api.PutLoginProvider) {
	b.Policy.CreateUsers = true
	b.Claims.Groups = api.ProviderGroups{Claim: "groups", Map: []api.ProviderGroup{{Value: "Eng Team", Group: "engineering"}, {Value: "gone", Group: "nobody made this"}}, Prefix: "org:"}
	b.Claims.Attributes = []api.ProviderAttribute{{Claim: "dept", Attribute: "department"}, {Claim: "floor", Attribute: "floors"}, {Claim: "grade", Attribute: "grade"}, {Claim: "ext", Attribute: "contractor"}}
}

// What a provider says of groups and attributes counts as far as the rules name it, follows it at each login, and leaves
// alone what an administrator has given.
func TestGroupsAndAttributesOfAProvider(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		engineering, sales, admins := s.group("engineering"), s.group("org:sales"), s.group("administrators")
		s.group("sales") // has the provider's name, and no rule names it
		s.put("org", s.org, mapped)
		jane := s.says(map[string]any{"groups": []string{"Eng Team", "sales", "administrators", "gone", "eng team", "../administrators"}, "dept": "R&D", "floor": "7", "grade": 12, "ext": "TRUE"})
		want := func(what, names, values string) {
			t.Helper()
			if n, v := s.in(jane.ID); n != names || v != values {
				t.Errorf("%s: in %q with %q, want %q with %q", what, n, v, names, values)
			}
		}
		want("at first", "engineering org:sales", `contractor=true department="R&D" floors=["7"] grade=12`)
		if r := s.records("group.add_member"); len(r) != 2 || !strings.Contains(r[0], "provider:org") {
			t.Errorf("audit: %v", r)
		}
		if r := s.records("user.update_attributes"); len(r) != 1 || !strings.Contains(r[0], "provider:org") || strings.Contains(r[0], "R&D") {
			t.Errorf("audit: %v", r)
		}
		s.says(s.org.Claims)
		if n := len(s.records("group.add_member")) + len(s.records("user.update_attributes")); n != 3 {
			t.Errorf("the same once more is no change: %d records", n)
		}

		// What an administrator gives stays, whatever the provider says; what he confirms is his from then on.
		s.add(admins, jane.ID)
		s.add(sales, jane.ID)
		s.says(map[string]any{"groups": []string{"Eng Team"}, "dept": []string{"Research"}, "floor": []string{"7", "8"}, "grade": 12})
		want("with less", "administrators engineering org:sales", `department="Research" floors=["7","8"] grade=12`)
		s.says(map[string]any{})
		want("with nothing", "administrators org:sales", "")
		if r := s.records("group.remove_member"); len(r) != 1 || !strings.Contains(r[0], engineering.ID) {
			t.Errorf("audit: %v", r)
		}

		// What cannot be read, or is said elsewhere because it is large, changes nothing.
		s.says(map[string]any{"groups": "Eng Team", "dept": "Research", "grade": "3"})
		many := make([]string, 1001)
		for i := range many {
			many[i] = fmt.Sprint("g", i)
		}
		for what, claims := range map[string]map[string]any{
			"a number": {"groups": 7, "dept": "Research", "grade": "3"}, "a list of lists": {"groups": []any{[]string{"Eng Team"}}, "dept": "Research", "grade": "3"}, "very many": {"groups": many, "dept": "Research", "grade": "3"},
			"distributed":     {"_claim_names": map[string]string{"groups": "src1", "dept": "src1"}, "grade": 3},
			"of a wrong form": {"groups": []string{"Eng Team"}, "dept": map[string]string{"a": "b"}, "grade": "many"}, "very long": {"groups": []string{"Eng Team"}, "dept": strings.Repeat("x", 3000), "grade": 3},
		} {
			s.says(claims)
			want(what, "administrators engineering org:sales", `department="Research" grade=3`)
		}

		// An administrator follows no provider.
		s.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `UPDATE users SET admin = $2 WHERE id = $1`, jane.ID, true)
			return err
		})
		s.says(map[string]any{"groups": []string{"sales"}})
		want("as an administrator", "administrators engineering org:sales", `department="Research" grade=3`)
		s.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `UPDATE users SET admin = $2 WHERE id = $1`, jane.ID, false)
			return err
		})

		// A rule that is taken away takes what came by it, at the next login.
		s.put("org", s.org, func(b *api.PutLoginProvider) {
			mapped(b)
			b.Claims.Groups = api.ProviderGroups{}
		})
		s.says(map[string]any{"groups": []string{"Eng Team"}, "dept": "Research"})
		want("without the rule", "administrators org:sales", `department="Research"`)
	})
}

// Two sources may say the same: it goes when none of them says it. What is unlinked, or of a provider that is no more, goes.
func TestSourcesOfAMembership(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.group("engineering")
		s.put("org", s.org, mapped)
		s.put("second", s.other, mapped)
		jane := s.says(map[string]any{"groups": []string{"Eng Team"}, "dept": "R&D"})
		begun := s.begin(federationBegin("second", jane))
		s.other.Claims = map[string]any{"groups": []string{"Eng Team"}}
		r, err := s.back("second", s.answer(s.other, begun), begun.Browser)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.confirm(jane, "ses_1", r.Login, begun.Browser); err != nil {
			t.Fatal(err)
		}
		second := func() {
			t.Helper()
			begun := s.begin(federationBegin("second", identity.User{}))
			if _, err := s.back("second", s.answer(s.other, begun), begun.Browser); err != nil {
				t.Fatal(err)
			}
		}
		second()
		s.says(map[string]any{"dept": "R&D"})
		if n, v := s.in(jane.ID); n != "engineering" || v != `department="R&D"` {
			t.Errorf("one of two says it still: %q %q", n, v)
		}
		s.other.Claims = nil
		second()
		if n, v := s.in(jane.ID); n != "" || v != `department="R&D"` {
			t.Errorf("nobody says it: %q %q", n, v)
		}
		s.says(map[string]any{"groups": []string{"Eng Team"}, "dept": "R&D"})
		links := s.links(jane.ID)
		i := slices.IndexFunc(links, func(l api.LinkedIdentity) bool { return l.Provider == "org" })
		s.write(func(ctx context.Context, tx db.WriteTx) error {
			return s.Unlink(ctx, tx, admin, jane.ID, links[i].ID, "")
		})
		if n, v := s.in(jane.ID); n+v != "" {
			t.Errorf("unlinked: %q %q", n, v)
		}
		s.other.Claims = map[string]any{"groups": []string{"Eng Team"}, "dept": "R&D"}
		second()
		if n, v := s.in(jane.ID); n+v == "" {
			t.Errorf("by the other one: %q %q", n, v)
		}
		s.write(func(ctx context.Context, tx db.WriteTx) error {
			return s.DeleteProvider(ctx, tx, admin, "second", func(int64) error { return nil })
		})
		if n, v := s.in(jane.ID); n+v != "" {
			t.Errorf("of a provider that is no more: %q %q", n, v)
		}
	})
}

func TestRulesThatAreNotTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		for what, change := range map[string]func(*api.ProviderClaims){
			"a prefix that runs on": func(c *api.ProviderClaims) { c.Groups.Prefix = "org" }, "a prefix that is a mark": func(c *api.ProviderClaims) { c.Groups.Prefix = ":" }, "a prefix with a space": func(c *api.ProviderClaims) { c.Groups.Prefix = "org : " },
			"no claim": func(c *api.ProviderClaims) { c.Groups.Claim = "" }, "twice the same value": func(c *api.ProviderClaims) { c.Groups.Map = append(c.Groups.Map, c.Groups.Map[0]) },
			"an empty group": func(c *api.ProviderClaims) { c.Groups.Map[0].Group = "" }, "an attribute that nobody declares": func(c *api.ProviderClaims) { c.Attributes[0].Attribute = "admin" },
			"one attribute twice": func(c *api.ProviderClaims) { c.Attributes[1].Attribute = "department" }, "one claim twice": func(c *api.ProviderClaims) { c.Attributes[1].Claim = "dept" },
			"a claim of two lines": func(c *api.ProviderClaims) { c.Attributes[0].Claim = "a\nb" },
		} {
			b := api.PutLoginProvider{Realm: "employees", Name: "Example Org", Issuer: s.org.Issuer, ClientID: s.org.ClientID, ClientSecret: s.org.Secret}
			mapped(&b)
			change(&b.Claims)
			if err := s.tryPut(admin, "org", b); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// A provider that gave something to very many people can be removed: what it gave goes a few people at a time, and until
// then no other one takes its place.
func TestAProviderOfVeryManyEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		g := s.group("engineering")
		s.put("org", s.org, mapped)
		s.put("second", s.other, mapped)
		jane := s.says(map[string]any{"groups": []string{"Eng Team"}, "dept": "R&D"})
		for i := range 250 {
			other := s.person(fmt.Sprint("many", i), "")
			s.write(func(ctx context.Context, tx db.WriteTx) error {
				for _, query := range []string{
					`INSERT INTO group_members (group_id, user_id, added, added_by) SELECT group_id, $1, added, added_by FROM group_members WHERE user_id = $2`,
					`INSERT INTO group_sources (group_id, user_id, source) SELECT group_id, $1, source FROM group_sources WHERE user_id = $2`,
				} {
					if err := db.One(tx.Exec(ctx, query, other.ID, jane.ID)); err != nil {
						return err
					}
				}
				if i > 0 {
					return nil
				}
				return db.One(tx.Exec(ctx, `INSERT INTO group_sources (group_id, user_id, source) VALUES ($1, $2, 'provider:second')`, g.ID, other.ID))
			})
		}
		members := func() (n int) {
			t.Helper()
			s.write(func(ctx context.Context, tx db.WriteTx) error {
				return tx.QueryRow(ctx, `SELECT count(*) FROM group_members WHERE group_id = $1`, g.ID).Scan(&n)
			})
			return n
		}
		s.write(func(ctx context.Context, tx db.WriteTx) error {
			return s.DeleteProvider(ctx, tx, admin, "org", func(int64) error { return nil })
		})
		if n := members(); n < 150 || n > 152 {
			t.Errorf("%d members are left at first", n)
		}
		again := api.PutLoginProvider{Realm: "employees", Name: "Example Org", Issuer: s.org.Issuer, ClientID: s.org.ClientID, ClientSecret: s.org.Secret}
		if err := s.tryPut(admin, "org", again); fault.Code(err) != "provider_ending" {
			t.Errorf("another one takes its id: %v", err)
		}
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := members(); n != 1 {
			t.Errorf("%d members are left, want her of whom another provider says it", n)
		}
		if n := len(s.records("group.remove_member")); n != 250 {
			t.Errorf("%d records, want 250", n)
		}
		s.put("org", s.org, mapped)
	})
}

// Whoever signs out waits for no provider: what is known of it does, also when it is no longer new; and one that is not
// known and does not answer is not offered.
func TestSigningOutWaitsForNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.put("org", s.org, func(b *api.PutLoginProvider) { b.Policy = api.ProviderPolicy{CreateUsers: true, OfferLogout: true} })
		r, err := s.login()
		if err != nil {
			t.Fatal(err)
		}
		begun, err := s.session(r)
		if err != nil {
			t.Fatal(err)
		}
		offered := func() bool {
			t.Helper()
			_, ok, err := s.OfferSignOut(t.Context(), begun.ID)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		s.clock.Advance(2 * time.Hour)
		calls := s.org.Calls["/.well-known/openid-configuration"]
		if !offered() || s.org.Calls["/.well-known/openid-configuration"] != calls {
			t.Error("a provider that is known is asked, or not offered")
		}
		s.clock.Advance(48 * time.Hour)
		s.org.Stuck = make(chan struct{})
		if offered() {
			t.Error("one that does not answer is offered")
		}
		close(s.org.Stuck)
		if !offered() {
			t.Error("one that answers is not offered")
		}
	})
}
