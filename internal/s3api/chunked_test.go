package s3api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var chunkScope = scope{"20130524", "us-east-1", "s3"}

func exampleSigner(seed string) *chunkSigner {
	return &chunkSigner{key: chunkScope.signingKey(s3Secret), date: "20130524T000000Z", scope: chunkScope, previous: seed}
}

// The S3 documentation's examples: 66560 bytes "a" in chunks of 64 KiB, 1 KiB and nothing.
func exampleBody(signatures [3]string, trailer string) string {
	return fmt.Sprintf("10000;chunk-signature=%s\r\n%s\r\n400;chunk-signature=%s\r\n%s\r\n0;chunk-signature=%s\r\n%s\r\n",
		signatures[0], strings.Repeat("a", 65536), signatures[1], strings.Repeat("a", 1024), signatures[2], trailer)
}

const seedSignature = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"

var documented = [3]string{"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"}

const trailerSeed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"

var documentedTrailer = [3]string{"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2", "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"}

const exampleTrailer = "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"

func TestDocumentedChunks(t *testing.T) {
	want := bytes.Repeat([]byte("a"), 66560)
	for name, c := range map[string]*chunkedReader{
		"signed":         newChunkedReader(strings.NewReader(exampleBody(documented, "")), exampleSigner(seedSignature), nil),
		"one byte reads": newChunkedReader(iotest.OneByteReader(strings.NewReader(exampleBody(documented, ""))), exampleSigner(seedSignature), nil),
		"signed trailer": newChunkedReader(strings.NewReader(exampleBody(documentedTrailer, exampleTrailer)), exampleSigner(trailerSeed), []string{"x-amz-checksum-crc32c"}),
	} {
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestChunksThatWereChangedAreRefused(t *testing.T) {
	for name, body := range map[string]string{
		"data":            strings.Replace(exampleBody(documented, ""), "aaaa", "aaab", 1),
		"last data":       strings.Replace(exampleBody(documented, ""), "a\r\n0;", "b\r\n0;", 1),
		"last signature":  exampleBody([3]string{documented[0], documented[1], documented[0]}, ""),
		"order":           exampleBody([3]string{documented[1], documented[0], documented[2]}, ""),
		"cut off":         strings.TrimSuffix(exampleBody(documented, ""), "0;chunk-signature="+documented[2]+"\r\n\r\n"),
		"no last line":    strings.TrimSuffix(exampleBody(documented, ""), "\r\n"),
		"more":            exampleBody(documented, "") + "x",
		"unsigned chunk":  "3\r\nabc\r\n0\r\n\r\n",
		"trailer":         exampleBody(documented, "x-amz-checksum-crc32c:sOO8/Q==\r\n"),
		"bare newline":    strings.Replace(exampleBody(documented, ""), "\r\n", "\n", 1),
		"negative":        "-1;chunk-signature=" + documented[0] + "\r\n",
		"too large":       "fffffffffffffffff;chunk-signature=" + documented[0] + "\r\n",
		"overflow":        "ffffffffffffffff;chunk-signature=" + documented[0] + "\r\n",
		"other extension": "3;x=y\r\nabc\r\n",
		"long line":       strings.Repeat("0", 5000),
		"empty":           "",
	} {
		_, err := io.ReadAll(newChunkedReader(strings.NewReader(body), exampleSigner(seedSignature), nil))
		var e *apiError
		if !errors.As(err, &e) || e.status >= 500 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnsignedChunksAndTrailers(t *testing.T) {
	for _, c := range []struct {
		body, want string
		declared   []string
		ok         bool
	}{
		{"3\r\nabc\r\n0\r\n\r\n", "abc", nil, true},
		{"3\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32: q83vNA==\r\n\r\n", "abc0123456789", []string{"x-amz-checksum-crc32"}, true},
		{"0\r\nX-Amz-Checksum-Crc32:AAAAAA==\r\n\r\n", "", []string{"x-amz-checksum-crc32"}, true},
		{"0\r\n\r\n", "", []string{"x-amz-checksum-crc32"}, false},
		{"0\r\nx-amz-checksum-sha1:x\r\n\r\n", "", []string{"x-amz-checksum-crc32"}, false},
		{"0\r\na:1\r\na:1\r\n\r\n", "", []string{"a"}, false},
		{"0\r\nx-amz-trailer-signature:x\r\n\r\n", "", nil, false},
		{"3;chunk-signature=" + documented[0] + "\r\nabc\r\n0\r\n\r\n", "", nil, false},
	} {
		r := newChunkedReader(strings.NewReader(c.body), nil, c.declared)
		got, err := io.ReadAll(r)
		if c.ok != (err == nil) || c.ok && string(got) != c.want {
			t.Errorf("%q: %q, %v", c.body, got, err)
		}
		if c.ok && len(r.trailers) != len(c.declared) {
			t.Errorf("%q: trailers %v", c.body, r.trailers)
		}
	}
}

func FuzzChunkedReader(f *testing.F) {
	seeds := []string{exampleBody(documented, ""), "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:q83vNA==\r\n\r\n", "0\r\n\r\n", "ffffffffffff\r\n"}
	for _, s := range seeds {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, signed bool) {
		var signer *chunkSigner
		if signed {
			signer = exampleSigner(seedSignature)
		}
		r := newChunkedReader(bytes.NewReader(body), signer, []string{"x-amz-checksum-crc32"}[:len(body)%2])
		got, err := io.ReadAll(r)
		if len(got) > len(body) {
			t.Fatalf("%d bytes came out of %d", len(got), len(body))
		}
		if err == nil && signed && !bytes.Contains(body, []byte(documented[0])) && len(got) > 0 {
			t.Fatalf("accepted data that nobody signed: %q", got)
		}
		if n, again := r.Read(make([]byte, 1)); n != 0 || again == nil {
			t.Fatalf("reads on after the end: %d, %v", n, again)
		}
	})
}
