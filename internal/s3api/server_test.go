package s3api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/s3api"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
	"github.com/mintmark/mintmark/internal/testport"
)

// teams says which team owns which application; it stands for the registry.
type teams map[string]string

func (t teams) Team(_ context.Context, _ db.ReadTx, app string) (team string, active bool, err error) {
	if team, ok := t[app]; ok {
		return team, app != "retired", nil
	}
	return "", false, fault.New(fault.NotFound, "application_not_found", "There is no such application.")
}

// accessKey is a key of a client.
type accessKey struct {
	id     string
	secret redact.Secret
}

// house is an endpoint with its database, and what the tests do with it.
type house struct {
	t       testing.TB
	d       *db.DB
	keyring *seal.Keyring
	storage *s3api.Storage
	server  *s3api.Server
	clock   *clock.Fake
	dir     string
	url     string
	log     *bytes.Buffer
	metrics *prometheus.Registry
	root    accessKey // may do everything
}

var system = access.SystemCaller("test")

// build makes an endpoint on a database of this engine, with buckets shop-bucket and other-bucket of the teams shop and
// other.
func build(t testing.TB, d *db.DB) *house {
	t.Helper()
	h := &house{t: t, d: d, keyring: sealtest.New(t, d), clock: clock.NewFake(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)), dir: t.TempDir(), log: new(bytes.Buffer), metrics: prometheus.NewRegistry()}
	h.storage = s3api.NewStorage(h.keyring, teams{"sales-orders": "shop", "sales": "shop", "retired": "shop", "mailer": "other"})
	var err error
	h.server, err = s3api.New(s3api.Options{Dir: h.dir, DB: d, Keyring: h.keyring, Clock: h.clock, Metrics: h.metrics, Logger: slog.New(slog.NewJSONHandler(h.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	stop, err := d.StartFeed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.write(func(ctx context.Context, tx db.WriteTx) error {
		for _, team := range []string{"shop", "other"} {
			_, err := tx.Exec(ctx, `INSERT INTO teams (id, name, revision, created, created_by, modified, modified_by) VALUES ($1, $1, 1, 1, 'test', 1, 'test')`, team)
			if err != nil {
				return err
			}
			if _, err := h.storage.CreateBucket(ctx, tx, system, s3api.Bucket{Name: team + "-bucket", Team: team}); err != nil {
				return err
			}
		}
		return nil
	})
	h.root = h.newKey(s3api.Rules{{Actions: []s3api.Action{s3api.Get, s3api.Put, s3api.List, s3api.Delete}, Bucket: "*"}})
	web := &httptest.Server{Listener: testport.Listen(t), Config: &http.Server{Handler: h.server, ReadHeaderTimeout: 5 * time.Second}}
	web.Start()
	h.url = web.URL
	t.Cleanup(func() {
		web.Close()
		stop()
		if err := h.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// newHouse is build on SQLite, for tests of the protocol.
func newHouse(t testing.TB) *house {
	t.Helper()
	return build(t, dbtest.Open(t, db.SQLite, clock.System))
}

func (h *house) write(f func(ctx context.Context, tx db.WriteTx) error) {
	h.t.Helper()
	ctx := context.Background()
	if err := h.d.Write(ctx, func(tx db.WriteTx) error { return f(ctx, tx) }); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) newKey(rules s3api.Rules) (k accessKey) {
	h.t.Helper()
	h.write(func(ctx context.Context, tx db.WriteTx) (err error) {
		k.id, k.secret, err = h.storage.CreateKey(ctx, tx, system, s3api.Key{Owner: "test", Rules: rules})
		return err
	})
	return k
}

// request makes a signed request; headers are pairs.
func (h *house) request(k accessKey, method, pathAndQuery, body string, headers ...string) *http.Request {
	h.t.Helper()
	r, err := http.NewRequest(method, h.url+pathAndQuery, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	payload := hex.EncodeToString(sum[:])
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "X-Amz-Content-Sha256" {
			payload = headers[i+1]
		}
	}
	r.Header.Set("X-Amz-Content-Sha256", payload)
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret.Reveal()}, r, payload, "s3", "us-east-1", h.clock.Now(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is the code of an error document.
func (a answer) code() string {
	var doc struct{ Code, Message, RequestId string }
	if xml.Unmarshal([]byte(a.body), &doc) != nil || doc.RequestId != a.header.Get("X-Amz-Request-Id") {
		return "not an error document: " + a.body
	}
	return doc.Code
}

func (h *house) send(r *http.Request) answer {
	h.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (h *house) do(k accessKey, method, pathAndQuery, body string, headers ...string) answer {
	h.t.Helper()
	return h.send(h.request(k, method, pathAndQuery, body, headers...))
}

func (h *house) put(key, body string) answer {
	h.t.Helper()
	a := h.do(h.root, "PUT", "/shop-bucket/"+key, body, "Content-Type", "application/json")
	if a.status != 200 {
		h.t.Fatalf("put %s: %d %s", key, a.status, a.body)
	}
	return a
}

func (a answer) is(t *testing.T, what string, status int, code string) {
	t.Helper()
	if a.status != status || code != "" && a.code() != code {
		t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, code)
	}
}

func TestObjectLife(t *testing.T) {
	h := newHouse(t)
	put := h.do(h.root, "PUT", "/shop-bucket/sales-orders/user.json", `{"a":1}`, "Content-Type", "application/json", "X-Amz-Meta-Version", "7", "Cache-Control", "max-age=1", "Content-Encoding", "aws-chunked,identity")
	put.is(t, "put", 200, "")
	const tag = `"a60b85d409a01d46023f90741e01b79543a3cb1ba048eaefbe5d7a63638043bf"`
	if got := put.header.Get("ETag"); len(got) != 34 || got == tag {
		t.Errorf("ETag %s is not a quoted MD5", got)
	}
	get := h.do(h.root, "GET", "/shop-bucket/sales-orders/user.json", "")
	if get.status != 200 || get.body != `{"a":1}` {
		t.Fatalf("get: %d %s", get.status, get.body)
	}
	for name, want := range map[string]string{
		"ETag": put.header.Get("ETag"), "Content-Type": "application/json", "X-Amz-Meta-Version": "7", "Cache-Control": "max-age=1", "Content-Encoding": "identity",
		"Content-Length": "7", "Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT", "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff",
	} {
		if got := get.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	head := h.do(h.root, "HEAD", "/shop-bucket/sales-orders/user.json", "")
	if head.status != 200 || head.body != "" || head.header.Get("Content-Length") != "7" || head.header.Get("ETag") != put.header.Get("ETag") {
		t.Errorf("head: %d %q %v", head.status, head.body, head.header)
	}
	for range 2 {
		h.do(h.root, "DELETE", "/shop-bucket/sales-orders/user.json", "").is(t, "delete", 204, "")
	}
	h.do(h.root, "GET", "/shop-bucket/sales-orders/user.json", "").is(t, "get what was deleted", 404, "NoSuchKey")
	if a := h.do(h.root, "HEAD", "/shop-bucket/sales-orders/user.json", ""); a.status != 404 || a.body != "" {
		t.Errorf("head of what was deleted: %d %q", a.status, a.body)
	}
}

func TestRefusals(t *testing.T) {
	h := newHouse(t)
	h.put("k", "x")
	for _, c := range []struct {
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		{"GET", "/absent-bucket/k", "", nil, 404, "NoSuchBucket"},
		{"PUT", "/absent-bucket/k", "x", nil, 404, "NoSuchBucket"},
		{"GET", "/absent-bucket?list-type=2", "", nil, 404, "NoSuchBucket"},
		{"HEAD", "/absent-bucket", "", nil, 404, ""},
		{"PUT", "/new-bucket", "", nil, 403, "AccessDenied"},
		{"DELETE", "/shop-bucket", "", nil, 403, "AccessDenied"},
		{"GET", "/Shop/k", "", nil, 400, "InvalidBucketName"},
		{"GET", "/10.0.0.1/k", "", nil, 400, "InvalidBucketName"},
		{"GET", "/shop-bucket/a/../b", "", nil, 400, "InvalidArgument"},
		{"GET", "/shop-bucket/%00", "", nil, 400, "InvalidArgument"},
		{"GET", "/shop-bucket/%0a", "", nil, 400, "InvalidArgument"},
		{"GET", "/shop-bucket/%ff", "", nil, 400, "InvalidArgument"},
		{"GET", "/shop-bucket/" + strings.Repeat("k", 1025), "", nil, 400, "KeyTooLongError"},
		{"PUT", "/shop-bucket/" + strings.Repeat("a/", 65) + "k", "x", nil, 400, "InvalidArgument"},
		{"PUT", "/shop-bucket/" + strings.Repeat("/", 1024), "x", nil, 400, "InvalidArgument"},
		{"GET", "/shop-bucket", "", nil, 501, "NotImplemented"},
		{"POST", "/shop-bucket?delete", "", nil, 501, "NotImplemented"},
		{"POST", "/shop-bucket/k?uploads", "", nil, 501, "NotImplemented"},
		{"PUT", "/shop-bucket/k?acl", "", nil, 501, "NotImplemented"},
		{"PUT", "/shop-bucket/k?partNumber=1&uploadId=x", "", nil, 501, "NotImplemented"},
		{"GET", "/shop-bucket/k?versionId=1", "", nil, 501, "NotImplemented"},
		{"GET", "/shop-bucket/k?response-content-type=text%2Fhtml", "", nil, 501, "NotImplemented"},
		{"PATCH", "/shop-bucket/k", "", nil, 405, "MethodNotAllowed"},
		{"PUT", "/", "", nil, 405, "MethodNotAllowed"},
		{"PUT", "/shop-bucket/k", "", []string{"X-Amz-Copy-Source", "/other-bucket/k"}, 501, "NotImplemented"},
		{"PUT", "/shop-bucket/k", "", []string{"X-Amz-Acl", "public-read"}, 400, "AccessControlListNotSupported"},
		{"PUT", "/shop-bucket/k", "", []string{"X-Amz-Server-Side-Encryption", "aws:kms"}, 501, "NotImplemented"},
		{"PUT", "/shop-bucket/k", "", []string{"X-Amz-Storage-Class", "GLACIER"}, 400, "InvalidStorageClass"},
		{"PUT", "/shop-bucket/k", "", []string{"X-Amz-Expected-Bucket-Owner", "other"}, 403, "AccessDenied"},
		{"PUT", "/shop-bucket/k", "x", []string{"Content-Md5", "bm90IGFuIG1kNQ=="}, 400, "InvalidDigest"},
		{"PUT", "/shop-bucket/k", "x", []string{"Content-Md5", "1B2M2Y8AsgTpgAmY7PhCfg=="}, 400, "BadDigest"},
		{"PUT", "/shop-bucket/k", "x", []string{"X-Amz-Content-Sha256", strings.Repeat("0", 64)}, 400, "XAmzContentSHA256Mismatch"},
		{"PUT", "/shop-bucket/k", "x", []string{"X-Amz-Content-Sha256", "nonsense"}, 400, "InvalidArgument"},
		{"PUT", "/shop-bucket/k", "x", []string{"X-Amz-Checksum-Crc32", "AAAAAA=="}, 400, "BadDigest"},
		{"PUT", "/shop-bucket/k", "x", []string{"X-Amz-Checksum-Xxhash3", "AAAAAA=="}, 501, "NotImplemented"},
		{"PUT", "/shop-bucket/k", "x", []string{"X-Amz-Meta-Long", strings.Repeat("m", 5000)}, 400, "MetadataTooLarge"},
		{"PUT", "/shop-bucket/k", "x", []string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, 411, "MissingContentLength"},
		{"PUT", "/shop-bucket/k", strings.Repeat("x", 16<<20+1), nil, 400, "EntityTooLarge"},
		{"GET", "/shop-bucket?list-type=2&prefix=" + strings.Repeat("a/", 600), "", nil, 400, "InvalidArgument"},
		{"GET", "/shop-bucket?list-type=2&max-keys=-1", "", nil, 400, "InvalidArgument"},
		{"GET", "/shop-bucket?list-type=2&continuation-token=%25", "", nil, 400, "InvalidArgument"},
		{"GET", "/shop-bucket?list-type=2&prefix=a&prefix=b", "", nil, 400, "InvalidArgument"},
	} {
		a := h.do(h.root, c.method, c.path, c.body, c.headers...)
		a.is(t, fmt.Sprintf("%s %.60s %v", c.method, c.path, c.headers), c.status, c.code)
	}
	if a := h.do(h.root, "GET", "/shop-bucket/k", ""); a.body != "x" {
		t.Errorf("a refused request changed the object to %q", a.body)
	}
	if a := h.do(h.root, "GET", "/shop-bucket?list-type=2", ""); strings.Count(a.body, "<Key>") != 1 {
		t.Errorf("a refused request left an object: %s", a.body)
	}
}

func TestConditions(t *testing.T) {
	h := newHouse(t)
	tag := h.put("k", "one").header.Get("ETag")
	h.clock.Advance(time.Hour)
	before, at, after := "Sun, 22 Nov 2026 09:00:00 GMT", "Sun, 22 Nov 2026 10:00:00 GMT", "Sun, 22 Nov 2026 11:00:00 GMT"
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{[]string{"If-Match", tag}, 200}, {[]string{"If-Match", strings.Trim(tag, `"`)}, 200}, {[]string{"If-Match", `"x", ` + tag}, 200}, {[]string{"If-Match", "*"}, 200}, {[]string{"If-Match", `"x"`}, 412},
		{[]string{"If-None-Match", tag}, 304}, {[]string{"If-None-Match", "*"}, 304}, {[]string{"If-None-Match", `"x"`}, 200},
		{[]string{"If-Modified-Since", before}, 200}, {[]string{"If-Modified-Since", at}, 304}, {[]string{"If-Modified-Since", after}, 304}, {[]string{"If-Modified-Since", "nonsense"}, 200},
		{[]string{"If-Unmodified-Since", before}, 412}, {[]string{"If-Unmodified-Since", at}, 200},
		{[]string{"If-None-Match", `"x"`, "If-Modified-Since", after}, 200}, {[]string{"If-Match", tag, "If-Unmodified-Since", before}, 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := h.do(h.root, method, "/shop-bucket/k", "", c.headers...)
			if a.status != c.status || a.status != 412 && a.header.Get("ETag") != tag || a.status == 304 && a.body != "" {
				t.Errorf("%s %v: %d, want %d; ETag %s", method, c.headers, a.status, c.status, a.header.Get("ETag"))
			}
		}
	}
	h.do(h.root, "PUT", "/shop-bucket/k", "two", "If-None-Match", "*").is(t, "create over it", 412, "PreconditionFailed")
	h.do(h.root, "PUT", "/shop-bucket/k", "two", "If-None-Match", tag).is(t, "if-none-match with a tag", 501, "NotImplemented")
	h.do(h.root, "PUT", "/shop-bucket/k", "two", "If-Match", `"x"`).is(t, "if-match of another", 412, "PreconditionFailed")
	h.do(h.root, "PUT", "/shop-bucket/absent", "two", "If-Match", tag).is(t, "if-match of nothing", 404, "NoSuchKey")
	h.do(h.root, "PUT", "/shop-bucket/k", "two", "If-Match", tag).is(t, "if-match", 200, "")
	h.do(h.root, "PUT", "/shop-bucket/new", "x", "If-None-Match", "*").is(t, "create", 200, "")
	if a := h.do(h.root, "GET", "/shop-bucket/k", ""); a.body != "two" {
		t.Errorf("the object is %q", a.body)
	}
}

func TestRanges(t *testing.T) {
	h := newHouse(t)
	tag := h.put("k", "0123456789").header.Get("ETag")
	h.put("empty", "")
	h.put("large", strings.Repeat("0123456789", 10_000))
	for _, c := range []struct {
		key, spec    string
		status       int
		body, range_ string
	}{
		{"k", "bytes=0-3", 206, "0123", "bytes 0-3/10"}, {"k", "bytes=7-", 206, "789", "bytes 7-9/10"}, {"k", "bytes=-2", 206, "89", "bytes 8-9/10"}, {"k", "bytes=8-100", 206, "89", "bytes 8-9/10"},
		{"k", "bytes=-100", 200, "0123456789", ""}, {"k", "bytes=0-", 200, "0123456789", ""}, {"k", "bytes=10-", 416, "", "bytes */10"}, {"k", "bytes=-0", 416, "", "bytes */10"},
		{"k", "bytes=3-1", 200, "0123456789", ""}, {"k", "bytes=0-1,3-4", 200, "0123456789", ""}, {"k", "items=0-1", 200, "0123456789", ""}, {"k", "bytes=-", 200, "0123456789", ""},
		{"k", "bytes=99999999999999999999-", 200, "0123456789", ""}, {"empty", "bytes=0-", 416, "", "bytes */0"}, {"empty", "bytes=-1", 416, "", "bytes */0"},
		{"large", "bytes=99990-99999", 206, "0123456789", "bytes 99990-99999/100000"},
	} {
		a := h.do(h.root, "GET", "/shop-bucket/"+c.key, "", "Range", c.spec)
		if a.status != c.status || a.status != 416 && a.body != c.body || a.header.Get("Content-Range") != c.range_ {
			t.Errorf("%s %s: %d %q %q", c.key, c.spec, a.status, a.body, a.header.Get("Content-Range"))
		}
	}
	if a := h.do(h.root, "GET", "/shop-bucket/k", "", "Range", "bytes=0-1", "If-Range", `"x"`); a.status != 200 {
		t.Errorf("If-Range of another object: %d", a.status)
	}
	if a := h.do(h.root, "GET", "/shop-bucket/k", "", "Range", "bytes=0-1", "If-Range", tag); a.status != 206 {
		t.Errorf("If-Range: %d", a.status)
	}
}

func TestNoSignatureNoAnswer(t *testing.T) {
	h := newHouse(t)
	h.put("k", "x")
	bare, err := http.NewRequest("GET", h.url+"/shop-bucket/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	h.send(bare).is(t, "anonymous", 403, "AccessDenied")
	unknown, wrong := h.root, h.root
	unknown.id = "MMAAAAAAAAAAAAAAAAAA"
	wrong.secret = redact.New("wrong")
	a, b := h.do(unknown, "GET", "/shop-bucket/k", ""), h.do(wrong, "GET", "/shop-bucket/k", "")
	a.is(t, "unknown key", 403, "SignatureDoesNotMatch")
	cut := func(s string) string { s, _, _ = strings.Cut(s, "<RequestId>"); return s }
	if b.status != a.status || cut(a.body) != cut(b.body) {
		t.Errorf("an unknown key and a wrong secret can be told apart:\n%s\n%s", a.body, b.body)
	}
	foreign := accessKey{"AKIAIOSFODNN7EXAMPLE", h.root.secret}
	h.do(foreign, "PATCH", "/shop-bucket/k", "").is(t, "a stranger asks for nonsense", 403, "SignatureDoesNotMatch")

	r := h.request(h.root, "GET", "/shop-bucket/k", "")
	r.Header.Set("X-Amz-Meta-Added", "x")
	h.send(r).is(t, "a header that is not signed", 403, "AccessDenied")
	r = h.request(h.root, "PUT", "/shop-bucket/k", "x", "X-Amz-Acl", "private")
	r.Header.Set("X-Amz-Acl", "bucket-owner-full-control")
	h.send(r).is(t, "a header that was changed", 403, "SignatureDoesNotMatch")
	r = h.request(h.root, "GET", "/shop-bucket/k", "")
	h.clock.Advance(16 * time.Minute)
	h.send(r).is(t, "an old request", 403, "RequestTimeTooSkewed")
}

func (h *house) presign(k accessKey, method, pathAndQuery string, seconds int) string {
	h.t.Helper()
	r, err := http.NewRequest(method, h.url+pathAndQuery, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	q := r.URL.Query()
	q.Set("X-Amz-Expires", fmt.Sprint(seconds))
	r.URL.RawQuery = q.Encode()
	u, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret.Reveal()}, r, "UNSIGNED-PAYLOAD", "s3", "eu-central-1", h.clock.Now(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

func (h *house) plain(method, url, body string) answer {
	h.t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	return h.send(r)
}

func TestPresigned(t *testing.T) {
	h := newHouse(t)
	put, get := h.presign(h.root, "PUT", "/shop-bucket/a%20b/%C3%A4%2B.json", 60), h.presign(h.root, "GET", "/shop-bucket/a%20b/%C3%A4%2B.json", 604800)
	h.plain("PUT", put, "hello").is(t, "presigned put", 200, "")
	if a := h.plain("GET", get, ""); a.status != 200 || a.body != "hello" {
		t.Errorf("presigned get: %d %s", a.status, a.body)
	}
	h.plain("PUT", get, "x").is(t, "another method", 403, "SignatureDoesNotMatch")
	h.plain("GET", strings.Replace(get, "%20b", "%20c", 1), "").is(t, "another key", 403, "SignatureDoesNotMatch")
	h.plain("GET", get+"&X-Amz-Expires=1", "").is(t, "a parameter twice", 400, "InvalidArgument")
	h.plain("GET", get+"&prefix=x", "").is(t, "a parameter more", 403, "SignatureDoesNotMatch")
	h.plain("GET", h.presign(h.root, "GET", "/shop-bucket/k", 604801), "").is(t, "longer than a week", 400, "AuthorizationQueryParametersError")
	h.clock.Advance(61 * time.Second)
	h.plain("PUT", put, "x").is(t, "expired", 403, "AccessDenied")
	if log := h.log.String(); strings.Contains(log, "X-Amz-Signature") || strings.Contains(log, "Credential") || !strings.Contains(log, `"presigned":true`) || !strings.Contains(log, `"operation":"GetObject"`) {
		t.Errorf("log:\n%s", log)
	}
}

// brokenBody is a body that fails after a few bytes, as when the client goes away.
type brokenBody struct {
	io.Reader
	err error
}

func (b brokenBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		err = b.err
	}
	return n, err
}

func (brokenBody) Close() error { return nil }

func TestBodyThatBreaksOff(t *testing.T) {
	h := newHouse(t)
	h.put("k", "old")
	for err, code := range map[error]string{io.ErrUnexpectedEOF: "IncompleteBody", os.ErrDeadlineExceeded: "RequestTimeout", errors.New("connection reset"): "IncompleteBody"} {
		r := h.request(h.root, "PUT", "/shop-bucket/k", "new object")
		r.Body = brokenBody{strings.NewReader("new"), err}
		w := httptest.NewRecorder()
		h.server.ServeHTTP(w, r)
		answer{w.Code, w.Header(), w.Body.String()}.is(t, err.Error(), 400, code)
	}
	if a := h.do(h.root, "GET", "/shop-bucket/k", ""); a.body != "old" {
		t.Errorf("the object is %q", a.body)
	}
}
