package mithril

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/route"
)

// failure is an answer that something went wrong, in this interface's form.
type failure struct {
	status  int
	kind    string // type of the error
	message string
	invalid []wrong
	grant   bool // it is about a token: the code stands there as a key too, as RFC 6749 has it
	retry   float64
	cause   error // for the log
}

func (f *failure) Error() string {
	text := f.kind + ": " + f.message
	for _, w := range f.invalid {
		for _, r := range w.Rules {
			text += " " + w.Entry + " " + r.Rule
		}
	}
	return text
}

func (f *failure) Unwrap() error { return f.cause }

// wrong is one wrong part of a request.
type wrong struct {
	Type  string `json:"entry_type"`
	Entry string `json:"entry,omitempty"`
	Rules []rule `json:"rules"`
}

type rule struct {
	Rule        string   `json:"rule"`
	Params      []string `json:"params"`
	Description string   `json:"description,omitempty"`
}

// entry names a wrong member of the body.
func entry(field, name, description string, params ...string) wrong {
	if params == nil {
		params = []string{}
	}
	return wrong{"json_data_property", "$." + field, []rule{{name, params, description}}}
}

// required is the entry for a member that is missing or empty.
func required(field string) wrong { return entry(field, "required", "can't be blank") }

func invalid(entries ...wrong) *failure {
	return &failure{status: http.StatusUnprocessableEntity, kind: "validation_failed", invalid: entries,
		message: "Validation failed. Look at invalid for the parts of the request that are wrong."}
}

func notFound() *failure { return &failure{status: http.StatusNotFound, kind: "not_found"} }

func malformed(message string) *failure {
	return &failure{status: http.StatusBadRequest, kind: "request_malformed", message: message,
		invalid: []wrong{{"request", "", []rule{{"json", []string{}, ""}}}}}
}

func contentType(status int, header string) *failure {
	return &failure{status: status, kind: "content_type_invalid", message: "Only application/json is spoken here.",
		invalid: []wrong{{"header", header, []rule{{"content_type", []string{"application/json"}, ""}}}}}
}

func unauthenticated(message string) *failure {
	return &failure{status: http.StatusUnauthorized, kind: "access_denied", message: message}
}

// missingScope says which scope would have allowed it.
func missingScope(scopes ...string) *failure {
	f := unauthenticated("Your token does not allow this.")
	f.invalid = []wrong{{"header", "Authorization", []rule{{"scopes", scopes, ""}}}}
	return f
}

func forbidden(message string) *failure {
	return &failure{status: http.StatusForbidden, kind: "forbidden", message: message}
}

// grantFailure is a failure to give a token, with the codes of RFC 6749.
func grantFailure(status int, code, message string) *failure {
	return &failure{status: status, kind: code, message: message, grant: true}
}

// refusedGrant translates what the authorization server said.
func refusedGrant(err error) error {
	no := oauth.RefusedBy(err)
	f := &failure{status: no.Status, kind: no.Code, message: no.Description, grant: true, retry: no.RetryAfter.Seconds(), cause: err}
	if no.Code == "invalid_grant" || no.Code == "unauthorized_client" {
		f.status = http.StatusUnauthorized
	}
	return f
}

// failureOf maps an error of a lower package. What nobody classified says nothing to the caller.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	e := fault.Of(err)
	f = &failure{status: http.StatusInternalServerError, kind: "internal_error", message: "Something went wrong on our side.", cause: err}
	switch e.Kind {
	case fault.Invalid:
		f = invalid()
		for _, field := range e.Fields {
			_, name, found := strings.Cut(field.Location, ".")
			if !found {
				name = field.Location
			}
			f.invalid = append(f.invalid, entry(name, ruleOf(e.Code), e.Detail))
		}
	case fault.Unauthenticated:
		f = unauthenticated(e.Detail)
	case fault.Forbidden:
		f = forbidden(e.Detail)
	case fault.NotFound:
		f = notFound()
	case fault.Conflict:
		f = &failure{status: http.StatusConflict, kind: "request_conflict", message: e.Detail}
	case fault.TooLarge:
		f = &failure{status: http.StatusRequestEntityTooLarge, kind: "request_too_large", message: e.Detail}
	case fault.Limited:
		f = &failure{status: http.StatusTooManyRequests, kind: "too_many_requests", message: e.Detail, retry: e.RetryAfter.Seconds()}
	case fault.Unavailable:
		f = &failure{status: http.StatusServiceUnavailable, kind: "temporarily_unavailable", message: "Try again in a moment.", retry: e.RetryAfter.Seconds()}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		f = &failure{status: http.StatusServiceUnavailable, kind: "temporarily_unavailable", message: "This took too long. Try again.", retry: 1}
	}
	f.cause = err
	return f
}

// ruleOf is this interface's name of a rule that a lower package found broken.
func ruleOf(code string) string {
	switch code {
	case "required":
		return "required"
	case "too_long":
		return "length"
	case "weak_password", "password_form":
		return "password"
	}
	return "format"
}

type errorBody struct {
	Meta        meta       `json:"meta"`
	Error       errorNames `json:"error"`
	Description string     `json:"error_description,omitempty"`
}

// errorNames is the error object. Of a refused grant it holds the code as a key besides, where the oldest clients look.
type errorNames map[string]errorValue

// errorValue is a text, or the list of what is wrong.
type errorValue interface{}

func (c *call) refuse(err error) {
	f := failureOf(err)
	route.NoteError(c, f.kind, f.cause)
	if f.status == http.StatusUnauthorized || f.status == http.StatusForbidden {
		c.o.Denied(context.WithoutCancel(c), c.who.Caller, c.op, fault.New(kindOf(f.status), f.kind, "%s", f.message))
	}
	h := c.w.Header()
	if f.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="mintmark"`)
	}
	if f.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.retry))))
	}
	body := errorBody{Meta: c.meta("object", f.status), Error: errorNames{"type": f.kind}}
	if f.message != "" {
		body.Error["message"] = f.message
	}
	if f.invalid != nil {
		body.Error["invalid"] = f.invalid
	}
	if f.grant {
		body.Error[f.kind], body.Description = f.message, f.message
	}
	c.write(f.status, body)
}

func kindOf(status int) fault.Kind {
	if status == http.StatusForbidden {
		return fault.Forbidden
	}
	return fault.Unauthenticated
}
