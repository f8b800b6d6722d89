package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/redact"
)

type hosts map[string]func() *http.Response

func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := h[r.URL.Host]
	if answer == nil {
		return nil, errors.New("asked " + r.URL.Host)
	}
	response := answer()
	response.Request = r
	return response, nil
}

func response(status int, body string, header ...string) func() *http.Response {
	return func() *http.Response {
		r := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
}

func TestRegionOfTheBucketIsFoundOut(t *testing.T) {
	const document = `{"client_id":"c","client_secret":"s"}`
	const moved = `<Error><Code>PermanentRedirect</Code><Endpoint>evil.example.org</Endpoint></Error>`
	for name, c := range map[string]struct {
		region string // what AWS answers
		ok     bool
	}{
		"another region": {"eu-west-1", true},
		"no region":      {"", false},
		"a host":         {"evil.example.org/", false},
	} {
		t.Run(name, func(t *testing.T) {
			config := &Config{Application: "sales", Bucket: "bucket", Region: "us-east-1", AccessKeyID: "k", Secret: redact.New("s"), CallTimeout: 1e10}
			f := newFetcher(config, slog.New(slog.DiscardHandler))
			f.transport = hosts{
				"bucket.s3.us-east-1.amazonaws.com": response(301, moved, "X-Amz-Bucket-Region", c.region, "Location", "https://evil.example.org/"),
				"bucket.s3.eu-west-1.amazonaws.com": response(200, document, "ETag", `"1"`),
			}
			if err := f.prepare(context.Background()); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time without the detour
				b, err := f.get(context.Background(), clientFile, false)
				if c.ok && (err != nil || string(b) != document) || !c.ok && (err == nil || !strings.Contains(err.Error(), "redirects")) {
					t.Errorf("%s %v", b, err)
				}
			}
		})
	}
}
