package s3api

import (
	"bytes"
	"crypto/sha1" // a checksum that clients may choose
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
)

// checksums are the algorithms of x-amz-checksum-*.
var checksums = map[string]func() hash.Hash{
	"crc32":     func() hash.Hash { return crc32.NewIEEE() },
	"crc32c":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"crc64nvme": func() hash.Hash { return crc64.New(nvme) },
	"sha1":      sha1.New,
	"sha256":    sha256.New,
}

const checksumPrefix = "x-amz-checksum-"

// nvme is the polynomial of CRC-64/NVME, reflected.
var nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// stored are the headers that are kept with an object and given back, beside x-amz-meta-*.
var stored = []string{"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"}

const maxStoredHeaders = 4 << 10

// putObject serves PutObject.
func (s *Server) putObject(x *exchange) error {
	if err := x.mayPut(); err != nil {
		return err
	}
	headers, e := storedHeaders(x.header)
	if e != nil {
		return e
	}
	in, e := x.incoming()
	if e != nil {
		return e
	}
	if _, err := s.haveBucket(x); err != nil {
		return err
	}
	x.allow(true)
	m, err := s.disk.put(upload{
		bucket: x.bucket, key: x.key, body: in, size: in.announce, headers: headers, now: s.clock.Now(),
		complete: in.complete, condition: writeCondition(x.header),
	})
	x.received = in.size
	if err != nil {
		return writeFailure(err)
	}
	h := x.Header()
	h.Set("ETag", m.quotedTag())
	for name, value := range in.verified {
		h.Set(name, value)
		h.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
	}
	h.Set("Content-Length", "0")
	x.WriteHeader(http.StatusOK)
	return nil
}

// mayPut asks the rules. A condition on the tag would tell a key that can only put what lies there, so it needs the
// right to read, too.
func (x *exchange) mayPut() error {
	if err := x.may(Put, x.key); err != nil {
		return err
	}
	if acl := x.header.Get("X-Amz-Acl"); acl != "" && acl != "private" && acl != "bucket-owner-full-control" {
		return refuse(400, "AccessControlListNotSupported", "Objects have no ACLs here: only private and bucket-owner-full-control, which change nothing, are taken.")
	}
	if class := x.header.Get("X-Amz-Storage-Class"); class != "" && class != "STANDARD" {
		return refuse(400, "InvalidStorageClass", "The only storage class is STANDARD.")
	}
	if v := x.header.Get("If-None-Match"); v != "" && (v != "*" || x.header.Get("If-Match") != "") {
		return notImplemented("If-None-Match can only be * when an object is put, and not stand beside If-Match.")
	}
	if x.header.Get("If-Match") != "" {
		return x.may(Get, x.key)
	}
	return nil
}

func writeCondition(h http.Header) func(*meta) error {
	match, create := h.Get("If-Match"), h.Get("If-None-Match") != ""
	if match == "" && !create {
		return nil
	}
	return func(current *meta) error {
		switch {
		case create && current != nil:
			return errPrecondition
		case match != "" && current == nil:
			return errNoKey
		case match != "" && !tagIn(match, current.ETag):
			return errPrecondition
		}
		return nil
	}
}

func writeFailure(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		e := *errUnavailable
		e.err = err
		return &e
	}
	return err
}

// bodyFailure is why a body could not be read: always the client's or the network's doing.
func bodyFailure(err error) error {
	var known *apiError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &apiError{status: 400, code: "RequestTimeout", message: "The body did not arrive within the time allowed.", err: err}
	}
	e := *errIncomplete
	e.err = err
	return &e
}

// storedHeaders is what is kept with the object.
func storedHeaders(h http.Header) (map[string]string, *apiError) {
	keep := map[string]string{"Content-Type": "binary/octet-stream"}
	size := 0
	for name, values := range h {
		if !slices.Contains(stored, name) && !strings.HasPrefix(name, "X-Amz-Meta-") {
			continue
		}
		value := strings.Join(values, ",")
		if name == "Content-Encoding" {
			value = withoutChunked(value)
		}
		if value == "" {
			continue
		}
		if size += len(name) + len(value); size > maxStoredHeaders {
			return nil, refuse(400, "MetadataTooLarge", "The headers to keep with the object are larger than 4 KiB.")
		}
		if !utf8.ValidString(value) {
			return nil, invalidArgument("The header " + name + " is not UTF-8.")
		}
		keep[name] = value
	}
	return keep, nil
}

// withoutChunked leaves out aws-chunked, which is how the body came and not what it is.
func withoutChunked(encodings string) string {
	var keep []string
	for e := range strings.SplitSeq(encodings, ",") {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			keep = append(keep, e)
		}
	}
	return strings.Join(keep, ",")
}

