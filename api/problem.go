// Package api holds what goes over the wire between a mintmark server and its clients: the documents of the management
// API, its error codes, and the errors that both sides know. It needs nothing but the standard library, so that a client
// that imports it links nothing of the server.
package api

import (
	"errors"
	"net/http"
)

// Problem is the one form of every error answer of the management API: an RFC 9457 document of type
// application/problem+json. Programs branch on Code, which never changes its meaning; people read Detail.
type Problem struct {
	Type      string         `json:"type" doc:"A URN that names this kind of problem; it ends with the code" example:"urn:mintmark:problem:not_found"`
	Title     string         `json:"title" doc:"The HTTP status in words" example:"Not Found"`
	Status    int            `json:"status" doc:"The HTTP status" example:"404"`
	Detail    string         `json:"detail,omitempty" doc:"What went wrong, for a person" example:"There is no application sales."`
	Code      string         `json:"code" doc:"Stable name of the problem, for programs" example:"not_found"`
	RequestID string         `json:"request_id,omitempty" doc:"Quote this when asking for help; the server's log has it too"`
	Errors    []ProblemField `json:"errors,omitempty" doc:"The parts of the request that are wrong"`
}

// ProblemField points at one wrong part of a request.
type ProblemField struct {
	Location string `json:"location" doc:"Such as body.team or path.id" example:"body.team_id"`
	Message  string `json:"message" doc:"What is wrong with it"`
}

// What a caller of the API branches on. errors.Is(err, ErrNotFound) holds on both sides of the network: a *Problem is the
// sentinel of its status.
var (
	ErrInvalid            = errors.New("the request is not valid")
	ErrUnauthenticated    = errors.New("no valid credential was shown")
	ErrForbidden          = errors.New("the caller may not do this")
	ErrNotFound           = errors.New("there is no such thing")
	ErrConflict           = errors.New("it exists already or is in use")
	ErrPreconditionFailed = errors.New("it was changed by somebody else meanwhile")
	ErrLimited            = errors.New("too many requests")
	ErrUnavailable        = errors.New("the server cannot answer just now")
	ErrInternal           = errors.New("the server failed")
)

// Error is the problem on one line.
func (p *Problem) Error() string {
	text := p.Code
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	for _, f := range p.Errors {
		text += "; " + f.Location + ": " + f.Message
	}
	return text
}

// Is makes a problem equal to the sentinel of its status.
func (p *Problem) Is(target error) bool {
	sentinel := ErrInternal
	switch p.Status {
	case http.StatusUnauthorized:
		sentinel = ErrUnauthenticated
	case http.StatusForbidden:
		sentinel = ErrForbidden
	case http.StatusNotFound:
		sentinel = ErrNotFound
	case http.StatusConflict:
		sentinel = ErrConflict
	case http.StatusPreconditionFailed:
		sentinel = ErrPreconditionFailed
	case http.StatusTooManyRequests:
		sentinel = ErrLimited
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		sentinel = ErrUnavailable
	default:
		if p.Status >= 400 && p.Status < 500 {
			sentinel = ErrInvalid
		}
	}
	return target == sentinel
}

// GetStatus is the HTTP status to send the problem with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type of the document.
func (p *Problem) ContentType(string) string { return "application/problem+json" }
