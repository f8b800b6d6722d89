// Package objstore writes and reads small objects, such as an application's user.json, in whatever keeps them: any S3
// API, a directory, or memory in tests.
//
// What it guards:
//   - Put is whole or not at all, and durable once it returns nil. When it returns an error the outcome is unknown: the
//     old object, or the new one, never a mixture. So a caller must be happy with either, and repeat.
//   - No error text holds a secret, a URL or an answer's body: Error says what failed and what to do, and may be shown
//     to the owner of an application.
//   - A bucket or a key can never lead out of its store.
//
// Stored form: the object's bytes and nothing else, under <bucket>/<key>. A directory store keeps them in
// <root>/<bucket>/<key>, mode 0600.
package objstore

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxObject is the size of the largest object, in bytes. Get refuses a larger one rather than fill the memory with it.
const MaxObject = 16 << 20

// MaxKey is the length of the longest key, in bytes, as in S3.
const MaxKey = 1024

// Store keeps objects. All methods are safe for concurrent use, obey the context, and return a *Error (or nil).
type Store interface {
	// Put writes the object, over an earlier one if there is one, and returns its entity tag in quotes. It returns nil
	// only once the object is durable and visible to every Get that begins later. Two Puts of one key at once leave one
	// of the two objects, whole. With IfMatch or IfNoneMatch the write happens only if the condition holds, else
	// ErrPrecondition. ErrNoBucket if the bucket is not there: no store makes buckets.
	Put(ctx context.Context, bucket, key string, body []byte, o PutOptions) (etag string, err error)

	// Get reads the whole object. With ifNoneMatch, the tag of what the caller has, it returns ErrNotModified if the
	// object is still the same. ErrNotFound if there is no such object.
	Get(ctx context.Context, bucket, key, ifNoneMatch string) (Object, error)

	// Delete removes the object. To delete what is not there is no error.
	Delete(ctx context.Context, bucket, key string) error

	// List names the objects whose keys begin with the prefix, in byte order.
	List(ctx context.Context, bucket, prefix string, o ListOptions) (Page, error)
}

// PutOptions says how to write. The zero value is ready to use.
type PutOptions struct {
	ContentType string // default application/json; a store may forget it
	IfMatch     string // write only over the object with this tag
	IfNoneMatch string // "*": write only if there is no object; nothing else is allowed
}

// Object is what Get read.
type Object struct {
	Body        []byte
	ETag        string // in quotes; equal tags of one key mean equal bytes
	ContentType string // empty if the store does not keep it
	Modified    time.Time
}

// ListOptions says which part of a list is wanted. The zero value is ready to use.
type ListOptions struct {
	After string // only keys behind this one
	Limit int    // at most so many; default and maximum 1000
}

// Page is a part of a list.
type Page struct {
	Entries []Entry
	More    bool // there are more keys behind the last
}

// Entry is one object of a list.
type Entry struct {
	Key      string
	Size     int64
	ETag     string
	Modified time.Time
}

// What can go wrong, for errors.Is. A caller may repeat after ErrUnavailable soon; after ErrForbidden, ErrNoBucket and
// ErrInvalid somebody must change something first.
var (
	ErrNotFound     = errors.New("objstore: no such object")
	ErrNotModified  = errors.New("objstore: not modified")
	ErrPrecondition = errors.New("objstore: the object is not the expected one")
	ErrForbidden    = errors.New("objstore: access denied")
	ErrNoBucket     = errors.New("objstore: no such bucket")
	ErrUnavailable  = errors.New("objstore: storage unavailable")
	ErrInvalid      = errors.New("objstore: request refused as invalid")
)

// Error is a failure of a store.
type Error struct {
	Op     string // put, get, delete, list
	Bucket string
	Key    string // or the prefix of a list
	Kind   error  // one of the errors above
	Text   string // for people: what happened and what to do, without anything secret
	Code   string // the service's own code, such as SlowDown, if it gave one
	Err    error  // the cause. For errors.Is only: its text may hold URLs, so Error does not show it
}

// Error is safe to show and to store.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("objstore: " + e.Op + " " + e.Key + " in bucket " + e.Bucket + ": " + e.Text)
	if e.Code != "" {
		b.WriteString(" (" + e.Code + ")")
	}
	return b.String()
}

// Unwrap makes errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Text is what a person may read of err: what happened and what to do. It never holds anything secret, whatever err is.
func Text(err error) string {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Text
	}
	return "The storage failed in a way that was not expected; the server's log has the cause."
}

// texts are what people read when nothing more is known than the kind.
var texts = map[error]string{
	ErrNotFound:     "There is no such object.",
	ErrNotModified:  "The object has not changed.",
	ErrPrecondition: "Somebody else changed the object meanwhile.",
	ErrForbidden:    "Access denied. Let the access key do this on the bucket: s3:PutObject to write, s3:GetObject to read.",
	ErrNoBucket:     "There is no such bucket. Create it, or correct its name.",
	ErrUnavailable:  "The storage does not answer, or says that it cannot just now. It is tried again.",
	ErrInvalid:      "The storage refused the request as invalid. Check endpoint, region and access key of the store.",
}

func failure(op, bucket, key string, kind, cause error) *Error {
	return &Error{Op: op, Bucket: bucket, Key: key, Kind: kind, Text: texts[kind], Err: cause}
}

var bucketGrammar = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// ValidBucket tells whether the text can name a bucket: 3 to 63 lower-case letters, digits, dots and hyphens.
func ValidBucket(name string) bool {
	return bucketGrammar.MatchString(name) && !strings.Contains(name, "..")
}

// ValidKey tells whether the text can name an object here: UTF-8 of at most MaxKey bytes without control characters,
// whose segments between slashes are neither empty nor dots alone. S3 allows more; what we write needs no more, and
// every store, directories too, can keep it.
func ValidKey(key string) bool {
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) {
		return false
	}
	for _, r := range key {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.HasPrefix(segment, temporary) || len(segment) > 255 {
			return false
		}
	}
	return true
}

// check is what every store asks before it acts.
func check(ctx context.Context, op, bucket, key string, o PutOptions, size int) *Error {
	fail := func(text string) *Error {
		return &Error{Op: op, Bucket: bucket, Key: key, Kind: ErrInvalid, Text: text}
	}
	switch {
	case !ValidBucket(bucket):
		return fail("This cannot be the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens.")
	case op == "list" && key != "" && !ValidKey(strings.TrimSuffix(key, "/")):
		return fail("This cannot be the beginning of a key.")
	case op != "list" && !ValidKey(key):
		return fail("This cannot be the key of an object.")
	case size > MaxObject:
		return fail("The object is larger than 16 MiB.")
	case o.IfNoneMatch != "" && (o.IfNoneMatch != "*" || o.IfMatch != ""):
		return fail("If-None-Match can only be *, and not stand beside If-Match.")
	case ctx.Err() != nil:
		return failure(op, bucket, key, ErrUnavailable, ctx.Err())
	}
	return nil
}

func (o ListOptions) limit() int {
	if o.Limit <= 0 || o.Limit > 1000 {
		return 1000
	}
	return o.Limit
}
