package s3api

import (
	"bufio"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/redact"
)

// vector is a request and its signature as AWS published them.
type vector struct {
	name, method, path, rawQuery string
	headers                      [][2]string
	signature                    string
}

const unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// suite is the SigV4 test suite: key AKIDEXAMPLE, service "service", 2015-08-30T12:36:00Z. The cases in which a path is
// normalised are not here: S3 does not normalise.
var suite = []vector{
	{"get-vanilla", "GET", "/", "", nil, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
	{"get-vanilla-empty-query-key", "GET", "/", "Param1=value1", nil, "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
	{"get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", nil, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
	{"get-vanilla-query-order-encoded", "GET", "/", "Param-3=Value3&Param=Value2&%E1%88%B4=Value1", nil, "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
	{"get-vanilla-query-unreserved", "GET", "/", unreserved + "=" + unreserved, nil, "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
	{"get-vanilla-utf8-query", "GET", "/", "ሴ=bar", nil, "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
	{"get-header-key-duplicate", "GET", "/", "", [][2]string{{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}}, "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
	{"get-header-value-order", "GET", "/", "", [][2]string{{"My-Header1", "value4"}, {"My-Header1", "value1"}, {"My-Header1", "value3"}, {"My-Header1", "value2"}}, "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
	{"get-header-value-multiline", "GET", "/", "", [][2]string{{"My-Header1", "value1\n  value2\n     value3"}}, "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd"},
	{"get-header-value-trim", "GET", "/", "", [][2]string{{"My-Header1", " value1"}, {"My-Header2", ` "a   b   c"`}}, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
	{"get-unreserved", "GET", "/" + unreserved, "", nil, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
	{"get-utf8", "GET", "/ሴ", "", nil, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
	{"get-space", "GET", "/example space/", "", nil, "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
	{"post-vanilla", "POST", "/", "", nil, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
	{"post-vanilla-query", "POST", "/", "Param1=value1", nil, "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
	{"post-header-key-sort", "POST", "/", "", [][2]string{{"My-Header1", "value1"}}, "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
	{"post-header-value-case", "POST", "/", "", [][2]string{{"My-Header1", "VALUE1"}}, "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
}

// presignedSuite is the part of the suite with the signature in the query.
var presignedSuite = []vector{
	{"get-vanilla", "GET", "/", "", nil, "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"},
	{"get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", nil, "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"},
	{"get-vanilla-query-order-encoded", "GET", "/", "Param-3=Value3&Param=Value2&%E1%88%B4=Value1", nil, "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787"},
	{"get-header-value-trim", "GET", "/", "", [][2]string{{"My-Header1", " value1"}, {"My-Header2", ` "a   b   c"`}}, "e7bb0fd515e125e1aec2ecc4c0c17484fb06f6846b927c35e46005dd3df3acd4"},
	{"get-utf8", "GET", "/ሴ", "", nil, "10eae3f14a260bd3911cc6d008d3c576d143b05b62f09782a7a4b37f52178e44"},
	{"post-vanilla", "POST", "/", "", nil, "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b"},
}

var suiteSecret = redact.New("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")

func (v vector) signs(presigned bool) (http.Header, []string) {
	h := http.Header{}
	signed := []string{"host"}
	if !presigned {
		h.Set("X-Amz-Date", "20150830T123600Z")
		signed = append(signed, "x-amz-date")
	}
	for _, kv := range v.headers {
		h.Add(kv[0], kv[1])
		signed = append(signed, strings.ToLower(kv[0]))
	}
	slices.Sort(signed)
	return h, slices.Compact(signed)
}

func TestSignatureSuite(t *testing.T) {
	sc := scope{"20150830", "us-east-1", "service"}
	for _, v := range suite {
		h, signed := v.signs(false)
		q, e := parseQuery(v.rawQuery)
		if e != nil {
			t.Fatalf("%s: %v", v.name, e)
		}
		c := claim{scope: sc, date: "20150830T123600Z", signed: signed, payload: emptySHA256, signature: v.signature}
		if _, ok := c.verify(v.method, v.path, q, "example.amazonaws.com", h, suiteSecret); !ok {
			t.Errorf("%s: the published signature is refused; canonical request:\n%s", v.name, canonicalRequest(v.method, v.path, q, "example.amazonaws.com", h, signed, emptySHA256))
		}
		if _, ok := c.verify(v.method, v.path+"x", q, "example.amazonaws.com", h, suiteSecret); ok {
			t.Errorf("%s: the signature is accepted for another path", v.name)
		}
	}
}

func TestSignatureSuitePresigned(t *testing.T) {
	sc := scope{"20150830", "us-east-1", "service"}
	for _, v := range presignedSuite {
		h, signed := v.signs(true)
		q, e := parseQuery(v.rawQuery)
		if e != nil {
			t.Fatalf("%s: %v", v.name, e)
		}
		q = append(q, param{"X-Amz-Algorithm", algorithm}, param{"X-Amz-Credential", "AKIDEXAMPLE/" + sc.String()}, param{"X-Amz-Date", "20150830T123600Z"},
			param{"X-Amz-SignedHeaders", strings.Join(signed, ";")}, param{"X-Amz-Expires", "3600"}, param{"X-Amz-Signature", v.signature})
		c := claim{scope: sc, date: "20150830T123600Z", signed: signed, payload: emptySHA256, signature: v.signature}
		if _, ok := c.verify(v.method, v.path, q, "example.amazonaws.com", h, suiteSecret); !ok {
			t.Errorf("%s: the published signature is refused; query:\n%s", v.name, canonicalQuery(q))
		}
	}
}

// The examples of the S3 documentation, whole requests: key AKIAIOSFODNN7EXAMPLE, 2013-05-24T00:00:00Z.
var s3Secret = redact.New("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")

var s3Time = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

func authorization(signed, signature string) string {
	return "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=" + signed + ",Signature=" + signature
}

func s3Examples() []*http.Request {
	get := func(method, uri, payload, auth string, headers ...string) *http.Request {
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			panic(err)
		}
		r := &http.Request{Method: method, URL: u, Host: "examplebucket.s3.amazonaws.com", Header: http.Header{}}
		if auth != "" {
			r.Header.Set("Authorization", auth)
			r.Header.Set("X-Amz-Date", "20130524T000000Z")
			r.Header.Set("X-Amz-Content-Sha256", payload)
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	return []*http.Request{
		get("GET", "/test.txt", emptySHA256, authorization("host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"), "Range", "bytes=0-9"),
		get("PUT", "/test%24file.text", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072", authorization("date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"), "Date", "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY"),
		get("GET", "/?lifecycle", emptySHA256, authorization("host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")),
		get("GET", "/?max-keys=2&prefix=J", emptySHA256, authorization("host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")),
		get("GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", "", ""),
	}
}

func verifyRequest(r *http.Request, now time.Time, secret redact.Secret) (claim, bool, *apiError) {
	q, e := parseQuery(r.URL.RawQuery)
	if e != nil {
		return claim{}, false, e
	}
	c, e := parseClaim(r.Header, q, now)
	if e != nil {
		return c, false, e
	}
	_, ok := c.verify(r.Method, r.URL.Path, q, r.Host, r.Header, secret)
	return c, ok, nil
}

func TestS3DocumentationExamples(t *testing.T) {
	for _, r := range s3Examples() {
		c, ok, e := verifyRequest(r, s3Time.Add(time.Minute), s3Secret)
		if e != nil || !ok || c.keyID != "AKIAIOSFODNN7EXAMPLE" {
			t.Errorf("%s %s: %+v, accepted %v, %v", r.Method, r.URL, c, ok, e)
		}
		if _, ok, _ := verifyRequest(r, s3Time, redact.New("another")); ok {
			t.Errorf("%s %s: accepted with another secret", r.Method, r.URL)
		}
	}
}

func TestEveryChangeOfASignedRequestIsRefused(t *testing.T) {
	for name, change := range map[string]func(r *http.Request){
		"method":           func(r *http.Request) { r.Method = "DELETE" },
		"path":             func(r *http.Request) { r.URL.Path += "x" },
		"query":            func(r *http.Request) { r.URL.RawQuery += "&versions" },
		"host":             func(r *http.Request) { r.Host = "other" },
		"header":           func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") },
		"header twice":     func(r *http.Request) { r.Header["X-Amz-Acl"] = []string{"a", "b"} },
		"two mechanisms":   func(r *http.Request) { r.Header.Add("Authorization", "Basic eDp5") },
		"session token":    func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "t") },
		"parameter twice":  func(r *http.Request) { r.URL.RawQuery += "&a=1&a=1" },
		"signature twice":  func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=1&X-Amz-Signature=1" },
		"v2 beside v4":     func(r *http.Request) { r.URL.RawQuery += "&AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=x" },
		"bad query escape": func(r *http.Request) { r.URL.RawQuery += "&a=%zz" },
	} {
		for _, r := range s3Examples() {
			change(r)
			if _, ok, e := verifyRequest(r, s3Time, s3Secret); ok && e == nil {
				t.Errorf("%s: %s %s is still accepted", name, r.Method, r.URL)
			}
		}
	}
}

func TestClaimTimes(t *testing.T) {
	header, presigned := s3Examples()[0], s3Examples()[4]
	for _, c := range []struct {
		r    *http.Request
		now  time.Duration
		code string
	}{
		{header, 0, ""}, {header, 15 * time.Minute, ""}, {header, -15 * time.Minute, ""},
		{header, 15*time.Minute + time.Second, "RequestTimeTooSkewed"}, {header, -15*time.Minute - time.Second, "RequestTimeTooSkewed"},
		{presigned, 24 * time.Hour, ""}, {presigned, 24*time.Hour + time.Second, "AccessDenied"}, {presigned, -15 * time.Minute, ""}, {presigned, -16 * time.Minute, "AccessDenied"},
	} {
		_, ok, e := verifyRequest(c.r, s3Time.Add(c.now), s3Secret)
		if c.code == "" && (!ok || e != nil) || c.code != "" && (e == nil || e.code != c.code || e.status != 403) {
			t.Errorf("%s at %v: accepted %v, %v; want %q", c.r.URL, c.now, ok, e, c.code)
		}
	}
}

func TestMalformedClaims(t *testing.T) {
	base := "AWS4-HMAC-SHA256 Credential=AKID/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=" + strings.Repeat("a", 64)
	for from, to := range map[string]string{
		"AWS4-HMAC-SHA256 ": "AWS4-HMAC-SHA512 ", "Credential": "Cred", "AKID/": "/", "/s3/": "/ec2/", "20130524": "20130525", "us-east-1": "us east",
		"aws4_request": "aws4", "SignedHeaders=host;": "SignedHeaders=", "host;x-amz-content-sha256": "x-amz-content-sha256;host", "host;": "host;host;", "host;x": "Host;x",
		", Signature": ", Signature=x, Signature", "Signature=a": "Signature=A", "Signature=aa": "Signature=a", ", Sig": "; Sig", "x-amz-date": "x-amz-date;x-not-sent",
		";x-amz-date": "", "AKID": strings.Repeat("A", 129),
	} {
		r := s3Examples()[3]
		r.Header.Set("Authorization", strings.Replace(base, from, to, 1))
		if _, _, e := verifyRequest(r, s3Time, s3Secret); e == nil || e.status != 400 && e.status != 403 {
			t.Errorf("%q instead of %q: %v", to, from, e)
		}
	}
	raw := s3Examples()[4].URL.RawQuery
	for from, to := range map[string]string{
		"Expires=86400": "Expires=0", "86400": "604801", "=86400": "=-1", "86400&": "&", "X-Amz-Expires=86400&": "", "20130524T000000Z": "20130524", "T000000Z": "T000000",
		"AWS4-HMAC": "AWS3-HMAC", "SignedHeaders=host": "SignedHeaders=", "Signature=aeeed9": "Signature=", "%2Fs3%2F": "%2Fiam%2F",
	} {
		r := s3Examples()[4]
		r.URL.RawQuery = strings.Replace(raw, from, to, 1)
		if _, _, e := verifyRequest(r, s3Time, s3Secret); e == nil {
			t.Errorf("query with %q instead of %q is accepted", to, from)
		}
	}
	if _, _, e := verifyRequest(&http.Request{Method: "GET", URL: &url.URL{Path: "/"}, Header: http.Header{}}, s3Time, s3Secret); e != errAnonymous {
		t.Errorf("anonymous: %v", e)
	}
}

func FuzzClaim(f *testing.F) {
	seeds := s3Examples()
	for _, r := range seeds {
		f.Add(r.URL.RawQuery, r.Header.Get("Authorization"), r.URL.Path)
	}
	if len(seeds) != 5 {
		f.Fatal("the seeds did not load")
	}
	f.Fuzz(func(t *testing.T, rawQuery, auth, path string) {
		q, e := parseQuery(rawQuery)
		if e != nil {
			return
		}
		canonical := canonicalQuery(q)
		again, e := parseQuery(canonical)
		if e != nil || canonicalQuery(again) != canonical {
			t.Fatalf("canonical query %q of %q is not stable: %v", canonical, rawQuery, e)
		}
		if back, err := url.PathUnescape(escape(path, true)); err != nil || back != path {
			t.Fatalf("escape(%q) does not come back: %q, %v", path, back, err)
		}
		h := http.Header{"X-Amz-Date": {"20130524T000000Z"}, "X-Amz-Content-Sha256": {emptySHA256}}
		if auth != "" {
			h.Set("Authorization", auth)
		}
		c, e := parseClaim(h, q, s3Time)
		if e != nil {
			return
		}
		if c.keyID == "" || len(c.signature) != 64 || !slices.Contains(c.signed, "host") {
			t.Fatalf("accepted claim %+v", c)
		}
		if strings.Count(canonicalRequest("GET", path, q, "h", h, c.signed, c.payload), "\n") != len(c.signed)+5 {
			t.Fatalf("the canonical request has another number of lines: a value broke out of its line")
		}
	})
}

func FuzzRequestLine(f *testing.F) {
	seeds := []string{"/bucket/key", "/b%2fk/a+b%20c", "//x", "/a?b=c&d", "/\xff", "/%00", "*", "http://h/bucket/k"}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + uri + " HTTP/1.1\r\nHost: h\r\n\r\n")))
		if err != nil {
			return
		}
		bucket, key, e := splitPath(r.URL.Path)
		if e == nil && key != "" && (!validKey(key) || !ValidBucketName(bucket)) {
			t.Fatalf("%q gives bucket %q, key %q", uri, bucket, key)
		}
	})
}
