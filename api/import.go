package api

import "encoding/json"

// ImportUser is one person of an import, and one line of the file that mintmark user import reads. What is absent is not
// known of the person; while updating, it stays as it is.
type ImportUser struct {
	ExternalID    string   `json:"external_id,omitempty" doc:"What the other system calls the person. Read again, the file finds the person by it, whatever the name is by then."`
	Username      string   `json:"username,omitempty" example:"jane"`
	DisplayName   string   `json:"display_name,omitempty" example:"Jane Doe"`
	Email         string   `json:"email,omitempty" example:"jane@example.org"`
	EmailVerified bool     `json:"email_verified,omitempty" doc:"The other system knows that the person receives mail at the address."`
	Phone         string   `json:"phone,omitempty"`
	Address       string   `json:"address,omitempty"`
	PasswordHash  string   `json:"password_hash,omitempty" doc:"Argon2id, bcrypt, PBKDF2 or scrypt, as a PHC string (bcrypt in its own form). It is replaced by one of ours at the first login. For people who are there already it is not looked at further."`
	Groups        []string `json:"groups,omitempty" doc:"Names of groups of the realm, which must be there. People are put into them, and out of none."`

	Attributes map[string]json.RawMessage `json:"attributes,omitempty" doc:"Values of the realm's attributes by name, each of the type that is declared."`
	// AttributeTexts are what Attributes are to programs that know no types.
	AttributeTexts map[string]string `json:"attribute_texts,omitempty" doc:"Values as text, as a file of CSV has them: a number or true and false as they are written, the entries of a list with semicolons between them. None that is among attributes as well."`
}

// ImportUsers is a batch of an import: all rows that are not refused are stored together.
type ImportUsers struct {
	Realm    string       `json:"realm" maxLength:"41" example:"customers" doc:"A realm of people."`
	Existing string       `json:"existing,omitempty" enum:"skip,update" doc:"What to do with people who are there already: leave them alone (the default), or change them to what the rows say."`
	DryRun   bool         `json:"dry_run,omitempty" doc:"Tell what would be, and change nothing."`
	Rows     []ImportUser `json:"rows,omitempty" maxItems:"200"`
	CSV      string       `json:"csv,omitempty" doc:"In place of rows: up to 200 people as CSV (RFC 4180), with a header of their members' names, in which groups have semicolons between them and attribute.NAME is an attribute."`
}

// RefusedRow is a person of a batch who was not stored, and why.
type RefusedRow struct {
	Row    int    `json:"row" doc:"Its place in the batch, from 0 on."`
	Line   int    `json:"line,omitempty" doc:"Of csv, where it begins, from 1 on."`
	Field  string `json:"field,omitempty" example:"username"`
	Code   string `json:"code" example:"user_exists"`
	Reason string `json:"reason" doc:"In words. Nothing of the row is repeated."`
}

// ImportedUsers is what became of a batch.
type ImportedUsers struct {
	Created int          `json:"created"`
	Updated int          `json:"updated"`
	Skipped int          `json:"skipped" doc:"Were there already."`
	Refused []RefusedRow `json:"refused"`
}
