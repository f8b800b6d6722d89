package transfer_test

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/identity/identitytest"
	"github.com/mintmark/mintmark/internal/identity/transfer"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var admin = identitytest.Admin

const secret = "a walk in the rain at night"

// port is where people come in and go out.
type port struct {
	*testing.T
	d      *db.DB
	dir    *identity.Directory
	groups *groups.Service
	s      *transfer.Service
	m      *identitytest.Desk
}

func ports(t *testing.T, f func(p *port)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
			d := dbtest.Open(t, engine, c)
			pool := password.NewPool(password.Options{Params: password.Params{Memory: 64, Time: 1, Threads: 1}})
			dir, err := identity.New(d, sealtest.New(t, d), identity.Options{Clock: c, Passwords: pool})
			if err != nil {
				t.Fatal(err)
			}
			p := &port{T: t, d: d, dir: dir, groups: groups.New(dir.Realms())}
			dir.OnPersonRemoved(groups.Forget)
			p.s = transfer.New(d, dir, p.groups, attributes.New(map[string][]attributes.Attribute{"customers": {{Name: "plan"}, {Name: "seats", Type: attributes.Number}}}), transfer.Options{})
			p.m = identitytest.New(t, d)
			p.s.Routes(p.m.Mux)
			f(p)
		})
	}
}

func (p *port) call(want int, method, target, as, body string, into any) string {
	p.Helper()
	return p.m.Call(want, method, target, as, body, into)
}

func (p *port) texts(query string, args ...any) (list []string) {
	p.Helper()
	if err := p.d.Read(p.Context(), func(tx db.ReadTx) (err error) { list, err = db.Texts(p.Context(), tx, query, args...); return err }); err != nil {
		p.Fatal(err)
	}
	return list
}

func (p *port) group(name string) groups.Group {
	p.Helper()
	var g groups.Group
	if err := p.d.Write(p.Context(), func(tx db.WriteTx) (err error) {
		g, err = p.groups.Create(p.Context(), tx, admin, groups.Group{Realm: "customers", Name: name})
		return err
	}); err != nil {
		p.Fatal(err)
	}
	return g
}

func TestImport(t *testing.T) {
	ports(t, func(p *port) {
		p.group("Gold")
		rows := `[{"external_id":"1","username":"Ann","display_name":"Ann Lee","email":"ann@example.org","email_verified":true,"phone":"+41 1","groups":["gold"]},
			{"username":"bob","email":"bob@example.org"},
			{"username":"bob"},
			{"username":"a b"},
			{"username":"cat","email":"no address"},
			{"username":"dan","groups":["silver"]},
			{"username":"eve","password_hash":"$2b$31$abcdefghijklmnopqrstuuS9JkJ7bB0VuJb3yT9oCw2oH0u5k4D8a"},
			{"username":"fay","password_hash":"$scrypt$ln=30,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
			{"username":"gil","password_hash":"hunter2-in-clear-text"},
			{"username":"hal","email_verified":true},
			{"username":"ida","display_name":"\u0007"},
			{"username":"jim","email":"ann@example.org"},
			{"external_id":"2","username":"ann"},
			{"username":"kim","external_id":"\n"},
			{}]`
		var got, dry api.ImportedUsers
		p.call(200, "POST", "/api/users/import", "admin", `{"realm":"/customers","dry_run":true,"rows":`+rows+`}`, &dry)
		if n := p.texts(`SELECT username FROM users`); len(n) != 0 {
			p.Errorf("a dry run made %v", n)
		}
		answer := p.call(200, "POST", "/api/users/import", "admin", `{"realm":"customers","rows":`+rows+`}`, &got)
		if diff := cmp.Diff(dry, got); diff != "" {
			p.Errorf("a dry run says something else: %s", diff)
		}
		var refused []string
		for _, r := range got.Refused {
			refused = append(refused, fmt.Sprint(r.Row, " ", r.Field, " ", r.Code))
		}
		if diff := cmp.Diff([]string{"3 username username", "4 email email", "5 groups group_not_found", "6 password_hash password_hash", "7 password_hash password_hash", "8 password_hash password_hash",
			"9 email_verified no_email", "10 display_name display_name", "11  user_exists", "12 external_id external_id", "13 external_id bad_text", "14 username username"}, refused); diff != "" || got.Created != 2 || got.Skipped != 1 {
			p.Errorf("%d created, %d skipped\n%s", got.Created, got.Skipped, diff)
		}
		if strings.Contains(answer, "$2b$") || strings.Contains(answer, "hunter2") || strings.Contains(answer, "AAAA") {
			p.Errorf("a hash is told: %s", answer)
		}
		for _, text := range p.texts(`SELECT details FROM audit_events`) {
			if strings.Contains(text, "$") {
				p.Errorf("a hash in the audit log: %s", text)
			}
		}
		if who := p.texts(`SELECT u.username || ' ' || p.email || ' ' || g.name FROM users u JOIN people p ON p.user_id = u.id JOIN group_members m ON m.user_id = u.id JOIN groups g ON g.id = m.group_id WHERE p.email_verified <> 0`); !cmp.Equal(who, []string{"ann ann@example.org Gold"}) {
			p.Errorf("%v", who)
		}
		// Read again it changes nothing, and with update what the rows name.
		p.call(200, "POST", "/api/users/import", "admin", `{"realm":"customers","rows":[{"external_id":"1","username":"ann","display_name":"Other"}]}`, &got)
		if got.Skipped != 1 || len(p.texts(`SELECT id FROM users WHERE display_name = 'Ann Lee'`)) != 1 {
			p.Errorf("%+v", got)
		}
		got = api.ImportedUsers{}
		p.call(200, "POST", "/api/users/import", "admin", `{"realm":"customers","existing":"update","rows":[{"external_id":"1","username":"renamed","display_name":"Ann Li"},{"external_id":"9","username":"bob","phone":"+41 2"}]}`, &got)
		if who := p.texts(`SELECT u.username || ' ' || u.display_name || ' ' || p.phone FROM users u JOIN people p ON p.user_id = u.id ORDER BY u.username`); got.Updated != 2 || !cmp.Equal(who, []string{"ann Ann Li +41 1", "bob bob +41 2"}) {
			p.Errorf("%+v %v", got, who)
		}
		for body, want := range map[string]int{
			`{"realm":"services","rows":[{"username":"x"}]}`: 400, `{"realm":"customers","rows":[]}`: 400, `{"realm":"customers","rows":[{"username":"x","admin":true}]}`: 400,
			`{"realm":"customers","existing":"replace","rows":[{"username":"x"}]}`: 400, `{"realm":"customers","rows":[` + strings.Repeat(`{"username":"x"},`, transfer.MaxRows) + `{"username":"x"}]}`: 400,
		} {
			p.call(want, "POST", "/api/users/import", "admin", body, nil)
		}
		p.call(403, "POST", "/api/users/import", "jane", `{"realm":"customers","rows":[{"username":"x"}]}`, nil)
		p.call(401, "POST", "/api/users/import", "", `{"realm":"customers","rows":[{"username":"x"}]}`, nil)
	})
}

