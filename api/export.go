package api

import "time"

// UserExport is all that is held of a person, but for secrets, which nobody is given.
type UserExport struct {
	UserID   string          `json:"user_id" example:"usr_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	At       time.Time       `json:"at"`
	Sections []ExportSection `json:"sections" doc:"By table. Of the audit log the newest 5000 events that the person made, and 5000 that others made of it."`
}

// ExportSection is what one table holds of a person.
type ExportSection struct {
	Name    string              `json:"name" example:"sessions"`
	Records []map[string]string `json:"records" doc:"What is empty is left out; times are as RFC 3339 has them."`
}

// EraseUser confirms that a person is to be erased.
type EraseUser struct {
	Confirm string `json:"confirm" maxLength:"400" example:"jane" doc:"The username once more."`
}
