package api

import "time"

// Bucket is a bucket of the embedded S3 endpoint.
type Bucket struct {
	Name      string    `json:"name"`
	TeamID    string    `json:"team_id" doc:"The team that owns it: only its applications get access keys for it."`
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
}

// PutBucket is the whole content of a bucket's record.
type PutBucket struct {
	TeamID string `json:"team_id" minLength:"1" maxLength:"100" doc:"Cannot be changed later."`
}

// Buckets is a page of buckets, by name.
type Buckets struct {
	Items      []Bucket `json:"items"`
	NextCursor string   `json:"next_cursor,omitempty" doc:"Pass it as cursor to get the next page. Absent on the last one."`
}

// IssueStorageKey asks for an access key with which an application's agent fetches its credentials.
type IssueStorageKey struct {
	Bucket string `json:"bucket" minLength:"3" maxLength:"63" doc:"A bucket of the embedded S3 endpoint, owned by the application's team."`
}

// StorageKey is an access key of the embedded S3 endpoint, without its secret.
type StorageKey struct {
	ID          string     `json:"id" doc:"The access key id." example:"MMABCDEFGHIJKLMNOPQR"`
	Application string     `json:"application"`
	Bucket      string     `json:"bucket"`
	Prefix      string     `json:"prefix" doc:"The key may read what lies below it, and nothing else." example:"sales-orders/"`
	Created     time.Time  `json:"created"`
	CreatedBy   string     `json:"created_by"`
	Disabled    *time.Time `json:"disabled,omitempty"`
	LastUsed    *time.Time `json:"last_used,omitempty" doc:"Up to half a minute late. Absent: never."`
}

// StorageKeys are the access keys of one application, oldest first.
type StorageKeys struct {
	Items []StorageKey `json:"items"`
}

// IssuedStorageKey is a new access key with its secret, which is shown this once.
type IssuedStorageKey struct {
	StorageKey
	SecretAccessKey string `json:"secret_access_key"`
}
