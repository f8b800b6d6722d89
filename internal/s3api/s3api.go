// Package s3api is the embedded S3 endpoint: buckets of small objects in a data directory, behind S3's own protocol, so
// that a house without an object store can deliver and fetch credentials with the tools that everybody has.
//
// What it guards:
//   - Nothing is answered without a Signature Version 4 (sigv4.go) by an access key that is in force, and nothing that
//     the key's rules do not allow (rights.go). The mint's key can write credentials and read nothing; an application's
//     key can read what lies below its own prefix and nothing else.
//   - A reader sees an object whole, the old one or the new one; what PutObject acknowledged is durable (disk.go).
//   - What a request asks for and this endpoint does not do is refused, never ignored: a public ACL, a copy, a version.
//   - Secrets of access keys lie sealed in the database; they leave it once, when a key is made.
//   - Every size is bounded: objects 16 MiB, keys 1024 bytes, headers, trailers, requests in flight.
//
// Supported: GetObject, HeadObject, PutObject in one part (also aws-chunked, with trailing checksums), DeleteObject,
// ListObjectsV2, HeadBucket, GetBucketLocation, ListBuckets; conditional requests, ranges, presigned URLs. Path style
// only. Buckets are made through the management API.
//
// Stored form: rows in s3_buckets and s3_keys; objects as disk.go describes. One process owns the data directory.
package s3api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/seal"
)

// MaxObject is the size of the largest object, in bytes.
const MaxObject = 16 << 20

// Options configure a Server.
type Options struct {
	Dir      string // the data directory; made if it is not there
	DB       *db.DB
	Keyring  *seal.Keyring
	Clock    clock.Clock           // nil: clock.System
	Logger   *slog.Logger          // nil: no log
	Metrics  prometheus.Registerer // nil: not exported
	InFlight int                   // requests worked on at once, above which SlowDown is answered; 0: 128
}

// Server is the endpoint. Its listener must bound the time and the size of headers.
type Server struct {
	clock   clock.Clock
	log     *slog.Logger
	db      *db.DB
	disk    *disk
	keys    *db.Cache[Key]
	buckets *db.Cache[Bucket]
	used    uses
	slots   chan struct{} // a request holds one
	metrics metrics
}

// New opens the data directory, removes what a crash left in it and makes a Server. It must be made before the
// database's feed is started.
func New(o Options) (*Server, error) {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.InFlight == 0 {
		o.InFlight = 128
	}
	disk, err := openDisk(o.Dir)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, errors.Join(err, disk.close())
	}
	return &Server{
		clock: o.Clock, log: o.Logger, db: o.DB, disk: disk, metrics: m,
		keys: db.NewCache(o.DB, keyTopic, 1024, func(ctx context.Context, tx db.ReadTx, id string) (Key, error) {
			return openKey(ctx, tx, o.Keyring, id)
		}),
		buckets: db.NewCache(o.DB, bucketTopic, 1024, getBucket),
		used:    newUses(),
		slots:   make(chan struct{}, o.InFlight),
	}, nil
}

// Close gives the data directory back. No request may be running.
func (s *Server) Close() error { return s.disk.close() }

// exchange is one request on its way.
type exchange struct {
	w         http.ResponseWriter
	r         *http.Request
	header    http.Header // of the request, with the length of the body as a header
	query     query
	bucket    string
	key       string
	operation string
	claim     claim
	accessKey Key
	signing   []byte // the signing key, for the chunks of a body

	requestID string
	status    int
	sent      int64
	received  int64
	failure   *apiError
}

// Header is of the response.
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader notes the status.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
		x.w.WriteHeader(status)
	}
}

// Write counts what is sent.
func (x *exchange) Write(b []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	n, err := x.w.Write(b)
	x.sent += int64(n)
	return n, err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	elapsed := clock.Stopwatch()
	x := &exchange{w: w, r: r, operation: "Unknown", requestID: id.New(id.Request, s.clock.Now())}
	h := w.Header()
	h.Set("X-Amz-Request-Id", x.requestID)
	h.Set("Server", "mintmark")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	defer func() {
		if p := recover(); p != nil {
			x.failure = internalError(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			if x.status == 0 {
				writeError(x, r, x.requestID, x.failure)
			}
		}
		s.account(x, elapsed())
	}()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		s.fail(x, errSlowDown)
		return
	}
	if err := s.serve(x); err != nil {
		s.fail(x, err)
	}
}

