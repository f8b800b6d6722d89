package registry

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// registrationRoutes registers the endpoints by which clients register themselves (RFC 7591) and manage what is
// registered (RFC 7592).
func (r *Registry) registrationRoutes(m *route.Mux) {
	m.Handle("/oauth2/register", func(w http.ResponseWriter, q *http.Request) {
		if q.Method != http.MethodPost {
			notAllowed(w, q, "POST")
			return
		}
		r.answer(w, q, http.StatusCreated, r.postRegistration)
	})
	m.Handle("/oauth2/register/{client_id}", func(w http.ResponseWriter, q *http.Request) {
		switch q.Method {
		case http.MethodGet:
			r.answer(w, q, http.StatusOK, r.getRegistration)
		case http.MethodPut:
			r.answer(w, q, http.StatusOK, r.putRegistration)
		case http.MethodDelete:
			r.answer(w, q, http.StatusNoContent, r.endRegistration)
		default:
			notAllowed(w, q, "GET, PUT, DELETE")
		}
	})
}

// answer runs one of the operations and writes what came of it (RFC 7591 section 3.2).
func (r *Registry) answer(w http.ResponseWriter, q *http.Request, status int, f func(q *http.Request, token redact.Secret) (registration, error)) {
	token, err := bearer(q)
	var out registration
	if err == nil {
		out, err = f(q, token)
	}
	if err != nil {
		refuseRegistration(w, q, err)
		return
	}
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	writeRegistration(w, q, status, out)
}

// bearer is the token of the request; empty if there is none.
func bearer(q *http.Request) (redact.Secret, error) {
	values := q.Header.Values("Authorization")
	switch {
	case len(values) == 0:
		return redact.Secret{}, nil
	case len(values) > 1:
		return redact.Secret{}, errRegistrationToken()
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return redact.Secret{}, errRegistrationToken()
	}
	return redact.New(token), nil
}

func (r *Registry) postRegistration(q *http.Request, token redact.Secret) (out registration, err error) {
	if token.Empty() && !r.o.Registration.Anonymous {
		return registration{}, errRegistrationToken() // before anything is read
	}
	in, keys, err := readRegistration(q, false)
	if err != nil {
		return registration{}, err
	}
	err = r.withSector(q.Context(), func(list *sectorList) error {
		in.sector = list
		return r.d.Write(q.Context(), func(tx db.WriteTx) (err error) {
			out, err = r.register(q.Context(), tx, token, in, keys)
			return err
		})
	})
	return out, err
}

func (r *Registry) getRegistration(q *http.Request, token redact.Secret) (out registration, err error) {
	err = r.d.Read(q.Context(), func(tx db.ReadTx) (err error) {
		out, err = r.readRegistration(q.Context(), tx, q.PathValue("client_id"), token)
		return err
	})
	return out, err
}

func (r *Registry) putRegistration(q *http.Request, token redact.Secret) (out registration, err error) {
	// Who has no right to it does not learn what is wrong with what he sent.
	if err := r.d.Read(q.Context(), func(tx db.ReadTx) error {
		_, _, err := r.registered(q.Context(), tx, q.PathValue("client_id"), token)
		return err
	}); err != nil {
		return registration{}, err
	}
	in, keys, err := readRegistration(q, true)
	if err != nil {
		return registration{}, err
	}
	err = r.withSector(q.Context(), func(list *sectorList) error {
		in.sector = list
		return r.d.Write(q.Context(), func(tx db.WriteTx) (err error) {
			out, err = r.changeRegistration(q.Context(), tx, q.PathValue("client_id"), token, in, keys)
			return err
		})
	})
	return out, err
}

func (r *Registry) endRegistration(q *http.Request, token redact.Secret) (registration, error) {
	return registration{}, r.d.Write(q.Context(), func(tx db.WriteTx) error {
		return r.deleteRegistration(q.Context(), tx, q.PathValue("client_id"), token)
	})
}

func readRegistration(q *http.Request, update bool) (registration, []jose.Key, error) {
	kind, _, _ := strings.Cut(q.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return registration{}, nil, fault.New(fault.Invalid, "invalid_client_metadata", "Send the registration as application/json.")
	}
	body, err := io.ReadAll(q.Body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return registration{}, nil, fault.New(fault.TooLarge, "invalid_client_metadata", "The registration is larger than %d bytes.", large.Limit)
	}
	if err != nil {
		return registration{}, nil, fault.New(fault.Invalid, "invalid_client_metadata", "The body ended early.")
	}
	return parseRegistration(body, update)
}

func notAllowed(w http.ResponseWriter, q *http.Request, allow string) {
	w.Header().Set("Allow", allow)
	writeRefusal(w, q, http.StatusMethodNotAllowed, "not_allowed", "Use "+allow+".", nil)
}

// refuseRegistration maps an error to RFC 7591 section 3.2.2 and RFC 6750 section 3.1.
func refuseRegistration(w http.ResponseWriter, q *http.Request, err error) {
	f := fault.Of(err)
	switch f.Kind {
	case fault.Unauthenticated:
		challenge := "Bearer" // who shows nothing is told no more (RFC 6750 section 3.1)
		if len(q.Header.Values("Authorization")) > 0 {
			challenge += ` error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		writeRefusal(w, q, http.StatusUnauthorized, "invalid_token", f.Detail, nil)
	case fault.Invalid, fault.Conflict:
		code := f.Code
		if code != "invalid_redirect_uri" && code != "invalid_software_statement" {
			code = "invalid_client_metadata"
		}
		writeRefusal(w, q, http.StatusBadRequest, code, whichMember(f), nil)
	case fault.TooLarge:
		writeRefusal(w, q, http.StatusRequestEntityTooLarge, f.Code, f.Detail, nil)
	case fault.Limited:
		w.Header().Set("Retry-After", strconv.Itoa(int(max(f.RetryAfter, time.Second)/time.Second)))
		writeRefusal(w, q, http.StatusTooManyRequests, "slow_down", f.Detail, nil)
	case fault.Unavailable:
		w.Header().Set("Retry-After", "1")
		writeRefusal(w, q, http.StatusServiceUnavailable, "temporarily_unavailable", "Try again.", err)
	default:
		writeRefusal(w, q, http.StatusInternalServerError, "server_error", "Something went wrong on our side.", err)
	}
}

// whichMember is the text of a fault with the member that it is about, under the name that the client sent.
func whichMember(f *fault.Error) string {
	if len(f.Fields) == 0 {
		return f.Detail
	}
	member := strings.TrimPrefix(f.Fields[0].Location, "body.")
	if member == "name" {
		member = "client_name"
	}
	return member + ": " + f.Detail
}

func writeRefusal(w http.ResponseWriter, q *http.Request, status int, code, text string, cause error) {
	route.NoteError(q.Context(), code, cause)
	b, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, text})
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	writeJSON(w, status, b)
}

func writeRegistration(w http.ResponseWriter, q *http.Request, status int, out registration) {
	b, err := json.Marshal(out)
	if err != nil {
		refuseRegistration(w, q, err)
		return
	}
	writeJSON(w, status, b)
}

func writeJSON(w http.ResponseWriter, status int, b []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	w.WriteHeader(status)
	w.Write(b) // the caller is gone if it fails, and nobody is left to tell
}
