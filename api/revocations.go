package api

import "time"

// Revoke ends tokens, and what they come from, at once and on every node.
type Revoke struct {
	Kind string `json:"kind" enum:"token,grant,session,client,user,realm,claims,everything" doc:"What to end: one token, a grant with all of its tokens, a session, all that a client, a user or the people of a realm hold, tokens by their claims, or everything."`

	Token        string            `json:"token,omitempty" maxLength:"16384" doc:"For kind token: the access token itself."`
	ID           string            `json:"id,omitempty" maxLength:"128" doc:"For kinds grant, session, client and realm: its id or name. For kind user: the id of a person, or the username of a service user with its realm."`
	Realm        string            `json:"realm,omitempty" maxLength:"41" doc:"For kind user, of a service user: its realm."`
	Claims       map[string]string `json:"claims,omitempty" doc:"For kind claims: a token is meant if it carries all of them. Of azp, client_id, grant_id, jti, realm, sub."`
	IssuedBefore *time.Time        `json:"issued_before,omitempty" doc:"For kinds client, user, realm, claims and everything: only tokens that were issued before; grants and sessions stay. Default: now, and what the tokens come from ends as well."`
	Reason       string            `json:"reason" minLength:"1" maxLength:"200" doc:"Why, for the audit log."`
}

// Revoked tells what a revocation did.
type Revoked struct {
	Revocation *Revocation `json:"revocation,omitempty" doc:"Absent for kinds token, grant and session, which are told of by name."`
	Sessions   int         `json:"sessions" doc:"How many sessions ended."`
}

// Revocation covers tokens that were issued before an instant.
type Revocation struct {
	ID           string            `json:"id" example:"rvk_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	Kind         string            `json:"kind" example:"client"`
	Claims       map[string]string `json:"claims" doc:"A token is meant if it carries all of them. Empty: every token."`
	IssuedBefore time.Time         `json:"issued_before"`
	Revoked      time.Time         `json:"revoked"`
	RevokedBy    string            `json:"revoked_by"`
	Reason       string            `json:"reason"`
}

// Revocations is a page of revocations that still count, newest first.
type Revocations struct {
	Items      []Revocation `json:"items"`
	NextCursor string       `json:"next_cursor,omitempty" doc:"Pass it as cursor to read on; absent on the last page."`
}

// RefreshRevocations tells verifiers to read the feed again.
type RefreshRevocations struct {
	From time.Time `json:"from" doc:"Verifiers forget what they read since then, and read it again."`
}

// RevocationRule lets callers besides administrators revoke through /oauth2/revocations.
type RevocationRule struct {
	ID        string            `json:"id" example:"rul_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	Required  map[string]string `json:"required_user_claims" doc:"The caller's token must carry all of them."`
	Allowed   map[string]string `json:"allowed_revocation_claims" doc:"Tokens may be revoked that carry all of them: the claims of the request, or of the token, must include them."`
	Created   time.Time         `json:"created"`
	CreatedBy string            `json:"created_by"`
}

// RevocationRules are all of them.
type RevocationRules struct {
	Items []RevocationRule `json:"items"`
}

// CreateRevocationRule makes a rule.
type CreateRevocationRule struct {
	Required map[string]string `json:"required_user_claims"`
	Allowed  map[string]string `json:"allowed_revocation_claims"`
}
