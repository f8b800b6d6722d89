package api

import "time"

// SigningKey is one key pair that signs tokens; its private half is never shown.
type SigningKey struct {
	Kid        string     `json:"kid" doc:"RFC 7638 thumbprint of the public key"`
	Alg        string     `json:"alg" example:"ES256"`
	State      string     `json:"state" enum:"prepared,active,retiring,retired,destroyed" doc:"prepared: published, signs nothing yet. active: signs. retiring: published until the last token that it signed has expired."`
	Created    time.Time  `json:"created" doc:"Published since"`
	ActivateAt time.Time  `json:"activate_at" doc:"Signs from then on, at the earliest"`
	Activated  *time.Time `json:"activated,omitempty"`
	Retiring   *time.Time `json:"retiring,omitempty" doc:"Since when its successor signs"`
	RetireAt   *time.Time `json:"retire_at,omitempty" doc:"Published until then"`
	Retired    *time.Time `json:"retired,omitempty"`
	Revoked    bool       `json:"revoked" doc:"It was withdrawn before its time: tokens that it signed are not valid"`
}

// SigningKeys are the keys, newest first.
type SigningKeys struct {
	Items []SigningKey `json:"items"`
}
