package s3api

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/db"
)

const xmlNamespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// xmlTime is how S3 writes a time in a document.
const xmlTime = "2006-01-02T15:04:05.000Z"

// reach answers the bucket if the key may do anything in it; to any other key all buckets look alike.
func (s *Server) reach(x *exchange) (Bucket, error) {
	if !x.accessKey.Rules.touch(x.bucket) {
		return Bucket{}, errAccessDenied
	}
	return s.haveBucket(x)
}

// headBucket serves HeadBucket.
func (s *Server) headBucket(x *exchange) error {
	if _, err := s.reach(x); err != nil {
		return err
	}
	x.Header().Set("X-Amz-Bucket-Region", x.claim.scope.region)
	x.WriteHeader(http.StatusOK)
	return nil
}

// bucketLocation serves GetBucketLocation. There is one place, which S3 writes as nothing.
func (s *Server) bucketLocation(x *exchange) error {
	if _, err := s.reach(x); err != nil {
		return err
	}
	writeXML(x, http.StatusOK, struct {
		XMLName xml.Name `xml:"LocationConstraint"`
		Xmlns   string   `xml:"xmlns,attr"`
	}{Xmlns: xmlNamespace})
	return nil
}

type bucketEntry struct {
	Name         string
	CreationDate string
}

type bucketList struct {
	XMLName xml.Name `xml:"ListAllMyBucketsResult"`
	Xmlns   string   `xml:"xmlns,attr"`
	Owner   struct {
		ID          string
		DisplayName string
	}
	Buckets           []bucketEntry `xml:"Buckets>Bucket"`
	ContinuationToken string        `xml:",omitempty"`
	Prefix            string        `xml:",omitempty"`
}

// listBuckets serves ListBuckets: those in which the key may read or list something.
func (s *Server) listBuckets(x *exchange) error {
	limit, e := limitOf(x.query, "max-buckets")
	if e != nil {
		return e
	}
	after, e := x.token()
	if e != nil {
		return e
	}
	out := bucketList{Xmlns: xmlNamespace, Prefix: x.query.get("prefix")}
	out.Owner.ID, out.Owner.DisplayName = x.accessKey.ID, x.accessKey.Owner
	err := s.db.Read(x.r.Context(), func(tx db.ReadTx) error {
		out.Buckets, out.ContinuationToken = nil, ""
		for {
			page, err := listBuckets(x.r.Context(), tx, after, 1000)
			if err != nil {
				return err
			}
			for _, b := range page {
				after = b.Name
				if !x.accessKey.Rules.see(b.Name) || !strings.HasPrefix(b.Name, out.Prefix) {
					continue
				}
				if len(out.Buckets) == limit {
					out.ContinuationToken = encodeToken(out.Buckets[limit-1].Name)
					return nil
				}
				out.Buckets = append(out.Buckets, bucketEntry{b.Name, b.Created.Format(xmlTime)})
			}
			if len(page) < 1000 {
				return nil
			}
		}
	})
	if err != nil {
		return unavailable(err)
	}
	writeXML(x, http.StatusOK, out)
	return nil
}

type objectEntry struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
	StorageClass string
	Owner        *objectOwner `xml:",omitempty"`
}

type objectOwner struct{ ID, DisplayName string }

type objectList struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Xmlns                 string   `xml:"xmlns,attr"`
	Name                  string
	Prefix                string
	Delimiter             string `xml:",omitempty"`
	MaxKeys               int
	EncodingType          string `xml:",omitempty"`
	KeyCount              int
	IsTruncated           bool
	ContinuationToken     string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	StartAfter            string `xml:",omitempty"`
	Contents              []objectEntry
	CommonPrefixes        []commonPrefix
}

type commonPrefix struct{ Prefix string }

// listObjects serves ListObjectsV2.
func (s *Server) listObjects(x *exchange) error {
	l := listing{prefix: x.query.get("prefix"), delimiter: x.query.get("delimiter"), startAfter: x.query.get("start-after")}
	if err := x.may(List, l.prefix); err != nil {
		return err
	}
	if len(l.prefix) > maxKey || len(l.startAfter) > maxKey || len(l.delimiter) > maxKey {
		return invalidArgument("Prefix, delimiter and start-after are at most as long as a key, 1024 bytes.")
	}
	var e *apiError
	if l.limit, e = limitOf(x.query, "max-keys"); e != nil {
		return e
	}
	if l.token, e = x.token(); e != nil {
		return e
	}
	encode := func(s string) string { return s }
	switch v := x.query.get("encoding-type"); v {
	case "":
	case "url":
		encode = func(s string) string { return escape(s, true) }
	default:
		return invalidArgument("Invalid Encoding Method specified in Request: only url is known.")
	}
	bucket, err := s.haveBucket(x)
	if err != nil {
		return err
	}
	lines, next, err := s.disk.list(x.r.Context(), x.bucket, l)
	if err != nil {
		return err
	}
	out := objectList{
		Xmlns: xmlNamespace, Name: x.bucket, Prefix: encode(l.prefix), Delimiter: encode(l.delimiter), MaxKeys: l.limit, StartAfter: encode(l.startAfter),
		EncodingType: x.query.get("encoding-type"), ContinuationToken: x.query.get("continuation-token"), KeyCount: len(lines), IsTruncated: next != "",
	}
	for _, line := range lines {
		if line.prefix {
			out.CommonPrefixes = append(out.CommonPrefixes, commonPrefix{encode(line.name)})
			continue
		}
		entry := objectEntry{Key: encode(line.name), LastModified: line.object.modified().Format(xmlTime), ETag: line.object.quotedTag(), Size: line.object.size, StorageClass: "STANDARD"}
		if x.query.get("fetch-owner") == "true" {
			entry.Owner = &objectOwner{bucket.Team, bucket.Team}
		}
		out.Contents = append(out.Contents, entry)
	}
	if next != "" {
		out.NextContinuationToken = encodeToken(next)
	}
	writeXML(x, http.StatusOK, out)
	return nil
}

// limitOf is how long a page may be: at most 1000, as in S3.
func limitOf(q query, name string) (int, *apiError) {
	v, given := q.lookup(name)
	if !given {
		return 1000, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, invalidArgument("Argument " + name + " must be an integer between 0 and 2147483647.")
	}
	return int(min(n, 1000)), nil
}

func encodeToken(name string) string { return base64.RawURLEncoding.EncodeToString([]byte(name)) }

// token is where an earlier page ended.
func (x *exchange) token() (string, *apiError) {
	b, err := base64.RawURLEncoding.DecodeString(x.query.get("continuation-token"))
	if err != nil || len(b) > maxKey || !utf8.Valid(b) {
		return "", invalidArgument("The continuation token provided is incorrect.")
	}
	return string(b), nil
}
