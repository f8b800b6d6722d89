package identity_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

// search asks the endpoint for all pages, and answers realm/name of whom it found.
func (h *house) search(query url.Values, limit int) (found []string, pages int) {
	h.t.Helper()
	found = []string{}
	query.Set("limit", fmt.Sprint(limit))
	for {
		status, answer := h.call("GET", "/api/users?"+query.Encode(), "admin", "")
		var page api.Users
		if err := json.Unmarshal([]byte(answer), &page); status != 200 || err != nil {
			h.t.Fatalf("%v: %d, %v\n%s", query, status, err, answer)
		}
		if pages++; len(page.Items) > limit || pages > 500 {
			h.t.Fatalf("page %d holds %d of %d", pages, len(page.Items), limit)
		}
		for _, u := range page.Items {
			found = append(found, u.Realm+"/"+u.Username)
		}
		if page.NextCursor == "" {
			return found, pages
		}
		query.Set("cursor", page.NextCursor)
	}
}

func TestSearch(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for _, p := range []identity.NewPerson{
			{Realm: "employees", Username: "jane", DisplayName: "Jane van der Dœ", Email: "Jane@Example.org"},
			{Realm: "employees", Username: "rené", DisplayName: "René Größer", Email: "janet@example.org"},
			{Realm: "customers", Username: "janosch", DisplayName: "János"},
			{Realm: "employees", Username: "zoe", DisplayName: "Zoë JANSEN"},
			{Realm: "employees", Username: "mallory"},
		} {
			if _, err := h.tryPerson(p, ""); err != nil {
				t.Fatal(err)
			}
		}
		zoe, _ := h.find("employees", "zoe")
		if err := h.d.Write(ctx, func(tx db.WriteTx) error { return h.dir.BlockPerson(ctx, tx, admin, zoe.ID, "left") }); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			query string
			want  string
		}{
			{"search=jan", "customers/janosch employees/jane employees/rené employees/zoe"},
			{"search=JAN", "customers/janosch employees/jane employees/rené employees/zoe"},
			{"search=j%C3%A1no", "customers/janosch"},
			{"search=jan&realm=employees", "employees/jane employees/rené employees/zoe"},
			{"search=jan&realm=/customers", "customers/janosch"},
			{"search=jan&state=disabled", "employees/zoe"},
			{"search=jan&state=enabled", "customers/janosch employees/jane employees/rené"},
			{"search=doe", "employees/jane"},
			{"search=der++D%C5%93", "employees/jane"},
			{"search=grosser", "employees/rené"},
			{"search=GR%C3%96%C3%9FER", "employees/rené"},
			{"search=rene", "employees/rené"},
			{"search=janet@ex", "employees/rené"},
			{"search=example", ""},
			{"search=%25", ""},
			{"search=_ane", ""},
			{"search=jan%EF%BF%BD", "customers/janosch employees/jane employees/rené employees/zoe"},
			{"search=nobody", ""},
			{"state=disabled", "employees/zoe"},
			{"state=disabled&realm=customers", ""},
			{"state=enabled", "customers/janosch employees/jane employees/mallory employees/rené"},
		} {
			q, err := url.ParseQuery(c.query)
			if err != nil {
				t.Fatal(err)
			}
			for _, limit := range []int{1, 2, 100} {
				found, _ := h.search(maps(q), limit)
				if got := strings.Join(found, " "); got != c.want {
					t.Errorf("%s, %d a page: %q, not %q", c.query, limit, got, c.want)
				}
			}
		}
		for _, bad := range []string{"search=%CC%81", "search=x&username=jane&realm=employees", "state=asleep", "search=x&realm=nowhere", "search=x&cursor=WyJhIiwiYiJd", "search=" + strings.Repeat("x", 201)} {
			if status, answer := h.call("GET", "/api/users?"+bad, "admin", ""); status != 400 {
				t.Errorf("%.60s: %d\n%s", bad, status, answer)
			}
		}
		if status, _ := h.call("GET", "/api/users?search=x", "jane", ""); status != 403 {
			t.Errorf("a search by somebody: %d", status)
		}
	})
}

func maps(q url.Values) url.Values {
	clone := url.Values{}
	for k, v := range q {
		clone[k] = slices.Clone(v)
	}
	return clone
}

