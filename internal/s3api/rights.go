package s3api

import (
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/redact"
)

// Action is what a rule can allow.
type Action string

// The actions. Get covers HeadObject.
const (
	Get    Action = "get"
	Put    Action = "put"
	List   Action = "list"
	Delete Action = "delete"
)

// Rule allows some actions on some objects.
type Rule struct {
	Actions []Action `json:"actions"`
	Bucket  string   `json:"bucket"`           // a bucket's name, or * for every one
	Prefix  string   `json:"prefix,omitempty"` // of the object's key; of the prefix that a list asks for
	// Names, if there are any, narrow the rule to keys of the form <segment>/<name>, with one of these names.
	Names []string `json:"names,omitempty"`
}

// Rules are what a key may do. What no rule allows is denied.
type Rules []Rule

// Names under which the mint writes below an application's prefix, and nothing else.
var mintNames = []string{"client.json", "test-mint-write", "user.json"}

// MintRules let a key write credentials into every bucket. It cannot read, list or delete: whoever steals it cannot take
// a credential, and cannot reach what else lies in a bucket.
func MintRules() Rules {
	return Rules{{Actions: []Action{Put}, Bucket: "*", Names: mintNames}}
}

// ApplicationRules let a key read what lies below an application's own prefix of one bucket. An object that is not there
// is answered with NoSuchKey, although the key may not list: everything below the prefix is the application's to read,
// so the answer tells it nothing that it may not know, and an agent can tell "not delivered yet" from "not allowed". AWS
// answers AccessDenied to both, which has cost people days.
func ApplicationRules(application, bucket string) Rules {
	return Rules{{Actions: []Action{Get}, Bucket: bucket, Prefix: application + "/"}}
}

func (r Rule) covers(bucket string) bool { return r.Bucket == "*" || r.Bucket == bucket }

func (r Rule) allows(a Action, bucket, key string) bool {
	if !r.covers(bucket) || !slices.Contains(r.Actions, a) || !strings.HasPrefix(key, r.Prefix) {
		return false
	}
	if len(r.Names) == 0 {
		return true
	}
	segment, name, _ := strings.Cut(key, "/")
	return segment != "" && slices.Contains(r.Names, name)
}

func (rs Rules) allow(a Action, bucket, key string) bool {
	return slices.ContainsFunc(rs, func(r Rule) bool { return r.allows(a, bucket, key) })
}

// touch tells whether the rules allow anything in the bucket, so that its existence is no secret to the key.
func (rs Rules) touch(bucket string) bool {
	return slices.ContainsFunc(rs, func(r Rule) bool { return r.covers(bucket) && len(r.Actions) > 0 })
}

// see tells whether the bucket appears in the key's list of buckets: whether it may read or list anything there.
func (rs Rules) see(bucket string) bool {
	return slices.ContainsFunc(rs, func(r Rule) bool {
		return r.covers(bucket) && (slices.Contains(r.Actions, Get) || slices.Contains(r.Actions, List))
	})
}

// Key is an access key.
type Key struct {
	ID          string // MM and 18 characters of base32
	Owner       string // for people: whom it was made for
	Application string // empty unless it belongs to an application's agent
	Bucket      string // of an application's key
	Rules       Rules
	Created     time.Time
	CreatedBy   string
	Expires     time.Time // zero: never
	Disabled    time.Time // zero: it is not
	LastUsed    time.Time // zero: never; up to half a minute late

	secret redact.Secret
}

func (k Key) inForce(now time.Time) bool {
	return k.Disabled.IsZero() && (k.Expires.IsZero() || now.Before(k.Expires))
}

// validKeyID tells whether the text has the form of an access key id, so that nonsense does not reach the database.
func validKeyID(id string) bool {
	if len(id) != 20 || !strings.HasPrefix(id, "MM") {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}