// incoming is the body of an upload, with everything that was said about it beforehand.
type incoming struct {
	body     io.Reader
	chunks   *chunkedReader // body, if it comes in chunks
	announce int64          // size; -1: not announced
	size     int64
	sums     map[string]hash.Hash // by name of the header or trailer that has the checksum
	want     map[string]string    // checksums of headers, in base64; those of trailers come with the last chunk
	sha256   string               // the payload's hash that was signed; empty: none
	md5      []byte               // of Content-MD5
	hash     hash.Hash            // SHA-256, if sha256 is set
	verified map[string]string    // checksums that were right, for the answer
}

// incoming reads what the headers say about the body.
func (x *exchange) incoming() (*incoming, *apiError) {
	in := &incoming{announce: x.r.ContentLength, sums: map[string]hash.Hash{}, want: map[string]string{}, verified: map[string]string{}}
	// What stands around the chunks is small: 64 KiB, and 128 bytes for every 4 KiB, are more than any client needs.
	in.body = http.MaxBytesReader(x.w, x.r.Body, MaxObject+MaxObject/32+64<<10)
	if e := in.payload(x); e != nil {
		return nil, e
	}
	switch {
	case in.announce > MaxObject:
		return nil, errTooLarge
	case in.announce < 0:
		return nil, refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if v := x.header.Get("Content-Md5"); v != "" {
		sum, err := base64.StdEncoding.DecodeString(v)
		if err != nil || len(sum) != 16 {
			return nil, refuse(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")
		}
		in.md5 = sum
	}
	return in, in.expect(x.header)
}

// payload obeys x-amz-content-sha256: the hash of the body, or how the body is cut and signed.
func (in *incoming) payload(x *exchange) *apiError {
	switch p := x.claim.payload; p {
	case unsignedPayload:
		return nil
	case streamSigned, streamSignedTrailer, streamUnsignedTrailer:
		return in.stream(x, p)
	default:
		if len(p) != 64 || !lowerHex(p) {
			return invalidArgument("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER or a valid sha256 value.")
		}
		in.sha256, in.hash = p, sha256.New()
	}
	return nil
}

func (in *incoming) stream(x *exchange, how string) *apiError {
	size, err := strconv.ParseUint(x.header.Get("X-Amz-Decoded-Content-Length"), 10, 62)
	if err != nil {
		return refuse(http.StatusLengthRequired, "MissingContentLength", "A streamed body needs the header x-amz-decoded-content-length.")
	}
	in.announce = int64(size)
	var declared []string
	for name := range strings.SplitSeq(x.header.Get("X-Amz-Trailer"), ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "" {
			continue
		}
		algorithm, ok := strings.CutPrefix(name, checksumPrefix)
		if !ok || checksums[algorithm] == nil || in.sums[name] != nil {
			return invalidArgument("x-amz-trailer can only announce checksums, each once.")
		}
		declared = append(declared, name)
		in.sums[name] = checksums[algorithm]()
	}
	if how == streamSigned && len(declared) > 0 {
		return invalidArgument("A body with trailers needs x-amz-content-sha256: " + streamSignedTrailer + " or " + streamUnsignedTrailer + ".")
	}
	var signer *chunkSigner
	if how != streamUnsignedTrailer {
		signer = &chunkSigner{key: x.signing, date: x.claim.date, scope: x.claim.scope, previous: x.claim.signature}
	}
	in.chunks = newChunkedReader(in.body, signer, declared)
	in.body = in.chunks
	return nil
}

// expect notes the checksums that stand in headers.
func (in *incoming) expect(h http.Header) *apiError {
	for name := range h {
		lower := strings.ToLower(name)
		algorithm, ok := strings.CutPrefix(lower, checksumPrefix)
		if !ok || checksums[algorithm] == nil {
			continue
		}
		if in.sums[lower] != nil {
			return invalidArgument("The checksum " + lower + " is given as a header and as a trailer.")
		}
		in.sums[lower], in.want[lower] = checksums[algorithm](), h.Get(name)
	}
	if len(in.sums) > 2 {
		return invalidArgument("One checksum is enough.")
	}
	return nil
}

// Read gives out the body and sums it up.
func (in *incoming) Read(p []byte) (int, error) {
	n, err := in.body.Read(p)
	in.size += int64(n)
	if in.size > in.announce {
		return n, errIncomplete
	}
	if in.hash != nil {
		in.hash.Write(p[:n])
	}
	for _, sum := range in.sums {
		sum.Write(p[:n])
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = bodyFailure(err)
	}
	return n, err
}

// complete refuses a body that is not what was announced and signed.
func (in *incoming) complete(size int64, md5 []byte) error {
	if size != in.announce {
		return errIncomplete
	}
	if in.hash != nil && hex.EncodeToString(in.hash.Sum(nil)) != in.sha256 {
		return refuse(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if in.md5 != nil && !bytes.Equal(in.md5, md5) {
		return refuse(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	if in.chunks != nil {
		maps.Copy(in.want, in.chunks.trailers)
	}
	for name, sum := range in.sums {
		if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != in.want[name] {
			return refuse(400, "BadDigest", "The checksum "+name+" that you specified did not match what we received.")
		}
		in.verified[name] = in.want[name]
	}
	return nil
}
