package api

import "time"

// AuditEvent is one record of the audit log: who did what to what, and how it ended.
type AuditEvent struct {
	Seq        int64          `json:"seq" doc:"Its place in the log: from 1 on, without a gap"`
	ID         string         `json:"id"`
	At         time.Time      `json:"at" doc:"When the change's transaction began, by the database's clock"`
	Action     string         `json:"action" doc:"noun.verb, such as application.change"`
	Outcome    string         `json:"outcome" enum:"success,denied,failed"`
	Reason     string         `json:"reason,omitempty" doc:"A stable code, such as forbidden"`
	Actor      AuditActor     `json:"actor"`
	ClientID   string         `json:"client_id,omitempty" doc:"The OAuth client that the actor's token was made for"`
	IP         string         `json:"ip,omitempty"`
	RequestID  string         `json:"request_id,omitempty"`
	TargetType string         `json:"target_type,omitempty" doc:"Such as application"`
	TargetID   string         `json:"target_id,omitempty"`
	Details    map[string]any `json:"details,omitempty"`
}

// AuditActor is who did it.
type AuditActor struct {
	Kind  string `json:"kind" enum:"anonymous,person,service,system"`
	ID    string `json:"id,omitempty"`
	Name  string `json:"name,omitempty"`
	Realm string `json:"realm,omitempty"`
}

// AuditEvents is a page of the audit log.
type AuditEvents struct {
	Items      []AuditEvent `json:"items"`
	NextCursor string       `json:"next_cursor,omitempty" doc:"Pass it as cursor to get the next page. Absent on the last one."`
}

// AuditCheckpoint is a signed statement of how long the log was and what its root hash was. Keep it elsewhere: it proves
// later that nothing up to there was changed.
type AuditCheckpoint struct {
	Size int64     `json:"size" doc:"Records that it covers"`
	Root []byte    `json:"root" doc:"RFC 6962 hash of the tree over them"`
	Note string    `json:"note" doc:"The signed text, in the form of C2SP tlog-checkpoint"`
	At   time.Time `json:"at"`
	Keys []string  `json:"keys" doc:"The public keys that sign checkpoints, newest first, in the form that tools for signed notes read"`
}