func (h *house) find(realm, name string) (identity.Person, bool) {
	h.t.Helper()
	var p identity.Person
	var ok bool
	if err := h.d.Read(ctx, func(tx db.ReadTx) (err error) {
		p, ok, err = h.dir.FindPerson(ctx, tx, realm, name)
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	return p, ok
}

// Whatever changes a person, she is found by what she is called now, and by nothing else.
func TestSearchFollowsChanges(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		keys := func(want ...string) {
			t.Helper()
			got, err := h.texts(`SELECT key FROM person_keys ORDER BY key`)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		}
		u, err := h.tryPerson(identity.NewPerson{Realm: "employees", Username: "ann@example.org", Email: "ann@example.org", DisplayName: "Ann Lee"}, "")
		if err != nil {
			t.Fatal(err)
		}
		keys("ann lee", "ann@example.org", "lee")
		change := func(f func(tx db.WriteTx) error) {
			t.Helper()
			if err := h.d.Write(ctx, f); err != nil {
				t.Fatal(err)
			}
		}
		name, mail := "Ann Li Wu", "wu@example.org"
		change(func(tx db.WriteTx) error {
			return h.dir.UpdatePerson(ctx, tx, admin, u.ID, identity.PersonUpdate{DisplayName: &name})
		})
		keys("ann li wu", "ann@example.org", "li wu", "wu")
		change(func(tx db.WriteTx) error {
			return h.dir.UpdatePerson(ctx, tx, admin, u.ID, identity.PersonUpdate{Email: &mail})
		})
		keys("ann li wu", "li wu", "wu", "wu@example.org")
		change(func(tx db.WriteTx) error { return h.dir.RemovePerson(ctx, tx, admin, u.ID) })
		keys()
		change(func(tx db.WriteTx) error { _, _, err := h.dir.EnsureAdministrator(ctx, tx); return err })
		keys("admin", "administrator")
	})
}

// A search looks at a bounded number of entries, whatever it is for, and goes on from there.
func TestSearchIsBounded(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		const many = 2500
		last := h.person("employees", "zz", "", "")
		if err := h.d.Write(ctx, func(tx db.WriteTx) error {
			for i := range many {
				userID, name := fmt.Sprintf("usr_%05d", i), fmt.Sprintf("z%05d", i)
				if err := db.One(tx.Exec(ctx, `INSERT INTO users (id, realm, username, display_name, admin, created, created_by, enabled_since, disabled) VALUES ($1, 'employees', $2, $2, FALSE, 1, 't', 1, 0)`, userID, name)); err != nil {
					return err
				}
				if err := db.One(tx.Exec(ctx, `INSERT INTO person_keys (user_id, realm, key) VALUES ($1, 'employees', $2)`, userID, name)); err != nil {
					return err
				}
			}
			return h.dir.BlockPerson(ctx, tx, admin, last.ID, "")
		}); err != nil {
			t.Fatal(err)
		}
		found, pages := h.search(url.Values{"search": {"z"}, "state": {"disabled"}}, 10)
		if strings.Join(found, " ") != "employees/zz" || pages != 3 {
			t.Errorf("%q on %d pages", found, pages)
		}
		if found, pages = h.search(url.Values{"state": {"disabled"}}, 10); strings.Join(found, " ") != "employees/zz" || pages != 1 {
			t.Errorf("%q on %d pages", found, pages)
		}
		found, _ = h.search(url.Values{"search": {"z"}}, 500)
		if len(found) != many+1 || len(slices.Compact(slices.Sorted(slices.Values(found)))) != many+1 {
			t.Errorf("%d found", len(found))
		}
	})
}

