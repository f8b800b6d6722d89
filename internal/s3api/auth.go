package s3api

import (
	"context"
	"errors"
	"maps"
	"strconv"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/seal"
)

// nobody is the secret that a request for an unknown key is checked against, so that it takes the path of a known one.
// It is random and never leaves the process.
var nobody = seal.NewSecret("")

// authenticate finds the access key that signed the request.
func (s *Server) authenticate(x *exchange) error {
	x.header = x.r.Header
	if x.r.ContentLength >= 0 && x.header.Get("Content-Length") == "" {
		// A request that did not come over a connection has its length here only.
		x.header = maps.Clone(x.header)
		x.header.Set("Content-Length", strconv.FormatInt(x.r.ContentLength, 10))
	}
	c, e := parseClaim(x.header, x.query, s.clock.Now())
	if e != nil {
		return e
	}
	x.claim = c
	key, err := s.keyInForce(x.r.Context(), c.keyID)
	if err != nil {
		return err
	}
	secret := nobody
	if key.ID != "" {
		secret = key.secret
	}
	signing, ok := c.verify(x.r.Method, x.r.URL.Path, x.query, x.r.Host, x.header, secret)
	if !ok || key.ID == "" {
		return errSignature
	}
	x.accessKey, x.signing = key, signing
	s.used.note(key.ID, s.clock.Now())
	return nil
}

// keyInForce reads the key from memory, and asks the database before it tells that there is none: memory may be a second
// old. A key that is unknown, disabled or expired comes back empty.
func (s *Server) keyInForce(ctx context.Context, id string) (Key, error) {
	if !validKeyID(id) {
		return Key{}, nil
	}
	for _, read := range []func(context.Context, string) (Key, error){s.keys.Get, s.keys.Fresh} {
		key, err := read(ctx, id)
		switch {
		case errors.Is(err, db.ErrNoRows):
			continue
		case err != nil:
			return Key{}, unavailable(err)
		case key.inForce(s.clock.Now()):
			return key, nil
		}
	}
	return Key{}, nil
}

// haveBucket answers the bucket, asking the database before it tells that there is none.
func (s *Server) haveBucket(x *exchange) (Bucket, error) {
	for _, read := range []func(context.Context, string) (Bucket, error){s.buckets.Get, s.buckets.Fresh} {
		b, err := read(x.r.Context(), x.bucket)
		switch {
		case errors.Is(err, db.ErrNoRows):
			continue
		case err != nil:
			return Bucket{}, unavailable(err)
		}
		if owner := x.header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != b.Team {
			return Bucket{}, refuse(403, "AccessDenied", "The bucket is not owned by the expected owner. Here a bucket's owner is the id of a team.")
		}
		return b, nil
	}
	return Bucket{}, errNoBucket
}

// unavailable is a failure to ask the database: nobody may be refused for it.
func unavailable(err error) error {
	if fault.Is(err, fault.Unavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		e := *errUnavailable
		e.err = err
		return &e
	}
	return internalError(err)
}

// asAPIError makes an answer of any error; what nobody classified is internal and says nothing.
func asAPIError(err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	return internalError(err)
}

// may asks the key's rules.
func (x *exchange) may(a Action, key string) error {
	if !x.accessKey.Rules.allow(a, x.bucket, key) {
		return errAccessDenied
	}
	return nil
}
