package api

import "time"

// Factor is something that a person signs in with besides a password.
type Factor struct {
	ID       string     `json:"id" example:"fac_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	Kind     string     `json:"kind" enum:"passkey,totp" doc:"totp is an authenticator app."`
	Name     string     `json:"name,omitempty" example:"My laptop" doc:"What its owner calls a passkey."`
	Synced   bool       `json:"synced,omitempty" doc:"The passkey may be on several devices."`
	Created  time.Time  `json:"created"`
	LastUsed *time.Time `json:"last_used,omitempty"`
}

// Factors are all that a person has.
type Factors struct {
	Items         []Factor `json:"items"`
	RecoveryCodes int      `json:"recovery_codes" doc:"How many are left."`
	Required      bool     `json:"required" doc:"Whether the person must have one, by its realm or as an administrator."`
}