// Both engines take the range out of the index, and look up the rest by primary keys.
func TestSearchUsesItsIndexes(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		// PostgreSQL reads a small table as a whole, and cheaply; a million people are worth an index.
		explain := func(query string, args ...any) (plan string) {
			err := h.d.Write(ctx, func(tx db.WriteTx) error {
				prefix := "EXPLAIN QUERY PLAN "
				if h.d.Engine() == db.PostgreSQL {
					prefix = "EXPLAIN "
					for _, off := range []string{"enable_seqscan", "enable_bitmapscan"} {
						if _, err := tx.Exec(ctx, "SET LOCAL "+off+" = off"); err != nil {
							return err
						}
					}
				}
				rows, err := tx.Query(ctx, prefix+query, args...)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var line string
					dest := []any{&line}
					if h.d.Engine() == db.SQLite {
						var a, b, c int
						dest = []any{&a, &b, &c, &line}
					}
					if err := rows.Scan(dest...); err != nil {
						return err
					}
					plan += line + "\n"
				}
				return rows.Err()
			})
			if err != nil {
				t.Fatal(err)
			}
			return plan
		}
		for _, c := range []struct {
			name, query, index string
			args               []any
			postgres, sqlite   string // what says that the whole range is in the index
		}{
			{"matching", identity.SearchMatching, "person_keys_search", []any{"employees", "jan", "", "jan", "jan\U0010FFFF", 11, ""},
				`Index Cond: ((realm = 'employees'::text) AND (ROW(key, user_id) > ROW('jan'::text, ''::text)) AND (key < `, "(realm=? AND (key,user_id)>(?,?) AND key<?)"},
			{"listed", identity.SearchListed, "users_people", []any{"employees", "jan", 11},
				`Index Cond: ((realm = 'employees'::text) AND (username > 'jan'::text))`, "(realm=? AND username>?)"},
			{"refused", identity.SearchRefused, "users_refused", []any{"employees", "jan", 11},
				`Index Cond: ((realm = 'employees'::text) AND (username > 'jan'::text))`, "(realm=? AND username>?)"},
			{"members", identity.SearchMembers, "group_members", []any{"grp_x", "usr_x", 11}, `Index Cond: ((group_id = 'grp_x'::text) AND (user_id > 'usr_x'::text))`, "(group_id=? AND user_id>?)"},
			{"list", identity.ListPeopleQuery, "users_people", []any{"employees", "", "employees", 11},
				`Index Cond: ((ROW(realm, username) > ROW('employees'::text, ''::text)) AND (realm <= 'employees'::text))`, "((realm,username)>(?,?) AND realm<?)"},
		} {
			plan := explain(c.query, c.args...)
			want := c.sqlite
			if h.d.Engine() == db.PostgreSQL {
				want = c.postgres
			}
			if !strings.Contains(plan, c.index) || !strings.Contains(plan, want) || strings.Contains(plan, "SCAN u") || strings.Contains(plan, "Seq Scan") {
				t.Errorf("%s does not take the range %s of %s:\n%s", c.name, want, c.index, plan)
			}
		}
	})
}

// Whoever writes a name or an address keeps the search in step: the few places are known, and there are no others.
func TestNamesAreWrittenInFewPlaces(t *testing.T) {
	writes := regexp.MustCompile(`(?i)(INSERT INTO (users|people) |UPDATE users SET [^` + "`" + `]*(username|display_name)|UPDATE people SET [^` + "`" + `]*\bemail =)`)
	known := map[string]int{
		"identity/identity.go":       1,                                 // insertUser
		"identity/person.go":         1,                                 // CreatePersonHashed
		"identity/person_change.go":  3,                                 // ChangeEmail twice, RemovePerson
		"identity/person_recover.go": 2, "identity/source_person.go": 2, // UpdatePerson, ensurePeopleRow
	}
	got := map[string]int{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if n := len(writes.FindAll(text, -1)); n > 0 {
			got[filepath.ToSlash(strings.TrimPrefix(path, "../"))] = n
		}
		return err
	})
	if diff := cmp.Diff(known, got); err != nil || diff != "" {
		t.Errorf("%v: call indexPerson where a name or an address is written, and count it here\n%s", err, diff)
	}
}

func FuzzFold(f *testing.F) {
	seeds := []string{"", "Jane Doe", "ŐŰ ß İı", "Ａｎｎ", "\u0301", "ﬃ", "𝔘𝔫𝔦", "a\u200bb", "\xff", "Æther  Œuvre"}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := identity.Fold(text)
		if strings.Contains(once, "\x00") || strings.ToValidUTF8(once, "") != once {
			t.Errorf("%q became %q", text, once)
		}
		// A beginning that somebody types is found in the key, if it ends where a character ends.
		if again := identity.Fold(once); again != once {
			t.Errorf("%q became %q, and that %q", text, once, again)
		}
	})
}
