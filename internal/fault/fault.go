// Package fault names what went wrong in words that the whole program shares.
//
// Inside, an error is a *Error with a Kind (what the caller can do about it), a stable Code (what a client program can
// branch on) and a Detail (what a person may read). Outside, package route turns it into one RFC 9457 document, and
// package oauth into an RFC 6749 error; nothing else maps errors to answers. An error without a Kind is Internal: its
// text goes to the log and never to a client.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind is what the caller can do about the failure.
type Kind int

// The kinds. The zero Kind is Internal, so that what nobody classified says nothing.
const (
	Internal           Kind = iota // our bug or a broken disk: 500
	Invalid                        // the request cannot be right: 400
	Unauthenticated                // who are you: 401
	Forbidden                      // you may not: 403
	NotFound                       // no such thing, or not for you: 404
	Conflict                       // it exists, or it is in use: 409
	PreconditionFailed             // it changed since you read it: 412
	TooLarge                       // 413
	UnsupportedMedia               // 415
	Limited                        // too often: 429 with RetryAfter
	Unavailable                    // we cannot just now: 503 with RetryAfter
)

// Error is a failure with its kind. Detail and Fields are shown to the caller and must hold nothing secret; Err is for
// the log alone.
type Error struct {
	Kind       Kind
	Code       string // snake_case, stable: part of the API
	Detail     string
	Fields     []Field
	RetryAfter time.Duration
	Err        error
}

// Field points at one wrong part of a request.
type Field struct {
	Location string // such as "body.team" or "path.id"
	Message  string
}

// New makes an Error. format and args are shown to the caller.
func New(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error with a cause for the log.
func Wrap(err error, kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Detail: fmt.Sprintf(format, args...), Err: err}
}

// InvalidAt makes an Error about one wrong part of a request.
func InvalidAt(location, code, format string, args ...any) *Error {
	e := New(Invalid, code, format, args...)
	return e.At(location, e.Detail)
}

// At adds a field to e and returns e.
func (e *Error) At(location, message string) *Error {
	e.Fields = append(e.Fields, Field{location, message})
	return e
}

// Retry sets after how long the caller may try again and returns e.
func (e *Error) Retry(after time.Duration) *Error {
	e.RetryAfter = after
	return e
}

// Error is the text for the log.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Detail + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.Detail
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Of is the outermost *Error in err, or one of kind Internal that shows nothing.
func Of(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Code: "internal", Detail: "Something went wrong on our side.", Err: err}
}

// Is tells whether err is of this kind. A nil error is of none.
func Is(err error, kind Kind) bool { return err != nil && Of(err).Kind == kind }

// Code is the stable code of err, or "" for nil.
func Code(err error) string {
	if err == nil {
		return ""
	}
	return Of(err).Code
}
