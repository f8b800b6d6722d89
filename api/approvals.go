package api

import "time"

// Approval is what a person has allowed an application's client to do.
type Approval struct {
	ClientID    string    `json:"client_id"`
	Application string    `json:"application" example:"my-shop"`
	Scopes      []string  `json:"scopes"`
	Granted     time.Time `json:"granted" doc:"When the person last allowed something."`
	Since       time.Time `json:"since" doc:"When the person first allowed something."`
	// LastUsed is when the client last signed the person in or refreshed, as far as is known; nil: it never did.
	LastUsed *time.Time `json:"last_used,omitempty" doc:"When the client last signed the person in or refreshed."`
	Asked    bool       `json:"asked" doc:"Whether the person was asked. A client of the organisation itself may act without."`
}

// Approvals are all that a person has allowed, by application.
type Approvals struct {
	Items []Approval `json:"items"`
}
