package s3api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/redact"
)

// This file checks AWS Signature Version 4, by header and by presigned query, as
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html has it. For S3 the path is
// escaped once and never normalised.

const (
	algorithm       = "AWS4-HMAC-SHA256"
	amzTime         = "20060102T150405Z"
	maxSkew         = 15 * time.Minute
	maxExpires      = 7 * 24 * time.Hour
	unsignedPayload = "UNSIGNED-PAYLOAD"
	emptySHA256     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// param is one pair of a query, unescaped.
type param struct{ name, value string }

// query is the pairs of a query in the order in which they came. No name is there twice.
type query []param

func (q query) get(name string) string {
	v, _ := q.lookup(name)
	return v
}

func (q query) lookup(name string) (string, bool) {
	for _, p := range q {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

// maxParams bounds a query; no operation has half as many.
const maxParams = 32

// parseQuery takes a raw query apart. A name that comes twice is refused, because the one that was checked and the one
// that is used must be the same; so are broken escapes and what is not UTF-8.
func parseQuery(raw string) (query, *apiError) {
	if raw == "" {
		return nil, nil
	}
	var q query
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, refuse(400, "InvalidURI", "The query is not well-formed.")
		}
		if _, twice := q.lookup(name); twice {
			return nil, invalidArgument("A query parameter is given twice.")
		}
		if len(q) == maxParams {
			return nil, invalidArgument("There are too many query parameters.")
		}
		q = append(q, param{name, value})
	}
	return q, nil
}

const upperHex = "0123456789ABCDEF"

// escape is AWS's UriEncode: every byte but the unreserved characters of RFC 3986, and the slash if it is to stay.
func escape(s string, keepSlash bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

// canonicalQuery sorts by the escaped names and leaves the signature itself out.
func canonicalQuery(q query) string {
	escaped := make([]param, 0, len(q))
	for _, p := range q {
		if p.name != "X-Amz-Signature" {
			escaped = append(escaped, param{escape(p.name, false), escape(p.value, false)})
		}
	}
	slices.SortFunc(escaped, func(a, b param) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	for i, p := range escaped {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String()
}

// canonicalRequest is the text whose hash is signed. signed is lower-case and sorted.
func canonicalRequest(method, path string, q query, host string, h http.Header, signed []string, payload string) string {
	var b strings.Builder
	b.WriteString(method + "\n" + escape(path, true) + "\n" + canonicalQuery(q) + "\n")
	for _, name := range signed {
		b.WriteString(name + ":")
		values := h.Values(name)
		if name == "host" {
			values = []string{host}
		}
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.Join(strings.Fields(v), " "))
		}
		b.WriteByte('\n')
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + payload)
	return b.String()
}

func hmacSHA256(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// scope is where and when a signing key is good.
type scope struct{ day, region, service string }

func (s scope) String() string { return s.day + "/" + s.region + "/" + s.service + "/aws4_request" }

func (s scope) signingKey(secret redact.Secret) []byte {
	key := hmacSHA256(append([]byte("AWS4"), secret.Bytes()...), s.day)
	return hmacSHA256(hmacSHA256(hmacSHA256(key, s.region), s.service), "aws4_request")
}

// sign is the signature of a request.
func sign(key []byte, date string, sc scope, canonical string) string {
	return hex.EncodeToString(hmacSHA256(key, algorithm+"\n"+date+"\n"+sc.String()+"\n"+hexSHA256([]byte(canonical))))
}

// claim is what a request says about its own signature.
type claim struct {
	keyID     string
	scope     scope
	signed    []string // names of the signed headers, lower-case, sorted, each once
	signature string
	date      string // as sent
	at        time.Time
	expires   time.Duration // of a presigned request
	presigned bool
	payload   string // the hash of the body, or a word that says how the body is signed
}

// parseClaim reads the signature of a request, by header or by query, and checks everything about it that needs no
// secret.
func parseClaim(h http.Header, q query, now time.Time) (claim, *apiError) {
	if e := oneMechanism(h, q); e != nil {
		return claim{}, e
	}
	var c claim
	var e *apiError
	if _, c.presigned = q.lookup("X-Amz-Algorithm"); c.presigned {
		c, e = claimOfQuery(h, q)
	} else {
		c, e = claimOfHeader(h)
	}
	if e != nil {
		return claim{}, e
	}
	if c.at, e = parseTime(c.date, c.scope.day); e != nil {
		return claim{}, e
	}
	if e := c.inTime(now); e != nil {
		return claim{}, e
	}
	return c, c.checkSigned(h)
}

// oneMechanism refuses what is not signed at all, signed twice, or signed with something else.
func oneMechanism(h http.Header, q query) *apiError {
	auth := h.Values("Authorization")
	_, presigned := q.lookup("X-Amz-Algorithm")
	_, v2 := q.lookup("AWSAccessKeyId")
	switch {
	case len(auth) > 1, len(auth) == 1 && (presigned || v2):
		return invalidArgument("Only one authentication mechanism is allowed: the Authorization header or a signed query.")
	case v2, len(auth) == 1 && !strings.HasPrefix(auth[0], algorithm+" "):
		return refuse(400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	case len(auth) == 0 && !presigned:
		return errAnonymous
	}
	for _, name := range []string{"X-Amz-Security-Token"} {
		if _, inQuery := q.lookup(name); inQuery || h.Get(name) != "" {
			return refuse(400, "InvalidToken", "This endpoint knows no session tokens: use an access key without one.")
		}
	}
	return nil
}

func malformed(c claim, message string) *apiError {
	if c.presigned {
		return refuse(400, "AuthorizationQueryParametersError", message)
	}
	return refuse(400, "AuthorizationHeaderMalformed", message)
}

func claimOfHeader(h http.Header) (c claim, e *apiError) {
	seen := map[string]string{}
	for part := range strings.SplitSeq(strings.TrimPrefix(h.Get("Authorization"), algorithm+" "), ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := seen[name]; !ok || twice || len(seen) == 3 {
			return c, malformed(c, "The Authorization header must hold Credential, SignedHeaders and Signature, once each.")
		}
		seen[name] = value
	}
	c.date, c.payload = h.Get("X-Amz-Date"), h.Get("X-Amz-Content-Sha256")
	if c.payload == "" {
		return c, refuse(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256.")
	}
	return c.fill(seen["Credential"], seen["SignedHeaders"], seen["Signature"])
}

func claimOfQuery(h http.Header, q query) (c claim, e *apiError) {
	c.presigned, c.date = true, q.get("X-Amz-Date")
	if q.get("X-Amz-Algorithm") != algorithm {
		return c, malformed(c, "X-Amz-Algorithm only supports AWS4-HMAC-SHA256.")
	}
	seconds, err := strconv.ParseUint(q.get("X-Amz-Expires"), 10, 32)
	c.expires = time.Duration(seconds) * time.Second
	if err != nil || c.expires < time.Second || c.expires > maxExpires {
		return c, malformed(c, "X-Amz-Expires must be between 1 and 604800 seconds.")
	}
	c.payload = unsignedPayload
	if v := h.Get("X-Amz-Content-Sha256"); v != "" {
		c.payload = v
	} else if v := q.get("X-Amz-Content-Sha256"); v != "" {
		c.payload = v
	}
	return c.fill(q.get("X-Amz-Credential"), q.get("X-Amz-SignedHeaders"), q.get("X-Amz-Signature"))
}

// fill takes the three parts apart that header and query share.
func (c claim) fill(credential, signed, signature string) (claim, *apiError) {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != "aws4_request" || !word(parts[0], 128) || !word(parts[2], 64) || len(parts[1]) != 8 || !decimal(parts[1]) {
		return c, malformed(c, "The credential must be <access key id>/<YYYYMMDD>/<region>/s3/aws4_request.")
	}
	c.keyID, c.scope = parts[0], scope{day: parts[1], region: parts[2], service: parts[3]}
	if c.scope.service != "s3" {
		return c, malformed(c, "The credential is not scoped to the service s3.")
	}
	if len(signature) != 64 || !lowerHex(signature) {
		return c, malformed(c, "The signature must be 64 lower-case hexadecimal digits.")
	}
	c.signature, c.signed = signature, strings.Split(signed, ";")
	if len(c.signed) > 64 || !slices.IsSorted(c.signed) || len(slices.Compact(slices.Clone(c.signed))) != len(c.signed) {
		return c, malformed(c, "SignedHeaders must be sorted, and name no header twice.")
	}
	for _, name := range c.signed {
		if !word(name, 128) || strings.ToLower(name) != name {
			return c, malformed(c, "SignedHeaders must be lower-case names of headers.")
		}
	}
	return c, nil
}

func parseTime(date, day string) (time.Time, *apiError) {
	at, err := time.Parse(amzTime, date)
	if err != nil || at.Format(amzTime) != date {
		return at, refuse(403, "AccessDenied", "The request needs the time of its signature: X-Amz-Date as YYYYMMDDTHHMMSSZ.")
	}
	if date[:8] != day {
		return at, refuse(400, "AuthorizationHeaderMalformed", "The day of the credential is not that of X-Amz-Date.")
	}
	return at, nil
}

// inTime bounds how long a signature that somebody overheard is of use.
func (c claim) inTime(now time.Time) *apiError {
	switch {
	case c.presigned && c.at.After(now.Add(maxSkew)):
		return refuse(403, "AccessDenied", "The request is not yet valid.")
	case c.presigned && now.After(c.at.Add(c.expires)):
		return refuse(403, "AccessDenied", "Request has expired.")
	case !c.presigned && (now.Sub(c.at) > maxSkew || c.at.Sub(now) > maxSkew):
		return refuse(403, "RequestTimeTooSkewed", "The difference between the request time and the server's time is too large: synchronise the clock.")
	}
	return nil
}

// checkSigned demands that the signature covers the host and every header that steers S3, each of them sent once:
// otherwise whoever carries the request could change what it does.
func (c claim) checkSigned(h http.Header) *apiError {
	if !slices.Contains(c.signed, "host") {
		return refuse(403, "AccessDenied", "The header host must be signed.")
	}
	for name, values := range h {
		name = strings.ToLower(name)
		if !strings.HasPrefix(name, "x-amz-") {
			continue
		}
		if len(values) != 1 {
			return invalidArgument("The header " + printable(name) + " is given twice.")
		}
		if !slices.Contains(c.signed, name) {
			return refuse(403, "AccessDenied", "There were headers present in the request which were not signed: "+printable(name)+".")
		}
	}
	for _, name := range c.signed {
		if name != "host" && len(h.Values(name)) == 0 {
			return refuse(403, "AccessDenied", "A signed header is missing: "+name+".")
		}
	}
	return nil
}

// verify compares, in constant time, the claimed signature with the one that the secret makes. It returns the signing
// key for what follows in a streamed body. A request for an unknown key comes here too, with a secret that nobody has.
func (c claim) verify(method, path string, q query, host string, h http.Header, secret redact.Secret) (signingKey []byte, ok bool) {
	key := c.scope.signingKey(secret)
	want := sign(key, c.date, c.scope, canonicalRequest(method, path, q, host, h, c.signed, c.payload))
	return key, hmac.Equal([]byte(want), []byte(c.signature))
}

func lowerHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func decimal(s string) bool { return strings.Trim(s, "0123456789") == "" }

// word tells whether s is a name as ids, regions and headers are: letters, digits, hyphens, underscores and dots.
func word(s string, longest int) bool {
	if s == "" || len(s) > longest {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
