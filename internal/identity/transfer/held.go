package transfer

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

// held is what one table holds of a person. The list below crosses the borders of packages on purpose: that nothing is
// forgotten is worth more here, and held_test.go compares it with the schema.
type held struct {
	table string
	key   string // the column that names the person; "": user_id
	// shown are the columns that the person is given, with ":time" or ":bool" behind those that are such; empty: none.
	shown string
	// hidden are the other columns, of which the person is given nothing: they are secrets, tell of others, name rows of
	// ours, or follow from what is given. A column that stands in neither list fails a test, so none is forgotten.
	hidden string
	// query reads the columns of shown where the table alone does not tell; $1 is the person.
	query string
	// kept says why rows stay when the person is erased. They name the person by id, which is nobody's name then. Empty:
	// the rows go.
	kept string
}

var tables = []held{
	{table: "users", key: "id", shown: "id realm username display_name admin:bool created:time enabled_since:time disabled:time disabled_reason", hidden: "application created_by", kept: "the id must never come to mean somebody else; the name goes"},
	{table: "people", shown: "email email_verified:time phone address language", hidden: "realm email_key"},
	{table: "mail_languages", shown: "language"},
	{table: "person_external_ids", shown: "external_id", hidden: "realm"},
	{table: "person_entries", shown: "entry seen:time", hidden: "realm digest mark disabled"},
	{table: "linked_identities", shown: "provider_id subject label created:time last_used:time", hidden: "id"},
	{table: "upstream_logins", hidden: "id state browser provider_id kind session_id return_to two again begun expires answered box used"},
	{table: "person_keys", hidden: "key realm"},
	{table: "person_passwords", shown: "changed:time", hidden: "version box"},
	{table: "group_members", shown: "name added:time", hidden: "group_id added_by", query: `FROM (SELECT g.name, m.added FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.user_id = $1) h`},
	{table: "group_sources", shown: "group_id source"},
	{table: "person_attributes", shown: "name value source"},
	{table: "user_roles", shown: "client_id role_id created:time", hidden: "id created_by"},
	{table: "sessions", shown: "id amr auth_time:time last_seen:time expires:time ip user_agent", hidden: "verifier device_id"},
	{table: "known_devices", shown: "id created:time last_used:time ip user_agent", hidden: "verifier"},
	{table: "totp_factors", shown: "id created:time last_used:time", hidden: "box last_step"},
	{table: "totp_enrolments", hidden: "bound box expires"},
	{table: "recovery_codes", shown: "created:time used:time", hidden: "mac"},
	{table: "passkeys", shown: "id name created:time last_used:time transports backed_up:bool", hidden: "credential_id public_key sign_count aaguid backup_eligible"},
	{table: "passkey_challenges", hidden: "mac browser purpose expires used"},
	{table: "login_steps", hidden: "mac kind amr proof enabled_since return_to expires used upstream"},
	{table: "login_attempts", shown: "failures last:time", hidden: "account total not_before"},
	{table: "factor_attempts", shown: "tries day_tries", hidden: "account began day_began"},
	{table: "access_keys", shown: "id label created:time expires:time last_used:time disabled:time", hidden: "verifier created_by"},
	{table: "account_links", key: "account", shown: "purpose created:time expires:time used:time", hidden: "mac proof box mailed address own network"},
	{table: "approvals", shown: "client_id scopes since:time granted:time used:time", hidden: "id"},
	{table: "grants", shown: "id client_id scopes resources claims offline:bool began_by created:time auth_time:time live_until:time ended:time ended_by", hidden: "realm session_id front redirect_uri challenge nonce amr acr code_mac code_used generation token_mac successor_box rotated retries idle_until", kept: "tokens are refused by it until they would be dead anyway; then it goes"},
	{table: "logout_notices", shown: "client_id created:time", hidden: "id session_id due expires attempts", kept: "clients are still to be told that the sessions have ended"},
	{table: "clients", key: "owner_user", shown: "id created:time", hidden: "application owner_team untrusted confidential created_by expires enabled_since disabled", kept: "it is refused with its owner, and an administrator decides what becomes of it"},
	{table: "typed_clients", key: "owner", shown: "client_id", hidden: "type_id settings priv_settings", kept: "it is refused with its owner"},
	{table: "mithril_users", shown: "settings priv_settings block_reason"},
	{table: "mithril_tokens", shown: "id name client_id grant_type scopes created:time expires:time", hidden: "mac prefix grant_id redirect_uri superseded revoked"},
	{table: "service_passwords", hidden: "version state verifier prepared activated retired last_used", kept: "only service users have them"},
}