// fail answers with a refusal. When the answer has begun already, it stays shorter than its Content-Length says: the
// connection breaks off, and nobody takes the half for the whole.
func (s *Server) fail(x *exchange, err error) {
	x.failure = asAPIError(err)
	if x.status == 0 {
		writeError(x, x.r, x.requestID, x.failure)
	}
}

// serve finds out who asks for what and does it.
func (s *Server) serve(x *exchange) error {
	var e *apiError
	if x.query, e = parseQuery(x.r.URL.RawQuery); e != nil {
		return e
	}
	if x.bucket, x.key, e = splitPath(x.r.URL.Path); e != nil {
		return e
	}
	operation, e := x.find()
	if operation.name != "" {
		x.operation = operation.name
	}
	if err := s.authenticate(x); err != nil {
		return err // also before "no such operation": a stranger learns nothing
	}
	if e != nil {
		return e
	}
	if e := x.checkParameters(operation.parameters); e != nil {
		return e
	}
	return operation.run(s, x)
}

// operation is something that can be asked for.
type operation struct {
	name       string
	parameters []string // of the query, beside those of the signature
	run        func(s *Server, x *exchange) error
}

// find tells the operation by method and path.
func (x *exchange) find() (operation, *apiError) {
	method := x.r.Method
	switch {
	case x.bucket == "":
		if method == http.MethodGet {
			return operation{"ListBuckets", []string{"max-buckets", "prefix", "bucket-region", "continuation-token"}, (*Server).listBuckets}, nil
		}
	case x.key == "":
		return x.findOfBucket()
	case method == http.MethodGet:
		return operation{"GetObject", nil, (*Server).getObject}, nil
	case method == http.MethodHead:
		return operation{"HeadObject", nil, (*Server).getObject}, nil
	case method == http.MethodPut:
		return operation{"PutObject", nil, (*Server).putObject}, nil
	case method == http.MethodDelete:
		return operation{"DeleteObject", nil, (*Server).deleteObject}, nil
	case method == http.MethodPost:
		return operation{}, notImplemented("Uploads in several parts are not supported: put the object in one.")
	}
	return operation{}, errMethod
}

func (x *exchange) findOfBucket() (operation, *apiError) {
	_, location := x.query.lookup("location")
	switch method := x.r.Method; {
	case method == http.MethodHead:
		return operation{"HeadBucket", nil, (*Server).headBucket}, nil
	case method == http.MethodGet && location:
		return operation{"GetBucketLocation", []string{"location"}, (*Server).bucketLocation}, nil
	case method == http.MethodGet && x.query.get("list-type") == "2":
		return operation{"ListObjectsV2", []string{"list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after", "encoding-type", "fetch-owner"}, (*Server).listObjects}, nil
	case method == http.MethodGet:
		return operation{}, notImplemented("Only ListObjectsV2 and GetBucketLocation are supported here.")
	case method == http.MethodPut, method == http.MethodDelete:
		return operation{"CreateBucket", nil, nil}, refuse(403, "AccessDenied", "Buckets are made through the management API: PUT /api/buckets/{name}. They are not deleted.")
	case method == http.MethodPost:
		return operation{}, notImplemented("Delete objects one by one.")
	}
	return operation{}, errMethod
}

// signatureParameters may stand in the query of every operation.
var signatureParameters = []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Content-Sha256", "x-id"}

// understood are the x-amz-* headers that this endpoint obeys, or that ask for nothing.
var understood = []string{
	"x-amz-date", "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer", "x-amz-sdk-checksum-algorithm", "x-amz-checksum-mode",
	"x-amz-checksum-type", "x-amz-acl", "x-amz-storage-class", "x-amz-expected-bucket-owner", "x-amz-user-agent",
}

// checkParameters refuses what would change the meaning of a request and is not understood.
func (x *exchange) checkParameters(allowed []string) *apiError {
	for _, p := range x.query {
		if !oneOf(p.name, signatureParameters) && !oneOf(p.name, allowed) {
			return notImplemented("The query parameter " + printable(p.name) + " is not supported here.")
		}
	}
	for name := range x.header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !oneOf(name, understood) && !strings.HasPrefix(name, "x-amz-meta-") && checksums[strings.TrimPrefix(name, checksumPrefix)] == nil {
			return notImplemented("The header " + printable(name) + " is not supported here.")
		}
	}
	return nil
}

func oneOf(s string, list []string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// patience is how long the body of a request may take to arrive, and an answer to leave.
const patience = 30 * time.Second
