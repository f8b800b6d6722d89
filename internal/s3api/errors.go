package s3api

import (
	"encoding/xml"
	"net/http"
)

// apiError is an answer that refuses, in the words of S3. Clients branch on the code.
type apiError struct {
	status  int
	code    string
	message string // for people; holds nothing that the caller did not send or may not know
	err     error  // for the log
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func (e *apiError) Unwrap() error { return e.err }

func refuse(status int, code, message string) *apiError {
	return &apiError{status: status, code: code, message: message}
}

func invalidArgument(message string) *apiError { return refuse(400, "InvalidArgument", message) }

func notImplemented(message string) *apiError { return refuse(501, "NotImplemented", message) }

func internalError(err error) *apiError {
	return &apiError{status: 500, code: "InternalError", message: "Something went wrong on our side. Please try again.", err: err}
}

// The refusals that several places share. They are never changed.
var (
	errAccessDenied  = refuse(403, "AccessDenied", "Access denied: the access key has no right to do this here.")
	errAnonymous     = refuse(403, "AccessDenied", "Access denied: the request carries no signature.")
	errNoKey         = refuse(404, "NoSuchKey", "The specified key does not exist.")
	errNoBucket      = refuse(404, "NoSuchBucket", "The specified bucket does not exist.")
	errPrecondition  = refuse(412, "PreconditionFailed", "At least one of the preconditions you specified did not hold.")
	errNotModified   = refuse(304, "NotModified", "Not modified.")
	errTooLarge      = refuse(400, "EntityTooLarge", "The object is larger than the 16 MiB that this endpoint takes.")
	errIncomplete    = refuse(400, "IncompleteBody", "The body is not as long as was announced.")
	errMalformedBody = refuse(400, "InvalidRequest", "The body is not well-formed aws-chunked content.")
	errMethod        = refuse(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	errSlowDown      = refuse(503, "SlowDown", "Too many requests at once. Please try again.")
	errUnavailable   = refuse(503, "ServiceUnavailable", "The service cannot answer just now. Please try again.")
	// An unknown access key and a wrong signature are one answer: who probes for access key ids learns nothing.
	errSignature = refuse(403, "SignatureDoesNotMatch", "The access key id is not known or not in force, or the signature does not match what its secret makes of this request. Check id, secret and signing method.")
)

type errorDocument struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Resource  string `xml:",omitempty"`
	RequestID string `xml:"RequestId"`
}

// writeError answers with the error's document; HEAD and 304 have no body.
func writeError(w http.ResponseWriter, r *http.Request, requestID string, e *apiError) {
	if e.status == 503 {
		w.Header().Set("Retry-After", "1")
	}
	if r.Method == http.MethodHead || e.status == http.StatusNotModified {
		w.WriteHeader(e.status)
		return
	}
	writeXML(w, e.status, errorDocument{Code: e.code, Message: e.message, Resource: printable(r.URL.Path), RequestID: requestID})
}

// writeXML answers with a document. What fails here is the connection, and nobody is left to tell.
func writeXML(w http.ResponseWriter, status int, document any) {
	b, err := xml.Marshal(document)
	if err != nil {
		panic(err) // the documents are our own types
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = w.Write(append([]byte(xml.Header), b...))
}

// printable replaces what XML and logs cannot hold, and cuts what is too long.
func printable(s string) string {
	out := []rune{}
	for _, r := range s {
		if len(out) == 1100 {
			break
		}
		if r < 0x20 || r == 0x7f || r == 0xfffe || r == 0xffff {
			r = '\ufffd'
		}
		out = append(out, r)
	}
	return string(out)
}