// Each kind of hash signs its person in, and is one of ours from then on.
func TestImportedHashesSignInAndAreReplaced(t *testing.T) {
	b64, salt := base64.RawStdEncoding.EncodeToString, []byte("sixteen bytes ..")
	blow, err := bcrypt.GenerateFromPassword([]byte(secret), 4)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := pbkdf2.Key(sha256.New, secret, salt, 1000, 32)
	if err != nil {
		t.Fatal(err)
	}
	memory, err := scrypt.Key([]byte(secret), salt, 1<<4, 8, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]string{
		"bcrypt": string(blow), "pbkdf2": "$pbkdf2-sha256$i=1000,l=32$" + b64(salt) + "$" + b64(derived), "scrypt": "$scrypt$ln=4,r=8,p=1$" + b64(salt) + "$" + b64(memory),
		"argon2": "$argon2id$v=19$m=32,t=1,p=1$" + b64(salt) + "$" + b64(argon2.IDKey([]byte(secret), salt, 1, 32, 1, 32)),
	}
	ports(t, func(p *port) {
		var rows []transfer.Row
		for name, hash := range hashes {
			rows = append(rows, transfer.Row{Username: name, PasswordHash: redact.New(hash)})
		}
		results, err := p.s.Import(p.Context(), admin, transfer.Batch{Realm: "customers", Rows: rows})
		if err != nil {
			p.Fatal(err)
		}
		for i, r := range results {
			version := func() string {
				return p.texts(`SELECT CAST(version AS TEXT) FROM person_passwords WHERE user_id = $1`, r.UserID)[0]
			}
			if r.Outcome != transfer.Created || version() != "1" {
				p.Fatalf("%+v", r)
			}
			for _, word := range []string{"wrong", secret, secret} {
				_, err := p.dir.VerifyPersonPassword(context.Background(), "customers", rows[i].Username, redact.New(word), identity.Origin{IP: "192.0.2.1"})
				if (err == nil) != (word == secret) {
					p.Errorf("%s with %q: %v", rows[i].Username, word, err)
				}
			}
			if version() != "2" {
				p.Errorf("%s: the hash was not replaced once: version %s", rows[i].Username, version())
			}
		}
		// A password that somebody has here is no other system's to change.
		again, err := p.s.Import(p.Context(), admin, transfer.Batch{Realm: "customers", Update: true, Rows: []transfer.Row{{Username: "bcrypt", PasswordHash: redact.New("$2b$04$" + strings.Repeat("a", 53))}}})
		if err != nil || again[0].Outcome == transfer.Created {
			p.Fatalf("%+v %v", again, err)
		}
		if _, err := p.dir.VerifyPersonPassword(context.Background(), "customers", "bcrypt", redact.New(secret), identity.Origin{IP: "192.0.2.1"}); err != nil {
			p.Errorf("the password was changed: %v", err)
		}
	})
}

