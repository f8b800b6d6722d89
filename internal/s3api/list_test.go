package s3api_test

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/s3api"
)

type listAnswer struct {
	IsTruncated           bool
	KeyCount              int
	NextContinuationToken string
	Contents              []struct {
		Key, ETag string
		Size      int64
	}
	CommonPrefixes []struct{ Prefix string }
}

func (h *house) list(k accessKey, query string) (listAnswer, answer) {
	h.t.Helper()
	a := h.do(k, "GET", "/shop-bucket?list-type=2&"+query, "")
	var l listAnswer
	if a.status == 200 {
		if err := xml.Unmarshal([]byte(a.body), &l); err != nil {
			h.t.Fatalf("%v in %s", err, a.body)
		}
	}
	return l, a
}

func (l listAnswer) lines() (lines []string) {
	for _, c := range l.Contents {
		lines = append(lines, c.Key)
	}
	for _, p := range l.CommonPrefixes {
		lines = append(lines, p.Prefix)
	}
	slices.Sort(lines)
	return lines
}

// reference is what S3 says a list is, in the plainest way.
func reference(keys []string, prefix, delimiter, after string) (lines []string) {
	keys = slices.Sorted(slices.Values(keys))
	for _, k := range keys {
		if !strings.HasPrefix(k, prefix) || k <= after {
			continue
		}
		line := k
		if i := strings.Index(k[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			line = k[:len(prefix)+i+len(delimiter)]
		}
		if len(lines) == 0 || lines[len(lines)-1] != line {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestListAgreesWithTheReference(t *testing.T) {
	h := newHouse(t)
	keys := []string{"a", "a/", "a//b", "a/b", "a/b/c", "a-b/c", "a0", "A/b", "b/user.json", "b/client.json", "ä/ö", "x y/z%2f", "=", "@", "+/=", "tmp", "tmp/x", "a&b<c>", strings.Repeat("long", 100) + "/" + strings.Repeat("k", 600)}
	for _, k := range keys {
		h.put(strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(k)), k)
	}
	for _, prefix := range []string{"", "a", "a/", "a//", "a/b", "b/", "none", "ä", "tmp", strings.Repeat("long", 60), "=", "+/"} {
		for _, delimiter := range []string{"", "/", "b", "//"} {
			for _, after := range []string{"", "a/b", "a/zzz"} {
				want := reference(keys, prefix, delimiter, after)
				for _, limit := range []int{2, 1000} {
					query := url.Values{"prefix": {prefix}, "delimiter": {delimiter}, "start-after": {after}, "max-keys": {fmt.Sprint(limit)}}
					var got []string
					for page := range 100 {
						l, a := h.list(h.root, query.Encode())
						if a.status != 200 || l.KeyCount != len(l.lines()) || l.KeyCount > limit {
							t.Fatalf("%v: %d %s", query, a.status, a.body)
						}
						got = append(got, l.lines()...)
						if l.IsTruncated != (l.NextContinuationToken != "") {
							t.Fatalf("%v: page %d is truncated and has no token, or the reverse: %s", query, page, a.body)
						}
						if !l.IsTruncated {
							break
						}
						query.Set("continuation-token", l.NextContinuationToken)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("prefix %q, delimiter %q, after %q, limit %d (-want +got):\n%s", prefix, delimiter, after, limit, diff)
					}
				}
			}
		}
	}
}

func TestListShowsWhatIsStored(t *testing.T) {
	h := newHouse(t)
	tag := h.put("a%20b/%3C.json", "hello").header.Get("ETag")
	l, _ := h.list(h.root, "")
	if len(l.Contents) != 1 || l.Contents[0].Key != "a b/<.json" || l.Contents[0].Size != 5 || l.Contents[0].ETag != tag {
		t.Errorf("list: %+v", l)
	}
	l, _ = h.list(h.root, "encoding-type=url")
	if l.Contents[0].Key != "a%20b/%3C.json" {
		t.Errorf("encoded list: %+v", l)
	}
	l, a := h.list(h.root, "max-keys=0")
	if a.status != 200 || l.KeyCount != 0 || l.IsTruncated {
		t.Errorf("max-keys=0: %s", a.body)
	}
	_, a = h.list(h.root, "encoding-type=base64")
	a.is(t, "unknown encoding", 400, "InvalidArgument")
	_, a = h.list(h.root, "fetch-owner=true")
	if !strings.Contains(a.body, "<Owner><ID>shop</ID>") {
		t.Errorf("fetch-owner: %s", a.body)
	}
}

// An object that cannot be read must not hide those behind it.
func TestListGoesOnBehindADamagedObject(t *testing.T) {
	h := newHouse(t)
	for _, key := range []string{"a", "b", "c", "d"} {
		h.put(key, key)
	}
	for _, name := range []string{"b@", "c@"} {
		if err := os.WriteFile(filepath.Join(h.dir, "shop-bucket", name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	token := ""
	for range 10 {
		l, a := h.list(h.root, "max-keys=1&continuation-token="+token)
		if a.status != 200 || l.IsTruncated != (l.NextContinuationToken != "") {
			t.Fatalf("%d %s", a.status, a.body)
		}
		got = append(got, l.lines()...)
		if token = l.NextContinuationToken; token == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"a", "d"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBucketsThatAKeyMaySee(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		rules s3api.Rules
		want  []string
	}{
		{s3api.MintRules(), nil},
		{s3api.ApplicationRules("sales-orders", "shop-bucket"), []string{"shop-bucket"}},
		{s3api.Rules{{Actions: []s3api.Action{s3api.List}, Bucket: "*"}}, []string{"other-bucket", "shop-bucket"}},
		{nil, nil},
	} {
		k := h.newKey(c.rules)
		a := h.do(k, "GET", "/", "")
		var doc struct {
			Buckets struct{ Bucket []struct{ Name string } }
		}
		if err := xml.Unmarshal([]byte(a.body), &doc); err != nil || a.status != 200 {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
		var got []string
		for _, b := range doc.Buckets.Bucket {
			got = append(got, b.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.rules, diff)
		}
	}
	a := h.do(h.root, "GET", "/?max-buckets=1", "")
	if strings.Count(a.body, "<Name>") != 1 || !strings.Contains(a.body, "<Name>other-bucket<") || !strings.Contains(a.body, "<ContinuationToken>") {
		t.Errorf("first page: %s", a.body)
	}
	a = h.do(h.root, "GET", "/?max-buckets=1&continuation-token=b3RoZXItYnVja2V0", "")
	if !strings.Contains(a.body, "<Name>shop-bucket<") || strings.Contains(a.body, "<ContinuationToken>") {
		t.Errorf("second page: %s", a.body)
	}
	h.do(h.root, "GET", "/shop-bucket?location", "").is(t, "location", 200, "")
	if a := h.do(h.root, "HEAD", "/shop-bucket", ""); a.status != 200 || a.header.Get("X-Amz-Bucket-Region") == "" {
		t.Errorf("head bucket: %d %v", a.status, a.header)
	}
}
