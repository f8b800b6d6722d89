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

// RotateSigningKey says which key to replace. Empty: the one that signs access tokens, in due course.
type RotateSigningKey struct {
	Algorithm string `json:"algorithm,omitempty" maxLength:"16" example:"RS256" doc:"Of the key to replace. Default: the algorithm that signs access tokens."`
	Emergency bool   `json:"emergency,omitempty" doc:"The private half may be known to others: withdraw all keys of the algorithm at once, with every token that they signed, and sign with a new one."`
}

// SigningKeys are the keys, newest first.
type SigningKeys struct {
	Items []SigningKey `json:"items"`
}
