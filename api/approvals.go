package api

import "time"

// Approval is what a person has allowed an application's client to do.
type Approval struct {
	ClientID    string    `json:"client_id"`
	Application string    `json:"application" example:"my-shop"`
	Scopes      []string  `json:"scopes"`
	Granted     time.Time `json:"granted" doc:"When the person last allowed something."`
}

// Approvals are all that a person has allowed, by application.
type Approvals struct {
	Items []Approval `json:"items"`
}
