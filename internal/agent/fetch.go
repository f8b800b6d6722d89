package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// fetcher reads the application's objects. It remembers the version of each that was good, so that an unchanged one is
// not sent again.
type fetcher struct {
	c         *Config
	log       *slog.Logger
	identity  *identity
	transport http.RoundTripper
	client    *s3.Client
	who       string // the identity that the client was made for
	region    string // found out from a refusal; "": as configured
	etags     [2]string
}

func newFetcher(c *Config, log *slog.Logger) *fetcher {
	return &fetcher{c: c, log: log, identity: &identity{c: c}, transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		TLSHandshakeTimeout:   3 * time.Second,
		ResponseHeaderTimeout: c.CallTimeout,
		IdleConnTimeout:       30 * time.Second,
		ForceAttemptHTTP2:     true,
	}}
}

func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("the endpoint must be a URL such as https://s3.example.org, without user, query and fragment")
	}
	return nil
}

// prepare makes the client, anew when the credentials file says something else.
func (f *fetcher) prepare(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, f.c.CallTimeout)
	defer cancel()
	cfg, who, err := f.identity.resolve(limited)
	if err != nil {
		return err
	}
	if f.client != nil && who == f.who {
		return nil
	}
	if who != f.who {
		f.log.Info("identity towards the bucket", "source", who, "access_key", f.identity.key)
		f.etags = [2]string{}
	}
	f.who = who
	f.connect(cfg)
	return nil
}

func (f *fetcher) connect(cfg aws.Config) {
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if f.region != "" {
		cfg.Region = f.region
	}
	f.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if f.c.Endpoint != "" {
			o.BaseEndpoint = aws.String(f.c.Endpoint)
			o.UsePathStyle = true
		}
		// A redirect could lead the signed request to somebody else's host.
		o.HTTPClient = &http.Client{Transport: f.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts, r.MaxBackoff = 3, time.Second })
	})
}

// get reads the object of this name and checks its shape. It answers nil if the object is the one that was good before;
// that may only be asked for if the good one is still at hand.
func (f *fetcher) get(ctx context.Context, name string, haveGood bool) ([]byte, error) {
	i := indexOf(name)
	known := ""
	if haveGood {
		known = f.etags[i]
	}
	b, etag, err := f.object(ctx, name, known)
	if region := f.elsewhere(err); region != "" {
		f.log.Info("the bucket is in another region", "region", region)
		f.region = region
		cfg, _, resolved := f.identity.resolve(ctx)
		if resolved != nil {
			return nil, resolved
		}
		f.connect(cfg)
		b, etag, err = f.object(ctx, name, known)
	}
	switch {
	case err == nil:
	case statusOf(err) == http.StatusNotModified && known != "":
		return nil, nil
	default:
		return nil, f.explain(name, err)
	}
	if err := checkShape(name, b); err != nil {
		f.etags[i] = ""
		return nil, fmt.Errorf("%s: %w", f.address(name), err)
	}
	f.etags[i] = etag
	return b, nil
}

func indexOf(name string) int {
	if name == userFile {
		return 0
	}
	return 1
}

func (f *fetcher) key(name string) string { return f.c.Application + "/" + name }

// address is the object's address for people.
func (f *fetcher) address(name string) string { return "s3://" + f.c.Bucket + "/" + f.key(name) }

func (f *fetcher) object(ctx context.Context, name, known string) (body []byte, etag string, err error) {
	limited, cancel := context.WithTimeout(ctx, f.c.CallTimeout)
	defer cancel()
	input := &s3.GetObjectInput{Bucket: aws.String(f.c.Bucket), Key: aws.String(f.key(name))}
	if known != "" {
		input.IfNoneMatch = aws.String(known)
	}
	out, err := f.client.GetObject(limited, input)
	if err != nil {
		return nil, "", err
	}
	defer out.Body.Close()
	body, err = io.ReadAll(io.LimitReader(out.Body, maxSize+1))
	if err != nil {
		return nil, "", fmt.Errorf("the object ended early: %w", err)
	}
	if out.ContentLength != nil && len(body) <= maxSize && int64(len(body)) != *out.ContentLength {
		return nil, "", fmt.Errorf("the object ended early: %d bytes of %d", len(body), *out.ContentLength)
	}
	return body, aws.ToString(out.ETag), nil
}

func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// elsewhere is the region that AWS says the bucket is in, if it is not the one that was asked. Only AWS's own endpoint is
// asked again: there the region decides the host, and the answer cannot lead out of AWS.
func (f *fetcher) elsewhere(err error) string {
	var response *smithyhttp.ResponseError
	if f.c.Endpoint != "" || f.region != "" || !errors.As(err, &response) || response.Response == nil {
		return ""
	}
	region := response.Response.Header.Get("X-Amz-Bucket-Region")
	if region == f.client.Options().Region || !validRegion(region) {
		return ""
	}
	return region
}

func validRegion(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) < 64
}

// explain says what a person can do about the error.
func (f *fetcher) explain(name string, err error) error {
	at := f.address(name)
	var refused smithy.APIError
	code := ""
	if errors.As(err, &refused) {
		code = refused.ErrorCode()
	}
	switch status := statusOf(err); {
	case code == "InvalidAccessKeyId":
		return fmt.Errorf("%s: %w: the store does not know the access key (%s)", at, ErrForbidden, f.who)
	case code == "SignatureDoesNotMatch":
		return fmt.Errorf("%s: %w: the secret does not fit the access key (%s)", at, ErrForbidden, f.who)
	case code == "RequestTimeTooSkewed":
		return fmt.Errorf("%s: %w: the clock of this machine and that of the store differ too much; check time synchronisation", at, ErrForbidden)
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return fmt.Errorf("%s: %w to the identity from %s: allow it s3:GetObject on %s/%s/*; the store may answer so also when the object does not exist yet",
			at, ErrForbidden, f.who, f.c.Bucket, f.c.Application)
	case code == "NoSuchBucket":
		return fmt.Errorf("%s: %w: there is no bucket %s at this endpoint; check bucket, endpoint and region", at, ErrNotFound, f.c.Bucket)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s: %w: nothing was delivered there yet, or the bucket is not the one that the application's credentials are delivered to", at, ErrNotFound)
	case status >= 300 && status < 400:
		return fmt.Errorf("%s: the store redirects (%d), which is not followed: set the endpoint or the region that the bucket is in", at, status)
	case status >= 500:
		return fmt.Errorf("%s: the store failed (%d): %w", at, status, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %v: %w", at, f.c.CallTimeout, context.DeadlineExceeded)
	}
	return fmt.Errorf("%s: %w", at, err)
}
