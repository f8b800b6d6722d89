package s3api_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"net/http"
	"strings"
	"testing"
)

const (
	signedStream   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	unsignedStream = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func sha(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func crc(s string) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(s))))
}

// stream makes a request whose body goes in chunks; announced is the size that it tells.
func (h *house) stream(how, path string, announced int, headers ...string) *http.Request {
	h.t.Helper()
	return h.request(h.root, "PUT", path, "", append([]string{"X-Amz-Content-Sha256", how, "X-Amz-Decoded-Content-Length", fmt.Sprint(announced), "Content-Encoding", "aws-chunked"}, headers...)...)
}

// withBody gives a signed request its body afterwards. The length was signed as 0 and must not be sent so.
func withBody(r *http.Request, body string) *http.Request {
	r.ContentLength = int64(len(body))
	r.Body = http.NoBody
	if body != "" {
		r.Body = readCloser{strings.NewReader(body)}
	}
	return r
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// chunkBody signs each chunk after the signature of the request.
func (h *house) chunkBody(r *http.Request, chunks ...string) string {
	auth := r.Header.Get("Authorization")
	previous := auth[strings.LastIndex(auth, "=")+1:]
	date := r.Header.Get("X-Amz-Date")
	scope := date[:8] + "/us-east-1/s3/aws4_request"
	key := []byte("AWS4" + h.root.secret.Reveal())
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	var b strings.Builder
	for _, c := range append(chunks, "") {
		previous = hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256-PAYLOAD\n"+date+"\n"+scope+"\n"+previous+"\n"+sha("")+"\n"+sha(c)))
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n%s\r\n", len(c), previous, c)
	}
	return b.String()
}

func TestStreamedBodies(t *testing.T) {
	h := newHouse(t)
	first, second := strings.Repeat("a", 8192), "the rest"
	whole := first + second

	r := h.stream(signedStream, "/shop-bucket/signed", len(whole))
	h.send(withBody(r, h.chunkBody(r, first, second))).is(t, "signed chunks", 200, "")
	if a := h.do(h.root, "GET", "/shop-bucket/signed", ""); a.body != whole || a.header.Get("Content-Encoding") != "" {
		t.Errorf("%d bytes came back, encoding %q", len(a.body), a.header.Get("Content-Encoding"))
	}
	trailer := "x-amz-checksum-crc32"
	plain := fmt.Sprintf("%x\r\n%s\r\n0\r\n%s:%s\r\n\r\n", len(whole), whole, trailer, crc(whole))
	a := h.send(withBody(h.stream(unsignedStream, "/shop-bucket/trailer", len(whole), "X-Amz-Trailer", trailer), plain))
	a.is(t, "a trailing checksum", 200, "")
	if a.header.Get(trailer) != crc(whole) {
		t.Errorf("the answer does not confirm the checksum: %v", a.header)
	}

	tampered := func(f func(string) string) string {
		r = h.stream(signedStream, "/shop-bucket/bad", len(whole))
		return f(h.chunkBody(r, first, second))
	}
	body := tampered(func(s string) string { return strings.Replace(s, "the rest", "the test", 1) })
	h.send(withBody(r, body)).is(t, "a changed chunk", 403, "SignatureDoesNotMatch")
	body = tampered(func(s string) string { return s[:strings.LastIndex(s, "0;chunk-signature")] })
	h.send(withBody(r, body)).is(t, "the last chunk is missing", 400, "IncompleteBody")
	body = tampered(func(s string) string { return s })
	r.Header.Set("X-Amz-Decoded-Content-Length", "5")
	h.send(withBody(r, body)).is(t, "another length than signed", 403, "SignatureDoesNotMatch")

	for what, c := range map[string]struct {
		announced int
		headers   []string
		body      string
		status    int
		code      string
	}{
		"wrong checksum":         {len(whole), []string{"X-Amz-Trailer", trailer}, strings.Replace(plain, crc(whole), crc("x"), 1), 400, "BadDigest"},
		"more than announced":    {5, []string{"X-Amz-Trailer", trailer}, plain, 400, "IncompleteBody"},
		"less than announced":    {len(whole) + 1, []string{"X-Amz-Trailer", trailer}, plain, 400, "IncompleteBody"},
		"trailer not sent":       {len(whole), []string{"X-Amz-Trailer", trailer}, strings.Replace(plain, trailer+":"+crc(whole)+"\r\n", "", 1), 400, "MalformedTrailerError"},
		"trailer not announced":  {len(whole), nil, plain, 400, "MalformedTrailerError"},
		"unknown trailer":        {len(whole), []string{"X-Amz-Trailer", "x-amz-meta-late"}, plain, 400, "InvalidArgument"},
		"too large":              {16<<20 + 1, []string{"X-Amz-Trailer", trailer}, plain, 400, "EntityTooLarge"},
		"header and trailer":     {len(whole), []string{"X-Amz-Trailer", trailer, trailer, crc(whole)}, plain, 400, "InvalidArgument"},
		"not chunked at all":     {len(whole), nil, whole, 400, "InvalidRequest"},
		"a chunk without an end": {1 << 20, nil, "fffff\r\nabc", 400, "IncompleteBody"},
		"chunks without content": {0, nil, strings.Repeat("1\r\na\r\n", 3), 400, "IncompleteBody"},
	} {
		h.send(withBody(h.stream(unsignedStream, "/shop-bucket/bad", c.announced, c.headers...), c.body)).is(t, what, c.status, c.code)
	}
	h.do(h.root, "GET", "/shop-bucket/bad", "").is(t, "nothing of them is there", 404, "NoSuchKey")
}
