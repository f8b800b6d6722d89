package transfer_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/transfer"
	"github.com/mintmark/mintmark/internal/redact"
)

// schema is the columns of each table, with their types.
func schema(t *testing.T, tx db.ReadTx, e db.Engine) map[string][][2]string {
	t.Helper()
	query := `SELECT t.name, c.name, c.type FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid`
	if e == db.PostgreSQL {
		query = `SELECT table_name, column_name, upper(data_type) FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position`
	}
	rows, err := tx.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string][][2]string{}
	for rows.Next() {
		var table, column, kind string
		if err := rows.Scan(&table, &column, &kind); err != nil {
			t.Fatal(err)
		}
		out[table] = append(out[table], [2]string{column, kind})
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Each table that names a user by id is in the list, and each of its columns is given to the person or hidden: a new one
// fails until somebody has decided which.
func TestEveryTableOfAPersonIsInTheList(t *testing.T) {
	ports(t, func(p *port) {
		var columns map[string][][2]string
		references := map[string]bool{}
		if err := p.d.Read(p.Context(), func(tx db.ReadTx) error {
			columns = schema(p.T, tx, p.d.Engine())
			if p.d.Engine() != db.SQLite {
				return nil
			}
			list, err := db.Texts(p.Context(), tx, `SELECT t.name || '.' || f."from" FROM sqlite_master t JOIN pragma_foreign_key_list(t.name) f WHERE t.type = 'table' AND f."table" = 'users'`)
			for _, r := range list {
				references[r] = true
			}
			return err
		}); err != nil {
			p.Fatal(err)
		}
		known, shown, hidden := transfer.Tables(), transfer.Shown(), transfer.Hidden()
		found := map[string]bool{}
		for table, list := range columns {
			var names []string
			for _, c := range list {
				names = append(names, c[0])
				if (c[0] == "user_id" || references[table+"."+c[0]]) && known[table][0] != c[0] {
					p.Errorf("table %s names a person in %s: say in held.go what the person is given of it, and what becomes of it when the person is erased", table, c[0])
				}
			}
			found[table] = true
			if by, ok := known[table]; ok && (by[0] == "" || !slices.Contains(names, by[0])) {
				p.Errorf("table %s has no column %s", table, by[0])
			}
			if _, ok := known[table]; !ok {
				continue
			}
			given := map[string]string{}
			for spec := range strings.FieldsSeq(shown[table]) {
				name, kind, _ := strings.Cut(spec, ":")
				if given[name] = kind; !slices.Contains(names, name) && table != "group_members" { // its query joins another
					p.Errorf("table %s has no column %s", table, name)
				}
			}
			for name := range strings.FieldsSeq(hidden[table]) {
				if _, both := given[name]; both || !slices.Contains(names, name) {
					p.Errorf("column %s of table %s is hidden and given, or not there", name, table)
				}
			}
			for _, c := range list {
				kind, is := given[c[0]]
				if !is && c[0] != known[table][0] && !slices.Contains(strings.Fields(hidden[table]), c[0]) {
					p.Errorf("column %s of table %s is neither given to the person nor hidden: say in held.go which", c[0], table)
				}
				if is && (c[1] == "BYTEA" || (c[1] == "BOOLEAN") != (kind == "bool")) {
					p.Errorf("%s.%s is given out as it should not be", table, c[0])
				}
			}
		}
		for table := range known {
			if !found[table] {
				p.Errorf("there is no table %s", table)
			}
		}
	})
}

var errUndo = errors.New("nothing of it is kept")

// fill puts a row of the person into every table of the list, whatever else it holds.
func fill(t *testing.T, tx db.WriteTx, e db.Engine, userID string) error {
	off := `PRAGMA defer_foreign_keys = ON`
	if e == db.PostgreSQL {
		off = `SET LOCAL session_replication_role = replica`
	}
	if _, err := tx.Exec(t.Context(), off); err != nil {
		return err
	}
	columns := schema(t, tx, e)
	for table, of := range transfer.Tables() {
		if table == "users" || table == "people" || table == "person_keys" {
			continue
		}
		var names, marks []string
		var args []any
		for i, c := range columns[table] {
			var value any = "secret-" + c[0]
			switch {
			case c[0] == of[0]:
				value = userID
			case c[1] == "BIGINT":
				value = 1
			case c[1] == "BOOLEAN":
				value = true
			case c[1] == "BYTEA":
				value = []byte("secret-" + table + c[0])
			}
			names, marks, args = append(names, c[0]), append(marks, fmt.Sprint("$", i+1)), append(args, value)
		}
		if err := db.One(tx.Exec(t.Context(), `INSERT INTO `+table+` (`+strings.Join(names, ", ")+`) VALUES (`+strings.Join(marks, ", ")+`)`, args...)); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO team_members (team, realm, username) VALUES ('shop', 'customers', 'jane')`); err != nil {
		return err
	}
	_, err := tx.Exec(t.Context(), `INSERT INTO groups (id, realm, name, name_key, description, created, created_by) VALUES ('secret-group_id', 'customers', 'gold', 'gold', '', 1, '')`)
	return err
}

func (p *port) jane() (u identity.User) {
	p.Helper()
	if err := p.d.Write(p.Context(), func(tx db.WriteTx) (err error) {
		u, err = p.dir.CreatePerson(p.Context(), tx, admin, identity.NewPerson{Realm: "customers", Username: "jane", DisplayName: "Jane Doe", Email: "jane@example.org", Phone: "+41 1"}, redact.Secret{})
		return err
	}); err != nil {
		p.Fatal(err)
	}
	return u
}

// What is erased is in no table that is not kept for a reason, and nothing that is left says who it was.
func TestEraseForgetsEverything(t *testing.T) {
	ports(t, func(p *port) {
		u := p.jane()
		err := p.d.Write(p.Context(), func(tx db.WriteTx) error {
			if err := fill(p.T, tx, p.d.Engine(), u.ID); err != nil {
				return err
			}
			before, err := db.Texts(p.Context(), tx, `SELECT id FROM audit_events`)
			if err != nil {
				return err
			}
			if err := p.s.Erase(p.Context(), tx, admin, u.ID, "Jane"); !fault.Is(err, fault.Invalid) {
				p.Errorf("erased without being confirmed: %v", err)
			}
			if err := p.s.Erase(p.Context(), tx, admin, u.ID, "jane"); err != nil {
				return err
			}
			for table, of := range transfer.Tables() {
				var n int
				if err := tx.QueryRow(p.Context(), `SELECT count(*) FROM `+table+` WHERE `+of[0]+` = $1`, u.ID).Scan(&n); err != nil {
					return err
				}
				if (n != 0) != (of[1] != "") {
					p.Errorf("%s holds %d rows of who was erased", table, n)
				}
			}
			var name, display, reason string
			var off int64
			if err := tx.QueryRow(p.Context(), `SELECT username, display_name, disabled_reason, disabled FROM users WHERE id = $1`, u.ID).Scan(&name, &display, &reason, &off); err != nil {
				return err
			}
			if name != u.ID || display != u.ID || reason != "" || off == 0 {
				p.Errorf("left: %q %q %q %d", name, display, reason, off)
			}
			if teams, err := db.Texts(p.Context(), tx, `SELECT team FROM team_members WHERE username = 'jane'`); err != nil || len(teams) != 0 {
				p.Errorf("who gets the name next is in %v (%v)", teams, err)
			}
			// The log keeps what it had; what is added to it tells the id alone.
			rows, err := db.Texts(p.Context(), tx, `SELECT id || ' ' || action || ' ' || details FROM audit_events`)
			if err != nil {
				return err
			}
			told := 0
			for _, row := range rows {
				id, rest, _ := strings.Cut(row, " ")
				if slices.Contains(before, id) {
					continue
				}
				told++
				if strings.Contains(strings.ToLower(rest), "jane") {
					p.Errorf("the log is told the name once more: %s", rest)
				}
			}
			if told == 0 {
				p.Error("the log is told nothing")
			}
			return errUndo
		})
		if !errors.Is(err, errUndo) {
			p.Fatal(err)
		}
	})
}

// The person is given what is held, and no secret; and so it is in the log.
func TestExportGivesEverythingButSecrets(t *testing.T) {
	ports(t, func(p *port) {
		u := p.jane()
		err := p.d.Write(p.Context(), func(tx db.WriteTx) error {
			if err := fill(p.T, tx, p.d.Engine(), u.ID); err != nil {
				return err
			}
			if _, err := tx.Exec(p.Context(), `UPDATE people SET language = 'de' WHERE user_id = $1`, u.ID); err != nil {
				return err
			}
			own := admin
			own.ID, own.Admin = u.ID, false
			held, err := p.s.Export(p.Context(), tx, own, u.ID)
			if err != nil {
				return err
			}
			given := map[string][]transfer.Record{}
			for _, s := range held.Sections {
				given[s.Name] = s.Records
			}
			for table, columns := range transfer.Shown() {
				if columns != "" && len(given[table]) != 1 {
					p.Errorf("of %s %d records are given", table, len(given[table]))
				}
				if columns == "" && given[table] != nil {
					p.Errorf("%s is given", table)
				}
			}
			if r := given["people"][0]; r["email"] != "jane@example.org" || r["phone"] != "+41 1" || r["language"] != "de" {
				p.Errorf("%v", r)
			}
			if r := given["approvals"][0]; r["since"] == "" || r["used"] == "" {
				p.Errorf("%v", r)
			}
			if r := given["sessions"][0]; r["auth_time"] != "1970-01-01T00:00:00Z" || r["ip"] != "secret-ip" || r["verifier"] != "" {
				p.Errorf("%v", r)
			}
			if r := given["users"][0]; r["admin"] != "false" || r["disabled"] != "" || given["passkeys"][0]["backed_up"] != "true" || given["group_members"][0]["name"] != "gold" || given["team_members"][0]["team"] != "shop" {
				p.Errorf("%v", given)
			}
			if len(given["audit_events"]) == 0 || given["audit_events"][0]["action"] != "user.create" || given["audit_events"][0]["by"] != "somebody else" {
				p.Errorf("%v", given["audit_events"])
			}
			for _, s := range held.Sections {
				for _, r := range s.Records {
					for name := range r {
						if slices.Contains([]string{"verifier", "mac", "box", "code_mac", "token_mac", "public_key", "proof", "digest", "nonce"}, name) {
							p.Errorf("%s gives %s", s.Name, name)
						}
					}
				}
			}
			if n, err := db.Texts(p.Context(), tx, `SELECT id FROM audit_events WHERE action = 'user.export'`); err != nil || len(n) != 1 {
				p.Errorf("the log tells of %d (%v)", len(n), err)
			}
			for _, other := range []string{"usr_other", ""} {
				who := own
				who.ID = other
				if _, err := p.s.Export(p.Context(), tx, who, u.ID); !fault.Is(err, fault.Forbidden) {
					p.Errorf("somebody else: %v", err)
				}
			}
			who := own
			who.ClientID = "cli_1"
			if _, err := p.s.Export(p.Context(), tx, who, u.ID); !fault.Is(err, fault.Forbidden) {
				p.Errorf("a client of the person: %v", err)
			}
			return errUndo
		})
		if !errors.Is(err, errUndo) {
			p.Fatal(err)
		}
	})
}

func TestExportAndEraseEndpoints(t *testing.T) {
	ports(t, func(p *port) {
		u := p.jane()
		at := "/api/users/" + u.ID
		for _, end := range [][2]string{{"/export", ""}, {"/erase", `{"confirm":"jane"}`}} {
			p.call(403, "POST", at+end[0], "jane", end[1], nil)
			p.call(401, "POST", at+end[0], "", end[1], nil)
			p.call(404, "POST", "/api/users/usr_no"+end[0], "admin", end[1], nil)
		}
		var held api.UserExport
		if p.call(200, "POST", at+"/export", "admin", "", &held); held.UserID != u.ID || len(held.Sections) < 3 {
			p.Errorf("%+v", held)
		}
		p.call(400, "POST", at+"/erase", "admin", `{"confirm":"joe"}`, nil)
		p.call(204, "POST", at+"/erase", "admin", `{"confirm":"jane"}`, nil)
		// The name is free, and means somebody else.
		if next := p.jane(); next.ID == u.ID {
			p.Error("the id came back")
		}
	})
}
