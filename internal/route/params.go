package route

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/fault"
)

// Version is embedded in the output of an endpoint that reads or changes one thing: the thing's ETag.
type Version struct {
	ETag string `header:"ETag" doc:"Version of the thing; send it back in If-Match to change exactly this version"`
}

// AtVersion is the Version of a thing whose row counts its changes, beginning with 1.
func AtVersion(version int64) Version { return Version{ETag: ETag(version)} }

// ETag is the strong entity tag of a version.
func ETag(version int64) string { return `"v` + strconv.FormatInt(version, 10) + `"` }

// IfMatch is embedded in the input of an endpoint that changes one thing: the caller may say which version he means to
// change, or that he means to create.
type IfMatch struct {
	IfMatch     string `header:"If-Match" maxLength:"1024" doc:"Change only this version: the ETag that was read"`
	IfNoneMatch string `header:"If-None-Match" maxLength:"1024" doc:"Send * to create only"`
}

// Check compares what the caller said with the version there is; 0 means that the thing does not exist. It must be
// called in the transaction that makes the change.
func (p IfMatch) Check(version int64) error {
	if p.IfMatch != "" && !matches(p.IfMatch, version) {
		return fault.New(fault.PreconditionFailed, "precondition_failed", "It is not the version that you meant to change. Read it again, then decide.").
			At("header.If-Match", "does not match")
	}
	if p.IfNoneMatch != "" && matches(p.IfNoneMatch, version) {
		return fault.New(fault.PreconditionFailed, "precondition_failed", "It exists already.").
			At("header.If-None-Match", "matches")
	}
	return nil
}

// matches compares a list of entity tags strongly (RFC 9110, 13.1.1): a weak tag matches nothing.
func matches(list string, version int64) bool {
	if version == 0 {
		return false
	}
	want := ETag(version)
	for tag := range strings.SplitSeq(list, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == want {
			return true
		}
	}
	return false
}

// Page is embedded in the input of an endpoint that lists things.
type Page struct {
	Cursor string `query:"cursor" maxLength:"1024" doc:"Where to go on: next_cursor of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100" doc:"How many at most"`
}

// After is what the cursor says: the sort keys of the last thing on the page before, n of them, or n empty strings for
// the first page.
func (p Page) After(n int) ([]string, error) {
	if p.Cursor == "" {
		return make([]string, n), nil
	}
	refuse := fault.New(fault.Invalid, "bad_cursor", "The cursor is not one that this list gave.").At("query.cursor", "not valid")
	b, err := base64.RawURLEncoding.Strict().DecodeString(p.Cursor)
	if err != nil {
		return nil, refuse
	}
	var keys []string
	if err := json.Unmarshal(b, &keys); err != nil || len(keys) != n || slices.ContainsFunc(keys, func(k string) bool {
		return strings.ContainsRune(k, 0)
	}) {
		return nil, refuse
	}
	return keys, nil
}

// Cursor is the next_cursor after a thing with these sort keys.
func Cursor(keys ...string) string {
	b, err := json.Marshal(keys)
	if err != nil { // strings always marshal
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
