package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/mintmark/mintmark/internal/redact"
)

// S3Options says where an S3 API is and how to speak to it.
type S3Options struct {
	Endpoint string // such as https://s3.example.org; empty: AWS's own, from the region
	Region   string // default us-east-1
	// PathStyle puts the bucket's name in the path instead of the host's name. It is always on when Endpoint is set,
	// because self-hosted services rarely have a wildcard name.
	PathStyle bool

	// AccessKeyID and Secret sign the requests. Both empty: the default chain of the AWS SDK (environment, shared
	// files, instance role), asked again when they expire.
	AccessKeyID string
	Secret      redact.Secret

	ACL           string // canned ACL on each object, such as bucket-owner-full-control; empty: none is sent
	ExpectedOwner string // account that must own the bucket, else the service refuses (x-amz-expected-bucket-owner)

	Timeout  time.Duration // of one call with all its tries; default 10 s
	Answer   time.Duration // until an answer begins, of one try; default 4 s
	Attempts int           // tries of one call; default 3

	// Transport carries the requests; nil: one with a dial timeout of 3 s. It is for tests and for own certificates.
	Transport http.RoundTripper
}

// S3 is a Store behind an S3 API.
type S3 struct {
	client  *s3.Client
	options S3Options
}

// NewS3 makes a store. It sends nothing yet; with the default chain it may look for credentials on the machine.
func NewS3(ctx context.Context, o S3Options) (*S3, error) {
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("objstore: the endpoint must be a URL such as https://s3.example.org, without user, query and fragment")
		}
		o.PathStyle = true
	}
	if (o.AccessKeyID == "") != o.Secret.Empty() {
		return nil, errors.New("objstore: the access key id and its secret must be given together, or neither")
	}
	o.Region = cmpOr(o.Region, "us-east-1")
	o.Timeout = cmpOr(o.Timeout, 10*time.Second)
	o.Answer = cmpOr(o.Answer, 4*time.Second)
	o.Attempts = cmpOr(o.Attempts, 3)
	if o.Transport == nil {
		o.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			TLSHandshakeTimeout:   3 * time.Second,
			ResponseHeaderTimeout: o.Answer,
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       time.Minute,
			ForceAttemptHTTP2:     true,
		}
	}
	cfg := aws.Config{Region: o.Region}
	if o.AccessKeyID != "" {
		cfg.Credentials = credentials.NewStaticCredentialsProvider(o.AccessKeyID, o.Secret.Reveal(), "")
	} else {
		var err error
		if cfg, err = config.LoadDefaultConfig(ctx, config.WithRegion(o.Region)); err != nil {
			return nil, fmt.Errorf("objstore: find credentials by the AWS SDK's default chain: %w", err)
		}
	}
	client := s3.NewFromConfig(cfg, func(c *s3.Options) {
		if o.Endpoint != "" {
			c.BaseEndpoint = aws.String(o.Endpoint)
		}
		c.UsePathStyle = o.PathStyle
		// A redirect could send a signed request to another host; whoever moved a bucket must correct the setting.
		c.HTTPClient = &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		// Checksums beyond what S3 demands are unknown to many services that speak S3.
		c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		c.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		c.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts, r.MaxBackoff = o.Attempts, time.Second
		})
	})
	return &S3{client: client, options: o}, nil
}

func cmpOr[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Put writes the object.
func (s *S3) Put(ctx context.Context, bucket, key string, body []byte, o PutOptions) (string, error) {
	if err := check(ctx, "put", bucket, key, o, len(body)); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	out, err := s.client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &bucket, Key: &key,
		Body:                bytes.NewReader(body),
		ContentType:         aws.String(cmpOr(o.ContentType, "application/json")),
		ACL:                 types.ObjectCannedACL(s.options.ACL),
		ExpectedBucketOwner: optional(s.options.ExpectedOwner),
		IfMatch:             optional(o.IfMatch), IfNoneMatch: optional(o.IfNoneMatch),
	})
	if err != nil {
		return "", classify("put", bucket, key, err)
	}
	return aws.ToString(out.ETag), nil
}