// A row that turns out to be wrong when part of it is written leaves nothing of itself.
func TestImportRefusesALateRowWhole(t *testing.T) {
	ports(t, func(p *port) {
		ann, err := p.s.Import(p.Context(), admin, transfer.Batch{Realm: "customers", Rows: []transfer.Row{{Username: "ann"}}})
		if err != nil {
			p.Fatal(err)
		}
		for i := range groups.MaxGroups {
			g := p.group(fmt.Sprint("g", i))
			if err := p.d.Write(p.Context(), func(tx db.WriteTx) error { return p.groups.Add(p.Context(), tx, admin, g.ID, ann[0].UserID) }); err != nil {
				p.Fatal(err)
			}
		}
		p.group("more")
		got, err := p.s.Import(p.Context(), admin, transfer.Batch{Realm: "customers", Update: true, Rows: []transfer.Row{{Username: "bob"}, {Username: "ann", DisplayName: "Changed", Groups: []string{"more"}}, {Username: "cat"}}})
		if err != nil || got[0].Outcome != transfer.Created || got[1].Outcome != transfer.Refused || got[2].Outcome != transfer.Created {
			p.Fatalf("%+v %v", got, err)
		}
		if names := p.texts(`SELECT display_name FROM users ORDER BY username`); !cmp.Equal(names, []string{"ann", "bob", "cat"}) {
			p.Errorf("%v", names)
		}
	})
}

// People come as CSV the same way, with attributes that are known as text.
func TestImportCSV(t *testing.T) {
	ports(t, func(p *port) {
		p.group("Gold")
		send := func(want int, csv string, into any) string {
			body, err := json.Marshal(api.ImportUsers{Realm: "customers", CSV: csv})
			if err != nil {
				p.Fatal(err)
			}
			return p.call(want, "POST", "/api/users/import", "admin", string(body), into)
		}
		var got api.ImportedUsers
		answer := send(200, "username,groups,attribute.plan,attribute.seats,password_hash\n\"ann\",gold,Basic,12,\nbob,,,many,\n\ncat,silver,,,\ndan,,,hunter2\neve,,,,hunter2\nfay,,,7,\n", &got)
		var refused []string
		for _, r := range got.Refused {
			refused = append(refused, fmt.Sprint(r.Row, " ", r.Line, " ", r.Field, " ", r.Code))
		}
		if diff := cmp.Diff([]string{"1 3 body.attributes.seats attribute_type", "2 5 groups group_not_found", "3 6  bad_line", "4 7 password_hash password_hash"}, refused); diff != "" || got.Created != 2 {
			p.Errorf("%d created\n%s", got.Created, diff)
		}
		if strings.Contains(answer, "hunter2") {
			p.Errorf("a line is repeated: %s", answer)
		}
		if kept := p.texts(`SELECT u.username || ' ' || a.name || ' ' || a.value FROM person_attributes a JOIN users u ON u.id = a.user_id ORDER BY u.username, a.name`); !cmp.Equal(kept, []string{`ann plan "Basic"`, `ann seats 12`, `fay seats 7`}) {
			p.Errorf("%v", kept)
		}
		for _, bad := range []string{"email\nx\n", "username,hunter2\nx,y\n", "username\n", "username\n" + strings.Repeat("x\n", transfer.MaxRows+1)} {
			if answer := send(400, bad, nil); strings.Contains(answer, "hunter2") {
				p.Error(answer)
			}
		}
		p.call(400, "POST", "/api/users/import", "admin", `{"realm":"customers","csv":"username\nx\n","rows":[{"username":"y"}]}`, nil)
		p.call(403, "POST", "/api/users/import", "jane", `{"realm":"customers","csv":"username\nx\n"}`, nil)
		p.call(200, "POST", "/api/users/import", "admin", `{"realm":"customers","rows":[{"username":"gil","attributes":{"plan":"A"},"attribute_texts":{"plan":"B"}},{"username":"hal","attribute_texts":{"size":"B"}}]}`, &got)
		if len(got.Refused) != 2 || got.Refused[0].Code != "attribute_twice" || got.Refused[1].Code != "unknown_attribute" {
			p.Errorf("%+v", got)
		}
	})
}