// column is the query's form of a column, as text, and how that text is meant.
func column(spec string) (name, kind, sql string) {
	name, kind, _ = strings.Cut(spec, ":")
	if kind == "bool" {
		return name, kind, `CASE WHEN ` + name + ` THEN 'true' ELSE 'false' END`
	}
	return name, kind, `CAST(` + name + ` AS TEXT)`
}

// Record is one thing that is held of a person: what, by name. Times are as RFC 3339 has them.
type Record map[string]string

// read answers what the person is given of the table.
func (h held) read(ctx context.Context, tx db.ReadTx, userID string) ([]Record, error) {
	var names, kinds, columns []string
	for spec := range strings.FieldsSeq(h.shown) {
		name, kind, sql := column(spec)
		names, kinds, columns = append(names, name), append(kinds, kind), append(columns, sql)
	}
	if len(names) == 0 {
		return nil, nil
	}
	from := h.query
	if from == "" {
		from = `FROM ` + h.table + ` WHERE ` + h.by() + ` = $1`
	}
	rows, err := tx.Query(ctx, `SELECT `+strings.Join(columns, ", ")+` `+from+` LIMIT `+strconv.Itoa(maxRecords), userID)
	if err != nil {
		return nil, fmt.Errorf("read what %s holds of a person: %w", h.table, err)
	}
	defer rows.Close()
	list := []Record{}
	for rows.Next() {
		values := make([]string, len(names))
		dest := make([]any, len(names))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return nil, fmt.Errorf("read what %s holds of a person: %w", h.table, err)
		}
		record := Record{}
		for i, value := range values {
			if kinds[i] == "time" {
				value = instant(value)
			}
			if value != "" {
				record[names[i]] = value
			}
		}
		list = append(list, record)
	}
	return list, rows.Err()
}

func (h held) by() string {
	if h.key == "" {
		return "user_id"
	}
	return h.key
}

// instant is a stored time for people; "" for never.
func instant(micros string) string {
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || n == 0 {
		return ""
	}
	return db.Time(n).Format(time.RFC3339)
}

// forget removes what is held of a person who is removed (identity.OnPersonRemoved), however that came about.
func forget(ctx context.Context, tx db.WriteTx, u identity.User) error {
	for _, h := range tables {
		if h.kept != "" {
			continue
		}
		if _, err := tx.Exec(ctx, `DELETE FROM `+h.table+` WHERE `+h.by()+` = $1`, u.ID); err != nil {
			return fmt.Errorf("forget what %s holds of a person: %w", h.table, err)
		}
	}
	// Nobody who read a team before may store the name again unseen: it has another revision.
	if _, err := tx.Exec(ctx, `UPDATE teams SET revision = revision + 1 WHERE id IN (SELECT team FROM team_members WHERE realm = $1 AND username = $2)`, u.Realm, u.Username); err != nil {
		return fmt.Errorf("take a person out of the teams: %w", err)
	}
	// By name, which somebody else may have from now on: who must not be in the team.
	if _, err := tx.Exec(ctx, `DELETE FROM team_members WHERE realm = $1 AND username = $2`, u.Realm, u.Username); err != nil {
		return fmt.Errorf("take a person out of the teams: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `UPDATE users SET disabled_reason = '' WHERE id = $1`, u.ID)); err != nil {
		return fmt.Errorf("forget why a person was refused: %w", err)
	}
	return nil
}