// Get reads the object.
func (s *S3) Get(ctx context.Context, bucket, key, ifNoneMatch string) (Object, error) {
	if err := check(ctx, "get", bucket, key, PutOptions{}, 0); err != nil {
		return Object{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &bucket, Key: &key,
		IfNoneMatch:         optional(ifNoneMatch),
		ExpectedBucketOwner: optional(s.options.ExpectedOwner),
	})
	if err != nil {
		return Object{}, classify("get", bucket, key, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(io.LimitReader(out.Body, MaxObject+1))
	if err != nil {
		return Object{}, classify("get", bucket, key, err)
	}
	if len(body) > MaxObject {
		e := failure("get", bucket, key, ErrInvalid, nil)
		e.Text = "The object is larger than 16 MiB: it is not one of ours."
		return Object{}, e
	}
	return Object{Body: body, ETag: aws.ToString(out.ETag), ContentType: aws.ToString(out.ContentType), Modified: aws.ToTime(out.LastModified)}, nil
}

// Delete removes the object.
func (s *S3) Delete(ctx context.Context, bucket, key string) error {
	if err := check(ctx, "delete", bucket, key, PutOptions{}, 0); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, ExpectedBucketOwner: optional(s.options.ExpectedOwner)})
	if err = classify("delete", bucket, key, err); err == nil || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// List names objects.
func (s *S3) List(ctx context.Context, bucket, prefix string, o ListOptions) (Page, error) {
	if err := check(ctx, "list", bucket, prefix, PutOptions{}, 0); err != nil {
		return Page{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	out, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &bucket, Prefix: optional(prefix), StartAfter: optional(o.After),
		MaxKeys:             aws.Int32(int32(o.limit())),
		ExpectedBucketOwner: optional(s.options.ExpectedOwner),
	})
	if err != nil {
		return Page{}, classify("list", bucket, prefix, err)
	}
	page := Page{More: aws.ToBool(out.IsTruncated)}
	for _, e := range out.Contents {
		page.Entries = append(page.Entries, Entry{Key: aws.ToString(e.Key), Size: aws.ToInt64(e.Size), ETag: aws.ToString(e.ETag), Modified: aws.ToTime(e.LastModified)})
	}
	return page, nil
}

// answer is what an HTTP response error of the SDK can tell.
type answer interface{ HTTPStatusCode() int }

// classify turns an error of the SDK into one of ours. The status decides; the code makes it finer. Nothing of the
// service's own message is kept: it may quote the request.
func classify(op, bucket, key string, err error) error {
	if err == nil {
		return nil
	}
	status, code := 0, ""
	var h answer
	if errors.As(err, &h) {
		status = h.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code = wordOnly(api.ErrorCode())
	}
	e := failure(op, bucket, key, kindOf(status, code), err)
	e.Code = code
	switch {
	case code == "RequestTimeTooSkewed" || code == "RequestExpired":
		e.Text = "The storage says that this machine's clock is wrong. Synchronise it."
	case code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch":
		e.Text = "The storage does not know the access key, or its secret is wrong. Correct the key of the store."
	case code == "AccessControlListNotSupported":
		e.Text = "The bucket does not take ACLs. Remove the ACL setting of the store."
	case status >= 300 && status < 400 && !errors.Is(e.Kind, ErrNotModified):
		e.Text = "The bucket is elsewhere: correct endpoint and region of the store. Redirects are not followed."
	case errors.Is(err, context.Canceled):
		e.Text = "The call was given up before the storage answered."
	case isCredentials(err):
		e.Kind, e.Text = ErrForbidden, "No credentials for the storage were found on this machine."
	}
	return e
}

func isCredentials(err error) bool {
	var e *smithy.OperationError
	return errors.As(err, &e) && strings.Contains(err.Error(), "get identity:")
}

func kindOf(status int, code string) error {
	switch code {
	case "NoSuchBucket":
		return ErrNoBucket
	case "NoSuchKey":
		return ErrNotFound
	case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable":
		return ErrUnavailable
	}
	switch {
	case status == http.StatusNotModified:
		return ErrNotModified
	case status == http.StatusPreconditionFailed, status == http.StatusConflict:
		return ErrPrecondition
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == 0, status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return ErrUnavailable
	}
	return ErrInvalid
}

// wordOnly keeps an error code if it is one word, as every real one is.
func wordOnly(s string) string {
	if len(s) > 64 {
		return ""
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return ""
		}
	}
	return s
}
