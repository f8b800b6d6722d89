package api

import "time"

// Destination is a bucket that an application's credentials are written to.
type Destination struct {
	Store   string    `json:"store" doc:"The name of a configured store; local is the embedded one." example:"local"`
	Bucket  string    `json:"bucket" example:"shop-mint"`
	Added   time.Time `json:"added"`
	AddedBy string    `json:"added_by"`
}

// Destinations are all destinations of one application, by store and bucket.
type Destinations struct {
	Items []Destination `json:"items"`
}

// Rotation is the state of an application's credentials. It holds no secret.
type Rotation struct {
	Application string               `json:"application"`
	Active      bool                 `json:"active" doc:"False: the application was deactivated, and nothing of it is accepted."`
	HasProblems bool                 `json:"has_problems"`
	Problems    []string             `json:"problems" doc:"What is wrong and what to do, for people. Trouble with a destination names it."`
	Credentials []RotatingCredential `json:"credentials" doc:"One per kind."`
}

// RotatingCredential is one kind of credential of an application.
type RotatingCredential struct {
	Kind       string              `json:"kind" example:"service-password"`
	Object     string              `json:"object" doc:"The name of its document below the application's prefix." example:"user.json"`
	State      string              `json:"state" enum:"stop,wait,prepare,publish,commit,retire,renew" doc:"The next step, or wait. stop: the application is not active."`
	Waiting    string              `json:"waiting" doc:"What it waits for, for people."`
	NextLook   *time.Time          `json:"next_look,omitempty" doc:"When time alone can change what it waits for."`
	NextDue    *time.Time          `json:"next_due,omitempty" doc:"When the next version is due if nobody asks earlier."`
	Asked      *time.Time          `json:"asked,omitempty" doc:"A rotation was asked for and has not begun."`
	AskedBy    string              `json:"asked_by,omitempty"`
	AskedFor   string              `json:"asked_for,omitempty" doc:"Such as asked, destination, late-delivery, unseen."`
	Problem    string              `json:"problem,omitempty" doc:"What keeps it from its next step."`
	Since      *time.Time          `json:"problem_since,omitempty"`
	Failures   int64               `json:"failures" doc:"How often its next step failed in a row."`
	Versions   []CredentialVersion `json:"versions" doc:"Newest first."`
	Deliveries []Delivery          `json:"deliveries" doc:"By store and bucket."`
}

// CredentialVersion is one version of a credential and its life.
type CredentialVersion struct {
	Version  int64      `json:"version"`
	State    string     `json:"state" enum:"prepared,active,retiring,retired" doc:"prepared: accepted, and on its way to the destinations. active: the one to use. retiring: still accepted. retired: refused."`
	Reason   string     `json:"reason" doc:"Why it was made: due, asked, changed, destination, late-delivery, unseen."`
	Prepared time.Time  `json:"prepared"`
	Active   *time.Time `json:"activated,omitempty" doc:"Every destination shows it since."`
	Retiring *time.Time `json:"retiring,omitempty" doc:"Its successor is active since."`
	Retired  *time.Time `json:"retired,omitempty" doc:"Refused since."`
	Forced   bool       `json:"forced" doc:"It was retired at the hard limit and not by evidence."`
	LastUsed *time.Time `json:"last_used,omitempty"`
	Waiting  string     `json:"waiting,omitempty" doc:"Of a retiring version: why it is still accepted."`
	Until    *time.Time `json:"until,omitempty" doc:"Of a retiring version: when it retires in any case."`
}

// Delivery is what one destination shows of a credential.
type Delivery struct {
	Store     string     `json:"store"`
	Bucket    string     `json:"bucket"`
	Version   int64      `json:"version" doc:"0: none yet."`
	Delivered *time.Time `json:"delivered,omitempty"`
	Failures  int64      `json:"failures" doc:"In a row."`
	Since     *time.Time `json:"failing_since,omitempty"`
	Code      string     `json:"error_code,omitempty" doc:"timeout, forbidden, no_bucket, refused, unavailable or failed."`
	Error     string     `json:"error,omitempty" doc:"What went wrong and what to do, for people."`
	NextTry   *time.Time `json:"next_try,omitempty"`
}

// AskRotation asks for a rotation now.
type AskRotation struct {
	Kinds []string `json:"kinds,omitempty" maxItems:"16" doc:"Such as service-password and client-secret; absent or empty: all."`
}
