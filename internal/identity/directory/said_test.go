package directory_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/identity/directory/directorytest"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/identity/sourced"
)

// group makes a group of employees.
func (w *world) group(name string) (g groups.Group) {
	w.t.Helper()
	w.write(func(tx db.WriteTx) (err error) {
		g, err = w.groups.Create(ctx, tx, admin, groups.Group{Realm: "employees", Name: name})
		return err
	})
	return g
}

// in names the groups that somebody is in, and what attributes she has.
func (w *world) in(u identity.User) (in string) {
	w.t.Helper()
	w.read(func(tx db.ReadTx) error {
		list, err := groups.Of(ctx, tx, u.ID)
		if err != nil {
			return err
		}
		in = ""
		for _, g := range list {
			in += g.Name + " "
		}
		texts, err := db.Texts(ctx, tx, `SELECT name || '=' || value FROM person_attributes WHERE user_id = $1 ORDER BY name`, u.ID)
		in += strings.Join(texts, " ")
		return err
	})
	return in
}

// following has a configuration give groups and attributes.
func following(c directory.Config, ou string) directory.Config {
	c.Rules = sourced.Rules{
		Groups:     "memberOf",
		Map:        map[string]string{"CN=Eng Team, " + strings.ToUpper(ou): "engineering", "cn=sales," + ou: "sales", "cn=later," + ou: "later"},
		Attributes: map[string]string{"departmentNumber": "department", "roomNumber": "floors", "employeeType": "contractor"},
	}
	return c
}

// What a real directory says of groups and attributes counts as far as the rules name it: at a login, and in the
// comparison of all.
func TestGroupsAndAttributesOfADirectory(t *testing.T) {
	s := directoryServer(t)
	onBoth(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
		ou := s.organizationalUnit(t, "follow-"+strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name())))
		config := following(openldap(s), ou)
		config.Base = ou
		w := newWorld(t, d, c, config)
		w.group("engineering")
		sales, other := w.group("sales"), w.group("administrators")
		ada := "uid=ada," + ou
		s.change(t, person(ou, "ada", "Ada", "ada@example.org", janes)+
			"dn: "+ada+"\nchangetype: modify\nadd: departmentNumber\ndepartmentNumber: R&D\n-\nadd: roomNumber\nroomNumber: 7\nroomNumber: 8\n-\nadd: employeeType\nemployeeType: TRUE\n\n"+
			"dn: cn=eng team,"+ou+"\nchangetype: add\nobjectClass: groupOfNames\ncn: eng team\nmember: "+ada+"\n\n"+
			"dn: cn=administrators,"+ou+"\nchangetype: add\nobjectClass: groupOfNames\ncn: administrators\nmember: "+ada+"\n\n")
		u, err := w.signIn("ada", janes)
		if err != nil {
			t.Fatal(err)
		}
		if in := w.in(u); in != `engineering contractor=true department="R&D" floors=["7","8"]` {
			t.Errorf("at the first login: %s", in)
		}
		compare := func(what, want string, refreshed int) {
			t.Helper()
			w.clock.Set(w.clock.Now().Add(time.Hour))
			r, err := w.sync()
			if in := w.in(u); err != nil || r.Outcome != directory.Done || r.Refreshed != refreshed || in != want {
				t.Errorf("%s: %s after %+v, %v; want %s", what, in, r, err, want)
			}
		}
		compare("as it was", `engineering contractor=true department="R&D" floors=["7","8"]`, 0)
		// An administrator's own gift stays.
		w.write(func(tx db.WriteTx) error { return w.groups.Add(ctx, tx, admin, other.ID, u.ID) })
		s.change(t, "dn: cn=eng team,"+ou+"\nchangetype: delete\n\ndn: cn=sales,"+ou+"\nchangetype: add\nobjectClass: groupOfNames\ncn: sales\nmember: "+ada+"\n\n"+
			"dn: cn=later,"+ou+"\nchangetype: add\nobjectClass: groupOfNames\ncn: later\nmember: "+ada+"\n\n"+
			"dn: "+ada+"\nchangetype: modify\nreplace: roomNumber\nroomNumber: 9\n-\ndelete: employeeType\n\n")
		compare("moved", `administrators sales department="R&D" floors=["9"]`, 1)
		// A group that is made here later is one from then on, and rules that are changed count as well.
		w.group("later")
		compare("with the group", `administrators later sales department="R&D" floors=["9"]`, 1)
		delete(config.Rules.Map, "cn=later,"+ou)
		w.replace(config)
		compare("without the rule", `administrators sales department="R&D" floors=["9"]`, 1)
		w.write(func(tx db.WriteTx) error { return w.groups.Delete(ctx, tx, admin, sales.ID) })
		compare("without the group", `administrators department="R&D" floors=["9"]`, 1)
		config.Rules = sourced.Rules{}
		w.replace(config)
		compare("without any rule", `administrators `, 1)
	})
}

// Active Directory leaves out the end of a long list, which does not mean that the person is in those groups no more.
func TestGroupsThatWereLeftOut(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := directorytest.New(t)
		w := newWorld(t, d, c, following(f.Config(), people))
		w.group("engineering")
		says := func(name, value string) {
			f.Set(func() {
				f.Entries = []directorytest.Entry{directorytest.Jane()}
				f.Entries[0].Attributes[name] = value
			})
		}
		says("memberOf", "CN=eng  team,OU=People,dc=example,dc=org")
		u, err := w.signIn("jane", janes)
		if err != nil {
			t.Fatal(err)
		}
		for what, attribute := range map[string][2]string{"cut off": {"memberOf;range=0-1499", "cn=other," + people}, "what is no DN besides": {"memberOf", "cn=Eng Team," + people}} {
			says(attribute[0], attribute[1])
			if _, err := w.signIn("jane", janes); err != nil || !strings.HasPrefix(w.in(u), "engineering") {
				t.Errorf("%s: in %q, %v", what, w.in(u), err)
			}
		}
		says("memberOf", "not a DN")
		if _, err := w.signIn("jane", janes); err != nil || w.in(u) != "" {
			t.Errorf("in %q, %v", w.in(u), err)
		}
	})
}

func TestRulesOfADirectoryThatAreNotTaken(t *testing.T) {
	c := openldap(&slapd{tls: "localhost:636"})
	for what, rules := range map[string]sourced.Rules{
		"no DN": {Groups: "memberOf", Map: map[string]string{"engineering": "engineering"}}, "an empty DN": {Groups: "memberOf", Map: map[string]string{"": "engineering"}},
		"a prefix": {Groups: "memberOf", Prefix: "org:"},
	} {
		c.Rules = rules
		if err := c.Check(); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}
